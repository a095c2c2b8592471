// The ticker under pg_cron: a real full minute, its heartbeat, its end, and the detection of its absence.
import assert from "node:assert/strict";
import { eventually } from "./eventually.ts";
import { session, test, testWithCron, useProject } from "./project.ts";

const project = useProject({ testClock: true });
const FULL_MINUTE = 90_000; // ms: pg_cron starts jobs at full minutes only

interface Clock {
  ticks: number;
  last_tick_at: Date;
}

async function clock(): Promise<Clock> {
  const [row] = await project().sql<Clock[]>`select ticks::int, last_tick_at from messenger.clock`;
  return row;
}

/** The check of the ticker in messenger_health, with the bus's time this far ahead of the last tick. */
async function healthAfter(skew: string): Promise<{ clock: string; overall: string; remedy?: string }> {
  await project().sql`select messenger.set_clock(${skew})`;
  const [{ health }] = await project().sql`select messenger_health() as health`;
  await project().sql`select messenger.set_clock('0')`;
  const check = health.checks.find(({ name }: { name: string }) => name === "clock");
  return { clock: check.status, overall: health.status, remedy: check.remedy };
}

test("ticker · before messenger_start nothing ticks, and health reports it", async () => {
  const [{ jobs }] = await project().sql`select count(*)::int as jobs from cron.job`;
  const { clock, overall, remedy } = await healthAfter("0");
  assert.deepEqual([jobs, clock, overall], [0, "unhealthy", "unhealthy"]);
  assert.match(remedy ?? "", /messenger_start/);
});

test("ticker · messenger_start without a URL starts it without wake-ups, and names what is missing", async () => {
  const [{ started }] = await project().sql`select messenger_start() as started`;
  assert.deepEqual([started.clock, started.wakeups, started.worker_secret], [true, false, true]);
  assert.match(started.wakeups_remedy, /functions\/v1/);
  const jobs = await project().sql`select jobname, schedule, command from cron.job`;
  assert.deepEqual(jobs.map(({ jobname, schedule }) => [jobname, schedule]), [["symphony-clock", "* * * * *"]]);
  const [{ secret }] = await project().sql`select decrypted_secret as secret from vault.decrypted_secrets`;
  assert.ok(!jobs[0].command.includes(secret), "the job contains no secret");
});

testWithCron("ticker · pg_cron starts the job at a full minute, and it ticks once per second", async () => {
  const run = await eventually("pg_cron starts the job", async () => {
    const [row] = await project().sql`
      select d.* from cron.job_run_details d join cron.job j using (jobid)
      where j.jobname = 'symphony-clock' and d.start_time is not null`;
    return row;
  }, FULL_MINUTE);
  assert.ok(run.start_time.getSeconds() < 10, `started at ${run.start_time.toISOString()}`);
  assert.ok(["running", "starting"].includes(run.status), run.status);

  const first = await eventually("the first tick", async () => {
    const now = await clock();
    return now.ticks >= 1 && now;
  });
  const later = await eventually("five more ticks", async () => {
    const now = await clock();
    return now.ticks >= first.ticks + 5 && now;
  });
  const pace = (later.last_tick_at.getTime() - first.last_tick_at.getTime()) / (later.ticks - first.ticks);
  assert.ok(pace > 700 && pace < 2_000, `a tick each ${Math.round(pace)} ms`);
  assert.equal((await healthAfter("0")).clock, "healthy");
});

/** Process id of the job's backend while it runs. */
function atWork() {
  return project().sql<{ age: number | null }[]>`
    select extract(epoch from clock_timestamp() - xact_start)::float as age from pg_stat_activity
    where query like '%tick_or_note_error%' and pid <> pg_backend_pid()`;
}

testWithCron("ticker · each tick is a transaction of its own, so no transaction stays open for a minute", async () => {
  const [backend] = await atWork();
  assert.ok(backend, "the job is running");
  assert.ok(backend.age === null || backend.age < 5, `a transaction of ${backend.age} s`);
});

test("ticker · messenger_stop ends the running minute and unschedules the job", async () => {
  const [{ stopped }] = await project().sql`select messenger_stop() as stopped`;
  assert.deepEqual(stopped, { clock: false, unscheduled: 1 });
  assert.deepEqual([...await project().sql`select jobname from cron.job`], []);
  await eventually("the job's backend has ended", async () => (await atWork()).length === 0, 10_000);
  const [last] = await project().sql`select ticks from messenger.clock`;
  await project().sql`select pg_sleep(1.5)`;
  const [later] = await project().sql`select ticks from messenger.clock`;
  assert.equal(later.ticks, last.ticks, "no tick after the end");
});

test("ticker · missed ticks make health degraded at first, and unhealthy within two minutes", async () => {
  // The wall clock, so that the last tick was now and the ticker has not been stopped.
  await project().sql`update messenger.settings set clock_changed_at = null`;
  await project().sql`select messenger_tick()`;
  const seen = [];
  for (const skew of ["0", "60 seconds", "85 seconds", "119 seconds", "1 day"]) {
    seen.push((await healthAfter(skew)).clock);
  }
  assert.deepEqual(seen, ["healthy", "healthy", "degraded", "unhealthy", "unhealthy"]);
  const { overall, remedy } = await healthAfter("119 seconds");
  assert.equal(overall, "unhealthy");
  assert.ok(remedy);
});

test("ticker · health reports due messages that no worker claims", async () => {
  const { sql } = project();
  await sql`select messenger_dispatch('TestNote')`;
  const oldestDue = async (skew: string) => {
    await sql`select messenger.set_clock(${skew})`;
    const [{ health }] = await sql`select messenger_health() as health`;
    await sql`select messenger.set_clock('0')`;
    return health.checks.find(({ name }: { name: string }) => name === "oldest_due").status;
  };
  assert.deepEqual([await oldestDue("0"), await oldestDue("2 minutes"), await oldestDue("11 minutes")], [
    "healthy",
    "degraded",
    "unhealthy",
  ]);
});

test("ticker · prunes its own job history and that of no other job", async () => {
  const { sql } = project();
  await sql`select messenger_start()`;
  await sql`select cron.schedule('a-neighbour', '0 0 1 1 *', 'select 1')`;
  await using admin = session(project(), "supabase_admin");
  await admin`
    insert into cron.job_run_details (jobid, runid, command, status, start_time, end_time)
    select j.jobid, 100000 + 10 * j.jobid + n, j.command, 'succeeded', now() - n * interval '13 hours',
      now() - n * interval '13 hours'
    from cron.job j, generate_series(1, 3) n`;
  // A run that was cut off, of a ticker that has been stopped and started since: without an end, under the id of
  // another job.
  await admin`
    insert into cron.job_run_details (jobid, runid, command, status, start_time)
    select 99999, 200000, command, 'running', now() - interval '2 days' from cron.job where jobname = 'symphony-clock'`;
  await sql`select messenger.prune_ticker_history()`;
  assert.equal((await sql`select from cron.job_run_details where runid = 200000`).length, 0);
  const left = await sql`
    select j.jobname, count(*)::int as runs from cron.job_run_details d join cron.job j using (jobid)
    where d.runid > 100000 group by j.jobname order by j.jobname`;
  assert.deepEqual(left.map(({ jobname, runs }) => [jobname, runs]), [["a-neighbour", 3], ["symphony-clock", 1]]);
  await sql`select messenger_stop()`;
});
