// Latency from a dispatch to the first line of its handler, with an active worker at a hundred messages per second and
// with a worker that must be woken.
import { run } from "graphile-worker";
import { z } from "zod";
import { createSymphony } from "../../../shared/client.ts";
import { systemClock } from "../../../shared/clock.ts";
import { createConsumer, type Limits } from "../../../shared/worker/consume.ts";
import { connect } from "../../../shared/db.ts";
import { readEnv } from "../../../shared/env.ts";
import { createLog } from "../../../shared/log.ts";
import { createRegistry, defineMessage } from "../../../shared/message.ts";
import { supabaseReceiver } from "../../../shared/transports/supabase.ts";
import type { Project } from "../../../supabase/local/project.ts";
import { pause } from "../../pause.ts";
import { type BenchSetup, type Buses, prepare } from "../setup.ts";
import { percentile } from "../../percentile.ts";
import { OURS } from "../line.ts";
import { poolOptions } from "../peers/graphile_worker.ts";
import { payloadOf } from "../peers/peer.ts";
import { byName, inTurn, type Row } from "./row.ts";

const INTERVAL = 10; // ms between two dispatches on average
const GIVE_UP = 20_000; // ms
// Default settings of the worker edge function, except for the limit of an isolate's life.
const LIMITS: Limits = { ...readEnv({ SUPABASE_URL: "http://127.0.0.1" }).worker, timeLimit: Infinity };

/** A bus with an active worker: `send` stores message n, and its handler calls `started(n)`. */
interface ActiveBus {
  name: string;
  open(started: (n: number) => void): Promise<{ send(n: number): Promise<unknown>; close(): Promise<unknown> }>;
}

export const activeRow: Row = {
  name: "active",
  async measure(setup, { symphony, graphileWorker }: Buses) {
    const { project, sizes } = setup;
    const buses: ActiveBus[] = [
      { name: OURS, open: (started) => Promise.resolve(openSymphony(project, started)) },
      { name: graphileWorker.name, open: (started) => openGraphileWorker(project, graphileWorker.enqueue, started) },
    ];
    const figures = await inTurn(setup, "active worker", sizes.rounds, buses, async (bus) => {
      await prepare(setup, bus.name === OURS ? symphony : graphileWorker);
      return await latencies(bus, sizes.active);
    });
    const at = (share: number) =>
      byName(
        new Map([...figures].map(([bus, rounds]) => [bus, rounds.map((ms) => ({ value: percentile(ms, share) }))])),
      );
    return [
      {
        label: "dispatch to handler, active worker, 100/s: p50",
        unit: "ms",
        better: "lower",
        samples: at(0.5),
        target: { of: "peer", must: 1, aim: 2 },
        note: "Symphony uses HTTP through the gateway at both ends, graphile-worker uses database " +
          "connections and LISTEN/NOTIFY.",
      },
      {
        label: "dispatch to handler, active worker, 100/s: p99",
        unit: "ms",
        better: "lower",
        samples: at(0.99),
        target: { of: "peer", must: 1, aim: 1 },
      },
    ];
  },
};

async function latencies(bus: ActiveBus, messages: number): Promise<number[]> {
  const sentAt = new Map<number, number>();
  const samples: number[] = [];
  const all = Promise.withResolvers<void>();
  const { send, close } = await bus.open((n) => {
    const sent = sentAt.get(n);
    if (sent === undefined) return; // the first message only wakes the worker
    if (samples.push(performance.now() - sent) === messages) all.resolve();
  });
  try {
    await send(-1);
    const begin = performance.now();
    const sends: Promise<unknown>[] = [];
    for (let n = 0; n < messages; n++) {
      // The intervals vary; otherwise every dispatch would meet the worker at the same point between two polls.
      await pause(Math.max(0, begin + (n + Math.random()) * INTERVAL - performance.now()));
      sentAt.set(n, performance.now());
      sends.push(send(n));
    }
    await Promise.all(sends);
    const late = new AbortController();
    await Promise.race([all.promise, pause(GIVE_UP, late.signal)]);
    late.abort();
    if (samples.length < messages) throw new Error(`${bus.name}: ${samples.length} of ${messages} were handled`);
    return samples;
  } finally {
    await close();
  }
}

function openSymphony({ url, secretKey }: Project, started: (n: number) => void) {
  const message = defineMessage({
    type: "BenchMessage",
    payload: z.object({ user: z.string(), template: z.string(), n: z.number() }),
    handle: ({ n }) => started(n),
  });
  const db = connect({ url, key: secretKey });
  const consumer = createConsumer({
    registry: createRegistry([message]),
    db,
    log: createLog({}, () => {}),
    clock: systemClock,
    receiver: supabaseReceiver(db),
    worker: `bench-${crypto.randomUUID()}`,
  });
  const { done } = consumer.wake(LIMITS);
  const client = createSymphony(db);
  return {
    send: (n: number) => client.dispatch(message, payloadOf(n)),
    close() {
      consumer.stop();
      return done;
    },
  };
}

async function openGraphileWorker(
  project: Project,
  send: (n: number) => Promise<unknown>,
  started: (n: number) => void,
) {
  const runner = await run({
    ...poolOptions(project.databaseUrl(), 1),
    concurrency: LIMITS.maxConcurrency,
    taskList: { bench: (payload) => started(z.object({ n: z.number() }).parse(payload).n) },
  });
  return { send, close: () => runner.stop() };
}

export const idleRow: Row = {
  name: "idle",
  async measure(setup) {
    const samples: number[] = [];
    await dispatchToStart(setup); // the first requests start the isolates
    for (let n = 0; n < setup.sizes.idle; n++) {
      setup.report(`no active worker, message ${n + 1} of ${setup.sizes.idle}`);
      await untilIdle(setup);
      samples.push(await dispatchToStart(setup));
    }
    return [{
      label: "dispatch over HTTP to handler, no active worker: p50",
      unit: "ms",
      better: "lower",
      samples: new Map([[OURS, [{ value: percentile(samples, 0.5) }]]]),
      target: { of: "value", must: 250, aim: 100 },
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
