// graphile-worker as its users run it: its own client adds jobs, and its own worker pools handle them, with batching.
import { EventEmitter } from "node:events";
import { makeWorkerUtils, run, type RunnerOptions, type WorkerEvents } from "graphile-worker";
import type { Project } from "../../../supabase/local/project.ts";
import { pause } from "../../pause.ts";
import { GRAPHILE_WORKER } from "../targets.ts";
import { openGraphileWorkerSql, silent, TASK } from "./graphile_worker_sql.ts";
import { type Drained, payloadOf, type Peer, type Plan } from "./peer.ts";

const MOST_CONCURRENT = 24; // jobs per pool, as in its own published benchmark; 4, 10 and 100 were no faster here

export async function openGraphileWorker(project: Project, connections = 4): Promise<Peer> {
  const connectionString = project.databaseUrl();
  const lean = await openGraphileWorkerSql(project, 1);
  const utils = await makeWorkerUtils({ connectionString, logger: silent, maxPoolSize: connections });
  return {
    ...lean,
    name: GRAPHILE_WORKER,
    async enqueue(n = 0) {
      await utils.addJob(TASK, payloadOf(n));
    },
    async enqueueBatch(messages) {
      await utils.addJobs(Array.from({ length: messages }, (_, n) => ({ identifier: TASK, payload: payloadOf(n) })));
    },
    drain: (plan) => drain(connectionString, plan),
    emptyPolls: (polls) => emptyPolls(connectionString, polls),
    async close() {
      await utils.release();
      await lean.close();
    },
  };
}

/**
 * One pool per consumer. A batch above 1 uses the settings of its performance guide: a local queue of that size, a
 * concurrency of the same size (up to 24), and completions batched without delay.
 */
export function poolOptions(connectionString: string, batch: number): RunnerOptions {
  const concurrency = Math.min(batch, MOST_CONCURRENT);
  return {
    connectionString,
    logger: silent,
    concurrency,
    noHandleSignals: true,
    preset: { worker: batch > 1 ? { localQueue: { size: batch }, completeJobBatchDelay: 0 } : {} },
  };
}

async function drain(connectionString: string, plan: Plan): Promise<Drained> {
  let handled = 0;
  const all = Promise.withResolvers<void>();
  const task = () => {
    handled++;
    plan.onHandled?.(1);
    if (handled >= plan.messages) all.resolve();
  };
  // The measurement starts when a pool has been made, after its check for migrations.
  let begin: number | undefined;
  const events: WorkerEvents = new EventEmitter();
  events.on("pool:create", () => begin ??= performance.now());
  const runners = await Promise.all(
    Array.from(
      { length: plan.consumers },
      () => run({ ...poolOptions(connectionString, plan.batch), events, taskList: { [TASK]: task } }),
    ),
  );
  const late = new AbortController();
  await Promise.race([all.promise, pause(plan.within, late.signal)]);
  late.abort();
  await Promise.all(runners.map((runner) => runner.stop()));
  return { handled, ms: performance.now() - (begin ?? 0) };
}

/** The polls of its own worker, counted by its events. */
async function emptyPolls(connectionString: string, polls: number): Promise<number[]> {
  const samples: number[] = [];
  const all = Promise.withResolvers<void>();
  const events: WorkerEvents = new EventEmitter();
  let begin = 0;
  events.on("worker:getJob:start", () => begin = performance.now());
  events.on("worker:getJob:empty", () => {
    if (samples.push(performance.now() - begin) > polls) all.resolve();
  });
  const runner = await run({
    ...poolOptions(connectionString, 1),
    events,
    pollInterval: 5,
    taskList: {
      [TASK]: () => all.reject(new Error("graphile-worker: a job was due")),
    },
  });
  await all.promise.finally(() => runner.stop());
  return samples.slice(1); // the first call prepares its statement
}
