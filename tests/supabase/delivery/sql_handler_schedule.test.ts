// The job symphony-handlers beside the ticker and the project: its existence, locks and roles, and its errors.
import assert from "node:assert/strict";
import { eventually } from "../../eventually.ts";
import { empty, session, test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch, dispatchMany, messageOf, type Row } from "../bus.ts";
import { makeEffects } from "./effects.ts";
import { holdHandlers, startHandlerJob, untilStatus } from "./handler_job.ts";
import { limitLockWaits, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true });

Deno.test.beforeAll(async () => {
  const { sql } = project();
  await limitLockWaits(sql);
  await makeEffects(sql);
  await sql.unsafe(`
    -- Waits for the test, which holds the lock, and for nothing else.
    create function public.wait_at_gate(args jsonb) returns jsonb language plpgsql set lock_timeout = 0 as $$
    begin
      perform pg_advisory_xact_lock(4713);
      return '{}';
    end $$;
    create function public.as_user(args jsonb) returns jsonb language plpgsql as $$
    begin
      insert into public.effects (args) values (args);
      perform set_config('role', 'authenticated', true);
      return jsonb_build_object('role', current_user);
    end $$`);
});
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate public.effects`;
});

const setHandler = (type: string, name: string | null) =>
  project().sql`select messenger.set_sql_handler(${type}, ${name})`;

test("job · the effect of a handler is committed before the job pauses", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  const { id } = await dispatch(sql, { type: "Ship" });
  // The pause itself waits for the test.
  await sql.unsafe(`
    create schema paused;
    create function paused.pg_sleep(seconds double precision) returns void language plpgsql set lock_timeout = 0 as $$
    begin
      perform pg_advisory_lock_shared(4713), pg_advisory_unlock_shared(4713);
    end $$`);
  try {
    await using gate = await holdHandlers(project());
    await using job = await startHandlerJob(project(), { search_path: "paused, pg_catalog, public" });
    await untilBlocked(sql, job.pid);
    assert.equal((await messageOf(sql, id)).status, "completed");
    await gate.open();
  } finally {
    await sql`drop schema paused cascade`;
  }
});

test("role · a handler that acts as a user need not reset the role", async () => {
  const { sql } = project();
  await setHandler("User", "as_user");
  const ids = await dispatchMany(sql, 2, { type: "User" });
  await using _job = await startHandlerJob(project());
  await untilStatus(sql, ids[1], "completed");
  assert.deepEqual([(await messageOf(sql, ids[0])).status, (await messageOf(sql, ids[0])).result], ["completed", {
    role: "authenticated",
  }]);
});

test("locks · neither an open claim of a worker named sql nor any advisory lock blocks handlers", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  await using other = session(project());
  await other`begin`;
  await claim(other, { worker: "sql" });
  await other`select pg_advisory_xact_lock(hashtextextended('messenger.run_sql_handlers', 0))`;
  const first = await dispatch(sql, { type: "Ship" });
  await callValue(sql, "messenger_tick");
  assert.equal((await messageOf(sql, first.id)).status, "completed");
  const second = await dispatch(sql, { type: "Ship" });
  await using _job = await startHandlerJob(project());
  await untilStatus(sql, second.id, "completed");
});

test("errors · of the job itself are recorded by name, undo no handled message, and it continues", async () => {
  const { sql } = project();
  await setHandler("Wait", "wait_at_gate");
  const first = await dispatch(sql, { type: "Wait" });
  await using gate = await holdHandlers(project());
  await using job = await startHandlerJob(project(), { lock_timeout: "25ms" });
  await untilBlocked(sql, job.pid);
  await using other = session(project());
  await other`begin`;
  await other`lock table messenger.workers in access exclusive mode`;
  await gate.open();
  await untilStatus(sql, first.id, "completed");
  await eventually(
    "the job records its error",
    async () => (await sql`select from messenger.step_errors where step = 'symphony-handlers'`).length === 1,
  );
  await other`rollback`;
  const { id } = await dispatch(sql, { type: "Wait" });
  await untilStatus(sql, id, "completed");
});

const jobs = async () =>
  (await project().sql`select jobname from cron.job where jobname like 'symphony%' order by jobname`).map((
    { jobname },
  ) => jobname);

test("cron · the job exists while the ticker is on and something needs it, undelivered events included", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  assert.deepEqual(await jobs(), [], "the ticker is off");
  await callValue(sql, "messenger_start");
  assert.deepEqual(await jobs(), ["symphony-clock", "symphony-handlers"]);
  await setHandler("Ship", null);
  assert.deepEqual(await jobs(), ["symphony-clock"]);
  const [{ id: subscription }] = await sql`select messenger.on('completed', 'public.take_effect') as id`;
  assert.deepEqual(await jobs(), ["symphony-clock", "symphony-handlers"]);
  const { id, fence } = (await claim(sql, { batch: 1 }))[0] ?? (await dispatch(sql), (await claim(sql))[0]);
  await call(sql, "messenger_complete", { id, fence });
  await sql`select messenger.off(${subscription})`;
  assert.deepEqual(await jobs(), ["symphony-clock", "symphony-handlers"], "an event is undelivered");
  await sql`select messenger.run_sql_handlers(10)`;
  await sql`select messenger.tick_or_note_error()`;
  assert.deepEqual(await jobs(), ["symphony-clock"]);
  await setHandler("Ship", "take_effect");
  assert.deepEqual({ ...await callValue(sql, "messenger_stop") }, { clock: false, unscheduled: 2 });
  assert.deepEqual(await jobs(), []);
});

test("cron · health reports a missing job, and its history is pruned with the ticker's", async () => {
  const { sql } = project();
  const check = async (): Promise<Row> =>
    (await callValue(sql, "messenger_health")).checks.find(({ name }: Row) => name === "sql_handlers");
  assert.equal(await check(), undefined, "nothing needs it");
  await setHandler("Ship", "take_effect");
  await sql`update messenger.settings set clock_enabled = true`;
  const { status, detail, remedy } = await check();
  assert.deepEqual([status, detail, remedy], [
    "degraded",
    "types have SQL handlers, but pg_cron has no job symphony-handlers",
    "select messenger_start()",
  ]);
  await callValue(sql, "messenger_start");
  assert.equal((await check()).status, "healthy");
  await using admin = session(project(), "supabase_admin");
  await admin`
    insert into cron.job_run_details (jobid, runid, command, status, start_time, end_time)
    select 1, 300000 + n, c.command, 'succeeded', now() - interval '2 days', now() - interval '2 days'
    from unnest(array[messenger.ticker_command(), messenger.handlers_command(),
      'select messenger.tick_or_note_error()']) with ordinality as c(command, n)`;
  await sql`select messenger.prune_ticker_history()`;
  assert.deepEqual(
    (await sql`select runid::int from cron.job_run_details where runid > 300000`).map(({ runid }) => runid),
    [300003],
  );
  await admin`delete from cron.job_run_details where runid > 300000`;
  await callValue(sql, "messenger_stop");
});
