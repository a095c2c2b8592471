// graphile-worker: jobs are added with its documented SQL functions (faster than its addJob) and handled by its own
// worker pools with batching.
import { EventEmitter } from "node:events";
import { Logger, run, runMigrations, type RunnerOptions, type WorkerEvents } from "graphile-worker";
import postgres from "postgres";
import type { Project } from "../../../supabase/local/project.ts";
import { pause } from "../../pause.ts";
import { DAY, type Drained, payloadOf, type Peer, type Plan } from "./peer.ts";

const TASK = "bench";
const STOCK = 10_000; // jobs per call
const MOST_CONCURRENT = 24; // jobs per pool, as in its own published benchmark; 4, 10 and 100 were no faster here
const silent = new Logger(() => () => {});

export async function openGraphileWorker(project: Project, connections = 4): Promise<Peer> {
  const connectionString = project.databaseUrl();
  await runMigrations({ connectionString, logger: silent });
  const sql = postgres(connectionString, { max: connections, onnotice: () => {} });
  const addJobs = (jobs: number, at: string | null) =>
    sql`
    select count(*) from graphile_worker.add_jobs(array(
      select json_populate_record(null::graphile_worker.job_spec, job)
      from json_array_elements(${JSON.stringify(specs(jobs, at))}::text::json) as job))`;
  return {
    name: "graphile-worker",
    async empty() {
      await sql`truncate graphile_worker._private_jobs, graphile_worker._private_job_queues`;
    },
    async stock(messages, delayed = false) {
      const at = delayed ? new Date(Date.now() + DAY).toISOString() : null;
      for (let done = 0; done < messages; done += STOCK) await addJobs(Math.min(STOCK, messages - done), at);
    },
    async enqueue(n = 0) {
      await sql`select graphile_worker.add_job(${TASK}, ${JSON.stringify(payloadOf(n))}::text::json)`;
    },
    async enqueueBatch(messages) {
      await addJobs(messages, null);
    },
    drain: (plan) => drain(connectionString, plan),
    emptyPolls: (polls) => emptyPolls(connectionString, polls),
    close: () => sql.end({ timeout: 5 }),
  };
}

function specs(jobs: number, run_at: string | null) {
  return Array.from({ length: jobs }, (_, n) => ({ identifier: TASK, payload: payloadOf(n), run_at }));
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
