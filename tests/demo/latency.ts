// Latency from a dispatch over HTTP to the first line of its handler, with an active worker and with none.
import type { Project } from "../../supabase/local/project.ts";
import { eventually } from "../eventually.ts";
import { pause } from "../pause.ts";
import type { App } from "./workload.ts";

export interface Latency {
  label: string;
  /** Limit of p50 in milliseconds; undefined: no limit. */
  limit?: number;
  samples: number[];
}

export async function measureLatency(app: App, project: Project, progress: () => void): Promise<Latency[]> {
  const sample = async () => {
    const ms = await dispatchToStart(app);
    progress();
    return ms;
  };
  await dispatchToStart(app);
  const active: number[] = [];
  for (let n = 0; n < 30; n++) {
    // Without this pause each dispatch would meet the worker at the same point between two polls.
    await pause(Math.random() * 100);
    active.push(await sample());
  }
  const idle: number[] = [];
  for (let n = 0; n < 10; n++) {
    await untilIdle(app);
    idle.push(await sample());
  }
  const cold: number[] = [];
  for (let n = 0; n < 5; n++) {
    await untilIdle(app);
    await project.functions.kill("worker");
    cold.push(await sample());
  }
  return [
    { label: "active worker", limit: 100, samples: active },
    { label: "no active worker, woken by pg_net", limit: 250, samples: idle },
    { label: "no active worker, cold isolate", samples: cold },
  ];
}

export const SAMPLES = 45;

async function dispatchToStart(app: App): Promise<number> {
  const sentAt = Date.now();
  const { body } = await app.post("dispatch", { message: { type: "ExampleQuick", payload: {} } });
  const { messageId } = body as { messageId: string }; // the documented reply of the edge function
  const startedAt = await eventually(`message ${messageId} is handled`, async () => {
    const [row] = await app.sql<{ started_at: string | null }[]>`
      select result ->> 'startedAt' as started_at from messenger_messages
        where id = ${messageId} and status = 'completed'`;
    return row?.started_at;
  }, 20_000);
  return Date.parse(startedAt) - sentAt;
}

async function untilIdle({ sql }: App): Promise<void> {
  await eventually("the worker is idle", async () => {
    const [{ active }] = await sql<{ active: boolean }[]>`
      select exists (select from messenger.workers
        where greatest(polled_at + interval '200 milliseconds', active_until) > messenger.now()) as active`;
    return !active;
  }, 20_000);
}
