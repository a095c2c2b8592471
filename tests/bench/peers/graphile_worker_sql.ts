// graphile-worker's SQL on a lean driver: its functions add_job and add_jobs, and the statements of its runner as
// prepared statements, without its pools, timers and events. No user runs it like this: it shows the cost of its SQL.
import postgres, { type Sql } from "postgres";
import { Logger, runMigrations } from "graphile-worker";
import type { Project } from "../../../supabase/local/project.ts";
import { GRAPHILE_WORKER_SQL } from "../targets.ts";
import { type Consumer, drainBy, stockBy, timePolls } from "./drain.ts";
import { DAY, payloadOf, type Peer } from "./peer.ts";

export const TASK = "bench";
const STOCK = 10_000; // jobs per call
export const silent = new Logger(() => () => {});

export async function openGraphileWorkerSql(project: Project, connections = 4): Promise<Peer> {
  const connectionString = project.databaseUrl();
  await runMigrations({ connectionString, logger: silent });
  const sql = postgres(connectionString, { max: connections, onnotice: () => {} });
  const addJobs = (jobs: number, at: string | null) =>
    sql`
    select count(*) from graphile_worker.add_jobs(array(
      select json_populate_record(null::graphile_worker.job_spec, job)
      from json_array_elements(${JSON.stringify(specs(jobs, at))}::text::json) as job))`;
  return {
    name: GRAPHILE_WORKER_SQL,
    async empty() {
      await sql`truncate graphile_worker._private_jobs, graphile_worker._private_job_queues`;
    },
    stock(messages, delayed = false) {
      const at = delayed ? new Date(Date.now() + DAY).toISOString() : null;
      // Parallel calls would not be faster: each locks the table of its tasks.
      return stockBy(messages, { perCall: STOCK, connections: 1 }, (jobs) => addJobs(jobs, at));
    },
    async enqueue(n = 0) {
      await sql`select graphile_worker.add_job(${TASK}, ${JSON.stringify(payloadOf(n))}::text::json)`;
    },
    async enqueueBatch(messages) {
      await addJobs(messages, null);
    },
    async drain(plan) {
      const task = await taskId(sql);
      return await drainBy(plan, (worker) => consumer(sql, worker, task, plan.batch));
    },
    async emptyPolls(polls) {
      const task = await taskId(sql);
      return await timePolls(polls, async () => (await getJobs(sql, "bench", task, 1)).length);
    },
    close: () => sql.end({ timeout: 5 }),
  };
}

function specs(jobs: number, run_at: string | null) {
  return Array.from({ length: jobs }, (_, n) => ({ identifier: TASK, payload: payloadOf(n), run_at }));
}

async function taskId(sql: Sql): Promise<number> {
  const [{ id }] = await sql<{ id: number }[]>`
    select id from graphile_worker._private_tasks where identifier = ${TASK}`;
  return id;
}

function consumer(sql: Sql, worker: string, task: number, batch: number): Consumer {
  let jobs: string[] = [];
  const finish = async () => {
    if (jobs.length > 0) await completeJobs(sql, jobs);
  };
  return {
    async claim() {
      await finish();
      jobs = await getJobs(sql, worker, task, batch);
      return jobs.length;
    },
    finish,
  };
}

/** The statement of graphile-worker 0.18.0, dist/sql/getJobs.js, without flags and with the time of the server. */
async function getJobs(sql: Sql, worker: string, task: number, batch: number): Promise<string[]> {
  const dedupe = `,
j as (
  select distinct on (job_queue_id, case when job_queue_id is null then id end)
      job_queue_id, priority, run_at, id
    from j_raw
    order by job_queue_id, case when job_queue_id is null then id end, priority asc, run_at asc
)`;
  const text = `
with ${batch > 1 ? "j_raw" : "j"} as (
  select jobs.job_queue_id, jobs.priority, jobs.run_at, jobs.id
    from "graphile_worker"._private_jobs as jobs
    where jobs.is_available = true
    and run_at <= now()
    and task_id = any($2::int[])
    and (
      jobs.job_queue_id is null
      or
      jobs.job_queue_id in (
        select id
        from "graphile_worker"._private_job_queues as job_queues
        where job_queues.is_available = true
        for update
        skip locked
      )
    )
    order by priority asc, run_at asc
    limit ${batch}
    for update
    skip locked
)${batch > 1 ? dedupe : ""},
q as (
  update "graphile_worker"._private_job_queues as job_queues
    set
      locked_by = $1::text,
      locked_at = now()
    from j
    where job_queues.id = j.job_queue_id
)
  update "graphile_worker"._private_jobs as jobs
    set
      attempts = jobs.attempts + 1,
      locked_by = $1::text,
      locked_at = now()
    from j
    where jobs.id = j.id
    returning *`;
  const rows = await sql.unsafe<{ id: string }[]>(text, [worker, [task]], { prepare: true });
  return rows.map(({ id }) => id);
}

/** The statements of graphile-worker 0.18.0, dist/sql/completeJobs.js, for jobs without a named queue. */
async function completeJobs(sql: Sql, ids: string[]): Promise<void> {
  if (ids.length === 1) {
    await sql`delete from graphile_worker._private_jobs as jobs where id = ${ids[0]}::bigint`;
  } else {
    await sql`delete from graphile_worker._private_jobs as jobs using unnest(${ids}::bigint[]) n(n) where id = n`;
  }
}
