// How long it takes from a dispatch over HTTP to the first line of its handler, with a worker awake and with none.
import type { Project } from "../../supabase/local/project.ts";
import { eventually } from "../eventually.ts";
import { pause } from "../pause.ts";
import type { App } from "./workload.ts";

export interface Latency {
  label: string;
  /** Milliseconds that p50 must stay under; undefined: shown only. */
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
  const awake: number[] = [];
  for (let n = 0; n < 30; n++) {
    // Without it each dispatch would meet the worker at the same point between two polls.
    await pause(Math.random() * 100);
    awake.push(await sample());
  }
  const asleep: number[] = [];
  for (let n = 0; n < 10; n++) {
    await untilIdle(app);
    asleep.push(await sample());
  }
  const cold: number[] = [];
  for (let n = 0; n < 5; n++) {
    await untilIdle(app);
    await project.functions.kill("worker");
    cold.push(await sample());
  }
  return [
    { label: "a worker awake", limit: 100, samples: awake },
    { label: "none awake, woken by pg_net", limit: 250, samples: asleep },
    { label: "none awake, and its isolate cold", samples: cold },
  ];
}

export const SAMPLES = 45;

async function dispatchToStart(app: App): Promise<number> {
  const sentAt = Date.now();
  const { body } = await app.post("dispatch", { message: { type: "ExampleQuick", payload: {} } });
  const { messageId } = body as { messageId: string }; // the edge function's documented answer
  const startedAt = await eventually(`message ${messageId} is handled`, async () => {
    const [row] = await app.sql<{ started_at: string | null }[]>`
      select result ->> 'startedAt' as started_at from messenger_messages where id = ${messageId} and status = 'completed'`;
    return row?.started_at;
  }, 20_000);
  return Date.parse(startedAt) - sentAt;
}

async function untilIdle({ sql }: App): Promise<void> {
  await eventually("the worker falls idle", async () => {
    const [{ awake }] = await sql<{ awake: boolean }[]>`
      select exists (select from messenger.workers where polled_at > messenger.now() - interval '200 milliseconds') as awake`;
    return !awake;
  }, 20_000);
}
