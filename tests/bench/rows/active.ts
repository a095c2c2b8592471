// Latency from a dispatch to the first line of its handler while a worker is active.
import { run } from "graphile-worker";
import { z } from "zod";
import { createSymphony } from "../../../shared/client.ts";
import { connect } from "../../../shared/db.ts";
import { defineMessage } from "../../../shared/message.ts";
import { supabaseReceiver } from "../../../shared/transports/supabase.ts";
import type { Project } from "../../../supabase/local/project.ts";
import { pause } from "../../pause.ts";
import { type Buses, prepare } from "../setup.ts";
import { type Line, OURS } from "../line.ts";
import { poolOptions } from "../peers/graphile_worker.ts";
import { payloadOf } from "../peers/peer.ts";
import { connectAsService } from "../peers/symphony.ts";
import { ACTIVE_DIRECT, ACTIVE_HTTP } from "../targets.ts";
import { directReceiver } from "../direct_receiver.ts";
import { LIMITS, startWorker } from "../worker.ts";
import { byName, inTurn, type Row, shareOf } from "./row.ts";

const GIVE_UP = 20_000; // ms

/** A bus with an active worker: `send` stores message n, and its handler calls `started(n)`. */
interface ActiveBus {
  name: string;
  open(started: (n: number) => void): Promise<{ send(n: number): Promise<unknown>; close(): Promise<unknown> }>;
}

export const activeRow: Row = {
  name: "active",
  async measure(setup, { symphony, graphileWorker }: Buses) {
    const { project } = setup;
    const http: ActiveBus = { name: OURS, open: (started) => Promise.resolve(openHttp(project, started)) };
    const direct: ActiveBus[] = [
      { name: OURS, open: (started) => Promise.resolve(openDirect(project, symphony.enqueue, started)) },
      {
        name: graphileWorker.name,
        open: (started) => openGraphileWorker(project, graphileWorker.enqueue, started),
      },
    ];
    const measure = (label: string, perSecond: 5 | 100, buses: ActiveBus[]) =>
      inTurn(setup, `active worker, ${label}, ${perSecond}/s`, setup.sizes.rounds, buses, async (bus) => {
        await prepare(setup, bus.name === OURS ? symphony : graphileWorker);
        return await latencies(bus, perSecond, setup.sizes.active[perSecond]);
      });
    const lines: Line[] = [];
    for (const perSecond of [100, 5] as const) {
      const figures = await measure("HTTP", perSecond, [http]);
      for (const [name, share] of [["p50", 0.5], ["p99", 0.99]] as const) {
        lines.push({
          id: `active http ${perSecond} ${name}`,
          label: `dispatch to handler, HTTP, active worker, ${perSecond}/s: ${name}`,
          unit: "ms",
          better: "lower",
          samples: byName(figures, (ms) => shareOf(ms, share)),
          targets: ACTIVE_HTTP[perSecond][name],
          note: "The shipped client and the shipped consume loop, both over HTTP through the API gateway.",
        });
      }
    }
    const figures = await measure("database connections", 100, direct);
    for (const [name, share] of [["p50", 0.5], ["p99", 0.99]] as const) {
      lines.push({
        id: `active direct 100 ${name}`,
        label: `dispatch to handler, no HTTP, active worker, 100/s: ${name}`,
        unit: "ms",
        better: "lower",
        samples: byName(figures, (ms) => shareOf(ms, share)),
        targets: ACTIVE_DIRECT,
        note:
          "The target is for `symphony work`, which is not released yet. Until then the row has the shipped consume " +
          "loop on a database connection, and graphile-worker with its own client, its own runner and LISTEN/NOTIFY.",
        reason: "The shipped consume loop polls; nothing notifies it. LISTEN on a database connection comes with " +
          "`symphony work`.",
      });
    }
    return lines;
  },
};

async function latencies(bus: ActiveBus, perSecond: number, messages: number): Promise<number[]> {
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
      await pause(Math.max(0, begin + (n + Math.random()) * 1_000 / perSecond - performance.now()));
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

function messageOf(started: (n: number) => void) {
  return defineMessage({
    type: "BenchMessage",
    payload: z.object({ user: z.string(), template: z.string(), n: z.number() }),
    handle: ({ n }) => started(n),
  });
}

function openHttp({ url, secretKey }: Project, started: (n: number) => void) {
  const message = messageOf(started);
  const db = connect({ url, key: secretKey });
  const client = createSymphony(db);
  const worker = startWorker(supabaseReceiver(db), db, [message]);
  return { send: (n: number) => client.dispatch(message, payloadOf(n)), close: () => worker.stop() };
}

function openDirect(project: Project, send: (n: number) => Promise<unknown>, started: (n: number) => void) {
  const sql = connectAsService(project, 2); // one for claims, and one for heartbeats that come during a claim
  const db = connect({ url: project.url, key: project.secretKey });
  const worker = startWorker(directReceiver(sql), db, [messageOf(started)]);
  return {
    send,
    async close() {
      await worker.stop();
      await sql.end();
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
