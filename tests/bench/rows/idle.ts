// Latency from a dispatch to its handler with no active worker: pg_net must wake one.
import { z } from "zod";
import { pause } from "../../pause.ts";
import type { BenchSetup } from "../setup.ts";
import { OURS } from "../line.ts";
import { IDLE_HTTP } from "../targets.ts";
import { inTurn, type Row, shareOf } from "./row.ts";

const GIVE_UP = 20_000; // ms

export const idleRow: Row = {
  name: "idle",
  async measure(setup) {
    await dispatchToStart(setup); // the first requests start the isolates
    const one = { name: OURS };
    const figures = await inTurn(setup, "no active worker", setup.sizes.rounds, [one], async () => {
      const samples: number[] = [];
      for (let n = 0; n < setup.sizes.idle; n++) {
        await untilIdle(setup);
        samples.push(await dispatchToStart(setup));
      }
      return shareOf(samples, 0.5);
    });
    return [{
      id: "idle http p50",
      label: "dispatch to handler, HTTP, no active worker: p50",
      unit: "ms",
      better: "lower",
      samples: new Map([[OURS, figures.get(one) ?? []]]),
      targets: IDLE_HTTP,
      note: "The edge functions dispatch and worker are separate processes, and pg_net wakes the worker.",
    }];
  },
};

async function dispatchToStart({ project }: BenchSetup): Promise<number> {
  const sentAt = Date.now();
  const response = await fetch(`${project.url}/functions/v1/dispatch`, {
    method: "POST",
    headers: { "content-type": "application/json", apikey: project.secretKey },
    body: JSON.stringify({ message: { type: "ExampleQuick", payload: {} } }),
  });
  const { messageId } = z.object({ messageId: z.string() }).parse(await response.json());
  for (const giveUp = Date.now() + GIVE_UP; Date.now() < giveUp; await pause(10)) {
    const [row] = await project.sql<{ started_at: string | null }[]>`
      select result ->> 'startedAt' as started_at from messenger_messages
        where id = ${messageId} and status = 'completed'`;
    if (row?.started_at) return Date.parse(row.started_at) - sentAt;
  }
  throw new Error(`message ${messageId} was not handled within ${GIVE_UP / 1_000} s`);
}

async function untilIdle({ project }: BenchSetup): Promise<void> {
  for (const giveUp = Date.now() + GIVE_UP; Date.now() < giveUp; await pause(20)) {
    const [{ active }] = await project.sql<{ active: boolean }[]>`
      select exists (select from messenger.workers
        where greatest(polled_at + interval '200 milliseconds', active_until) > messenger.now()) as active`;
    if (!active) return;
  }
  throw new Error("the worker did not become idle");
}
