// The job symphony-handlers claims before it runs, so a handler that hangs or ends its backend is counted and stops no
// other.
import assert from "node:assert/strict";
import { eventually } from "../../eventually.ts";
import { empty, session, test, useProject } from "../../project.ts";
import { call, callValue, deadLetterOf, dispatch, dispatchMany, messageOf, type Row, setClock } from "../bus.ts";
import { effects, makeEffects } from "./effects.ts";
import { holdHandlers, startHandlerJob, untilStatus } from "./handler_job.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true });

Deno.test.beforeAll(async () => {
  const { sql } = project();
  await limitLockWaits(sql);
  await makeEffects(sql);
  await sql.unsafe(`
    create table public.parents (id int primary key);
    create table public.children (parent int references public.parents deferrable initially deferred);
    create function public.end_backend(args jsonb) returns jsonb language plpgsql as $$
    begin
      insert into public.effects (args) values (args);
      perform pg_terminate_backend(pg_backend_pid());
      perform pg_sleep(10);
      return '{}';
    end $$;
    -- Waits for the test, which holds the lock, and for nothing else.
    create function public.wait_at_gate(args jsonb) returns jsonb language plpgsql set lock_timeout = 0 as $$
    begin
      insert into public.effects (args) values (args);
      perform pg_advisory_xact_lock(4713);
      return '{}';
    end $$;
    create function public.ignore_cancel(args jsonb) returns jsonb language plpgsql set lock_timeout = 0 as $$
    begin
      loop
        begin
          perform pg_advisory_xact_lock(4713);
          exit;
        exception when query_canceled then null;
        end;
      end loop;
      return '{}';
    end $$;
    create function public.child_first(args jsonb) returns jsonb language plpgsql as $$
    begin
      insert into public.children values ((args ->> 'n')::int);
      insert into public.effects (args) values (args);
      if args ->> 'orphan' is null then
        insert into public.parents values ((args ->> 'n')::int);
      end if;
      return '{}';
    end $$;`);
});
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate public.effects, public.parents, public.children`;
});

const setHandler = (type: string, name: string | null) =>
  project().sql`select messenger.set_sql_handler(${type}, ${name})`;
const register = (type: string, more: Row = {}) =>
  call(project().sql, "messenger_register", { types: [{ type, retry: { max_retries: 1, delay_ms: 0 }, ...more }] });
const runner = async (): Promise<Row> =>
  (await project().sql`select * from messenger.sql_runners where message_id is not null`)[0];
const overdue = () =>
  project().sql`update messenger.sql_runners set deadline = clock_timestamp() where message_id is not null`;
/** The part of a tick that cancels overdue handlers. */
const cancelOverdue = (sql = project().sql) => sql`select messenger.cancel_overdue_handlers()`;

test("job · handles a backlog without pausing, each message in two transactions, one worker in all", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  const ids = await dispatchMany(sql, 60, { type: "Ship" });
  await using job = await startHandlerJob(project());
  await untilStatus(sql, ids[59], "completed");
  assert.deepEqual(await effects(sql), ids.map((_, n) => ({ n })));
  const { id } = await dispatch(sql, { type: "Ship", payload: { late: true } });
  await untilStatus(sql, id, "completed");
  const rows = await sql`select worker, types from messenger.workers`;
  assert.deepEqual(rows.map(({ worker, types }) => [worker, types]), [[`sql-${job.pid}`, ["Ship"]]]);
  assert.equal((await sql`select from messenger_audit() where violations > 0`).length, 0);
});

test("job · a claim is committed before its handler runs, with the lease and deadline of its type", async () => {
  const { sql } = project();
  await register("Wait", { timeout_ms: 90_000 });
  await setHandler("Wait", "wait_at_gate");
  const { id } = await dispatch(sql, { type: "Wait" });
  await using gate = await holdHandlers(project());
  await using job = await startHandlerJob(project());
  await untilBlocked(sql, job.pid);
  const message = await messageOf(sql, id);
  assert.deepEqual([message.status, message.fence, message.locked_by], ["processing", "1", `sql-${job.pid}`]);
  const { pid, message_id, message_type, deadline } = await runner();
  assert.deepEqual([pid, message_id, message_type], [job.pid, id, "Wait"]);
  const seconds = (moment: Date) => (moment.getTime() - message.locked_at.getTime()) / 1_000;
  assert.ok(seconds(deadline) > 89 && seconds(deadline) < 100, "its timeout");
  assert.ok(seconds(message.lock_expires_at) > 119, "the lease is longer by 30 s");
  await gate.open();
  await untilStatus(sql, id, "completed");
  assert.equal(await runner(), undefined);
});

test("backend lost · is counted by the lease, ends as a dead letter, and no other type waits for it", async () => {
  const { sql } = project();
  await register("Kill");
  await setHandler("Kill", "end_backend");
  await setHandler("Ship", "take_effect");
  const [id, later] = await dispatchMany(sql, 2, { type: "Kill" });
  for (const delivery of [1, 2]) {
    {
      await using job = await startHandlerJob(project());
      await assert.rejects(job.ended);
    }
    const { status, fence, retry_count } = await messageOf(sql, id);
    assert.deepEqual([status, fence, retry_count], ["processing", `${delivery}`, delivery - 1]);
    {
      await using _next = await startHandlerJob(project());
      const ship = await dispatch(sql, { type: "Ship", payload: { delivery } });
      await untilStatus(sql, ship.id, "completed");
      assert.equal((await messageOf(sql, later)).status, "pending", "of its type only one within a lease");
    }
    await setClock(sql, `${delivery * 2} minutes`);
    await sql`update messenger.sql_runners set deadline = deadline - interval '2 minutes'`;
    await cancelOverdue();
    await sql`select messenger.rescue(messenger.now())`;
    await sql`update messenger_messages set available_at = available_at + interval '1 hour' where id = ${later}`;
  }
  const deadLetter = await deadLetterOf(sql, id);
  assert.deepEqual([deadLetter.retry_count, deadLetter.attempts.map(({ error_class }: Row) => error_class)], [
    2,
    ["LeaseExpired", "LeaseExpired"],
  ]);
  assert.deepEqual(await effects(sql), [{ delivery: 1 }, { delivery: 2 }]);
});

test("timeout · a hanging handler is cancelled, counts as a failed delivery, and its backend continues", async () => {
  const { sql } = project();
  await register("Wait", { timeout_ms: 1_500, retry: { max_retries: 0 } });
  await setHandler("Wait", "wait_at_gate");
  await setHandler("Ship", "take_effect");
  const { id } = await dispatch(sql, { type: "Wait", priority: 10 });
  const ship = await dispatch(sql, { type: "Ship" });
  await using _gate = await holdHandlers(project());
  await using job = await startHandlerJob(project());
  await untilBlocked(sql, job.pid);
  await cancelOverdue();
  assert.equal((await messageOf(sql, id)).status, "processing", "not before its time");
  await overdue();
  await cancelOverdue();
  await untilStatus(sql, ship.id, "completed");
  const deadLetter = await deadLetterOf(sql, id);
  assert.deepEqual([deadLetter.error_class, deadLetter.error], [
    "Timeout",
    "the handler did not end within 1.5 s and was cancelled",
  ]);
  assert.equal((await sql`select worker from messenger.workers`)[0].worker, `sql-${job.pid}`);
  assert.deepEqual(await effects(sql), [{}], "the cancelled one left no effect");
});

test("timeout · a handler that ignores the cancel loses its backend ten seconds later", async () => {
  const { sql } = project();
  await setHandler("Deaf", "ignore_cancel");
  await dispatch(sql, { type: "Deaf" });
  await using _gate = await holdHandlers(project());
  await using job = await startHandlerJob(project());
  await untilBlocked(sql, job.pid);
  await overdue();
  await cancelOverdue();
  await cancelOverdue();
  await untilBlocked(sql, job.pid);
  assert.ok((await runner()).cancelled_at, "cancelled once");
  await sql`update messenger.sql_runners set cancelled_at = cancelled_at - interval '10 seconds'`;
  await cancelOverdue();
  await assert.rejects(job.ended);
});

test("timeout · a backend with the process id of a lost runner is not cancelled", async () => {
  const { sql } = project();
  await using _gate = await holdHandlers(project());
  await using innocent = session(project());
  const pid = await pidOf(innocent);
  const waiting = innocent`select pg_advisory_xact_lock(4713)`.execute();
  await untilBlocked(sql, pid);
  await sql`
    insert into messenger.sql_runners (pid, backend_start, message_id, message_type, deadline)
    select pid, backend_start - interval '1 minute', gen_random_uuid(), 'Ship', clock_timestamp() - interval '1 minute'
      from pg_stat_activity where pid = ${pid}`;
  await cancelOverdue();
  assert.equal((await sql`select from messenger.sql_runners`).length, 0, "it is forgotten");
  await _gate.open();
  await waiting;
});

test("timeout · a cancel that arrives as the handler ends affects this handler, never the next", async () => {
  const { sql } = project();
  await setHandler("Wait", "wait_at_gate");
  await setHandler("Ship", "take_effect");
  const { id } = await dispatch(sql, { type: "Wait", max_retries: 0, priority: 10 });
  const ship = await dispatch(sql, { type: "Ship" });
  await using gate = await holdHandlers(project());
  await using ticker = session(project());
  await using job = await startHandlerJob(project());
  await untilBlocked(sql, job.pid);
  // The ticker has locked the row, and its signal is still to come; meanwhile the handler returns.
  await ticker`begin`;
  await ticker`select from messenger.sql_runners for update`;
  await gate.open();
  const tickerPid = await pidOf(ticker);
  await eventually(
    "the runner waits for the ticker",
    async () => (await sql`select ${tickerPid} = any (pg_blocking_pids(${job.pid})) as waits`)[0].waits,
  );
  await ticker`select pg_cancel_backend(${job.pid})`;
  await ticker`commit`;
  await untilStatus(sql, ship.id, "completed");
  assert.equal((await messageOf(sql, id)).status, "failed");
  assert.deepEqual(await effects(sql), [{}], "the effect of the cancelled one is rolled back");
});

test("statement_timeout · that cancels a handler uses no retry, and does not cancel it again", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create or replace function public.take_long(args jsonb) returns jsonb
      language plpgsql as $$ begin perform pg_sleep(2.5); return '{}'; end $$`);
  await setHandler("Long", "take_long");
  const { id } = await dispatch(sql, { type: "Long" });
  await using _job = await startHandlerJob(project(), { statement_timeout: "2200ms" });
  await untilStatus(sql, id, "completed");
  const { fence, retry_count } = await messageOf(sql, id);
  assert.deepEqual([fence, retry_count], ["2", 0]);
});

test("constraints · a deferred one that a handler violates fails that delivery alone", async () => {
  const { sql } = project();
  await setHandler("Child", "child_first");
  for (const run of ["job", "tick"]) {
    await sql`truncate public.effects, public.parents, public.children`;
    const ids = [];
    for (const payload of [{ n: 1 }, { n: 2, orphan: true }, { n: 3 }]) {
      ids.push((await dispatch(sql, { type: "Child", payload, max_retries: 0 })).id);
    }
    if (run === "tick") {
      assert.equal((await callValue(sql, "messenger_tick")).errors, undefined);
    } else {
      await using _job = await startHandlerJob(project());
      await untilStatus(sql, ids[2], "completed");
    }
    const statuses = await Promise.all(ids.map(async (id) => (await messageOf(sql, id)).status));
    assert.deepEqual(statuses, ["completed", "failed", "completed"], run);
    assert.equal((await deadLetterOf(sql, ids[1])).error_class, "23503");
    assert.deepEqual(await effects(sql), [{ n: 1 }, { n: 3 }]);
  }
});

test("constraints · a deferred one on messages that the completion violates fails the delivery, too", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  await sql.unsafe(`
    create function public.no_result() returns trigger
      language plpgsql as $$ begin raise exception 'no results here'; end $$;
    create constraint trigger no_result after update on messenger_messages deferrable initially deferred
    for each row when (new.result is not null) execute function public.no_result()`);
  try {
    const { id } = await dispatch(sql, { type: "Ship", max_retries: 0 });
    await using _job = await startHandlerJob(project());
    await untilStatus(sql, id, "failed");
    assert.match((await deadLetterOf(sql, id)).error, /no results here/);
  } finally {
    await sql.unsafe("drop trigger no_result on messenger_messages; drop function public.no_result()");
  }
});

test("tick · runs handlers itself if no backend of the job runs, and leaves them to it otherwise", async () => {
  const { sql } = project();
  await setHandler("Wait", "wait_at_gate");
  await setHandler("Ship", "take_effect");
  await dispatch(sql, { type: "Wait", priority: 10 });
  await using gate = await holdHandlers(project());
  {
    await using job = await startHandlerJob(project());
    await untilBlocked(sql, job.pid);
    const { id } = await dispatch(sql, { type: "Ship" });
    await sql`select messenger.tick(100)`;
    assert.equal((await messageOf(sql, id)).status, "pending");
    await gate.open();
    await untilStatus(sql, id, "completed");
  }
  await sql`update messenger.sql_runners set backend_start = now() - interval '1 day'`;
  const { id } = await dispatch(sql, { type: "Ship" });
  await callValue(sql, "messenger_tick");
  assert.equal((await messageOf(sql, id)).status, "completed");
});
