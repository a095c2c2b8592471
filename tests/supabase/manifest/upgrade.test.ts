// Upgrades: an installed earlier release with messages in flight, a running ticker and old workers becomes this one,
// and nothing is lost.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { release, upgrades } from "../../../supabase/build/release.ts";
import { session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchPair,
  messageOf,
  type Row,
  settle,
} from "../bus.ts";
import { errorOf } from "../assert_rejected.ts";
import { install, installRelease, rollBack, upgradeFrom } from "./release.ts";

const project = useProject({ migrate: false });
const ada = crypto.randomUUID();

Deno.test.beforeEach(async () => {
  await rollBack(project().sql);
});

const differences = async (sql: Sql) => [
  ...await sql`select kind, object, state, detail from messenger_verify() where kind <> 'operation' and state <> 'ok'`,
];
const violations = async (sql: Sql) => (await call(sql, "messenger_audit")).filter(({ violations }) => violations > 0);
/**
 * Runs the installed job each minute, like pg_cron, until it is unscheduled: the run during an upgrade has the old
 * command.
 */
async function runJob(): Promise<void> {
  await using own = session(project());
  const installed = () => own`select command from cron.job where jobname = 'symphony-clock'`;
  for (let jobs = await installed(); jobs.length > 0; jobs = await installed()) {
    await own.unsafe(jobs[0].command).simple();
  }
}

const releaseOf = async (sql: Sql) => (await sql`select messenger.release() as release`)[0].release;

for (const { from } of upgrades) {
  test(`upgrade from ${from} · an upgraded database equals a new one`, async () => {
    const { sql } = project();
    await installRelease(sql, from);
    await upgradeFrom(sql, from);
    assert.deepEqual([await differences(sql), await releaseOf(sql)], [[], release.version]);
    await install(sql);
    assert.deepEqual(await differences(sql), [], "and the full migration may be run again over it");
  });

  test(`upgrade from ${from} · durations without a unit keep their meaning, keys their payload`, async () => {
    const { sql } = project();
    await installRelease(sql, from);
    await sql`insert into messenger_transports (name, type, config) values
      ('a', 'supabase', '{"retention": 7, "failed_retention": "2 days"}'),
      ('b', 'supabase', '{"idempotency_window": "1 day 30"}'),
      ('c', 'supabase', '{"retention": "0"}')`;
    const send = (payload: string) =>
      sql`select * from messenger_dispatch('T', ${payload}::text::jsonb, idempotency_key => 'price')`;
    const [{ id }] = await send('{"price": 1.10}');
    await upgradeFrom(sql, from);
    const rows = await sql`select name, config from messenger_transports where name in ('a', 'b', 'c') order by name`;
    assert.deepEqual(rows.map(({ config }) => config), [
      { retention: "7 seconds", failed_retention: "2 days" },
      { idempotency_window: "1 day 30 seconds" },
      { retention: "0" },
    ]);
    const [again] = await send('{"price": 1.10}');
    assert.deepEqual([again.id, again.duplicate], [id, true]);
  });

  test(`upgrade from ${from} · each message continues from its state`, async () => {
    const { sql } = project();
    await installRelease(sql, from);
    await sql.unsafe(`
      create table if not exists public.upgrade_events (event jsonb);
      create or replace function public.note_event(event jsonb) returns jsonb language sql set search_path = '' as
        $$ insert into public.upgrade_events values (event) returning null::jsonb $$;
      select messenger.on('completed', 'public.note_event')`);
    await call(sql, "messenger_register", {
      types: [{ type: "Wish", dispatchable_by: "user", retry: { delay_ms: 0 } }],
    });
    const running = await dispatchAndClaim(sql, { type: "Running" }, { types: ["Running"] });
    const lost = await dispatchAndClaim(sql, { type: "Lost" }, { types: ["Lost"], lease: "1 millisecond" });
    const dead = await dispatchAndClaim(sql, { type: "Dead", idempotency_key: "dead" }, { types: ["Dead"] });
    await settle(sql, [{ ...dead, outcome: "failed", error: "no", retryable: false }]);
    const [first, second] = await dispatchPair(sql, { type: "Ordered", ordering_key: "k" });
    const delayed = await dispatch(sql, { type: "Delayed", delay: "1 hour" });
    const keyed = await dispatch(sql, { type: "Keyed", idempotency_key: "keyed" });
    const [wish] = await asRole(
      sql,
      "authenticated",
      (tx) => call(tx, "messenger_user_dispatch", { type: "Wish" }),
      ada,
    );
    await call(sql, "messenger_schedule", { name: "s", type: "Scheduled", schedule: { interval: 3_600_000 } });
    await call(sql, "messenger_pause", { transport: "supabase", queue: "paused" });
    const paused = await dispatch(sql, { type: "Paused", queue: "paused" });

    await upgradeFrom(sql, from);

    assert.deepEqual((await messageOf(sql, wish.id)).headers, { "x-symphony-user": ada });
    assert.deepEqual((await messageOf(sql, keyed.id)).headers, {});
    assert.equal(await callValue(sql, "messenger_complete", { id: running.id, fence: running.fence }), "completed");
    assert.equal((await dispatch(sql, { type: "Keyed", idempotency_key: "keyed" })).id, keyed.id);
    assert.equal(await callValue(sql, "messenger_complete", { id: lost.id, fence: lost.fence }), "completed");
    const work = await claim(sql, { batch: 100, types: ["Ordered", "Keyed", "Delayed", "Paused", "Scheduled"] });
    assert.deepEqual(work.map(({ id }) => id).sort(), [first.id, keyed.id].sort());
    await settle(sql, work.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
    assert.deepEqual((await claim(sql, { types: ["Ordered"] })).map(({ id }) => id), [second.id]);
    await call(sql, "messenger_resume", { transport: "supabase", queue: "paused" });
    assert.deepEqual((await claim(sql, { queues: ["paused"] })).map(({ id }) => id), [paused.id]);
    const [{ outcome }] = await call(sql, "messenger_retry_failed", { filter: { type: "Dead" } });
    assert.deepEqual([outcome, (await messageOf(sql, dead.id)).status], ["retried", "pending"]);
    assert.equal((await messageOf(sql, delayed.id)).status, "pending");
    assert.equal((await call(sql, "messenger_list_schedules")).length, 1);
    await callValue(sql, "messenger_tick");
    assert.equal((await sql`select from public.upgrade_events`).length, 4, "events of completions since");
    assert.deepEqual([await violations(sql), await differences(sql)], [[], []]);
  });

  test(`upgrade from ${from} · metrics of three months are kept, and days are rolled up from their hours`, async () => {
    const { sql } = project();
    await installRelease(sql, from);
    await sql`
      insert into messenger.metrics (step_seconds, at, transport_name, message_type, completed, durations)
      select 3600, date_trunc('hour', now(), 'UTC') - n * interval '1 hour', 'supabase', 'Old', n % 7, array[n % 7]
        from generate_series(1, 2100) n`;
    const [{ from_time, to_time }] = await sql<{ from_time: Date; to_time: Date }[]>`
      select date_trunc('day', now(), 'UTC') - interval '80 days' as from_time,
        date_trunc('hour', now(), 'UTC') as to_time`;
    const read = async () => {
      const { totalSucceeded, p95ProcessingTime } = await callValue(sql, "messenger_metrics", { from_time, to_time });
      return [totalSucceeded, p95ProcessingTime];
    };
    const before = await read();
    assert(before[0] > 0);
    await upgradeFrom(sql, from);
    assert.deepEqual(await read(), before);
    for (let n = 0; n < 60; n++) await callValue(sql, "messenger_tick");
    const days = (step: number) =>
      sql`select distinct date_bin('1 day', at, '2000-01-01 00:00+00') as day from messenger.metrics
        where step_seconds = ${step} and at < date_trunc('day', now(), 'UTC') order by 1`;
    assert.deepEqual(await days(86400), await days(3600));
    assert.deepEqual(await read(), before);
  });

  test(`upgrade from ${from} · under traffic, with old workers: lost 0, handled twice 0, audit 0`, async () => {
    const { sql } = project();
    await installRelease(sql, from);
    await sql`select messenger_start('http://127.0.0.1:1/functions/v1')`;
    const ticker = runJob();
    const acknowledged: string[] = [];
    const handled: string[] = [];
    let produces = true;
    const producer = async () => {
      await using own = session(project());
      await own`set role service_role`;
      for (let n = 0; produces; n++) {
        const fields = n % 3 === 0
          ? { ordering_key: `k${n % 5}` }
          : n % 3 === 1
          ? { idempotency_key: crypto.randomUUID() }
          : {};
        acknowledged.push((await dispatch(own, { type: "Traffic", ...fields })).id);
      }
    };
    const worker = async (name: string) => {
      await using own = session(project());
      await own`set role service_role`;
      let outcomes: Row[] = [];
      // The next tick finds messages that a race between a dispatch and a completion of one ordering key leaves
      // blocked.
      for (const end = Date.now() + 30_000; Date.now() < end && (produces || handled.length < acknowledged.length);) {
        const [{ messenger_exchange: { settled, claimed } }] = await call(own, "messenger_exchange", {
          outcomes,
          worker: name,
          batch: 20,
          types: ["Traffic"],
        });
        handled.push(...settled.filter(({ outcome }: Row) => outcome === "completed").map(({ id }: Row) => id));
        outcomes = claimed.map(({ id, fence }: Row) => ({ id, fence, outcome: "completed" }));
      }
    };
    const traffic = [producer(), producer(), worker("old 1"), worker("old 2")];
    const reached = async (count: number) => {
      while (acknowledged.length < count) await sql`select pg_sleep(0.01)`;
    };
    try {
      await reached(100);
      await upgradeFrom(sql, from);
      await reached(acknowledged.length + 200);
    } finally {
      produces = false;
      await Promise.all(traffic);
    }
    await sql`select messenger_stop()`;
    await ticker;

    assert.deepEqual([handled.length, new Set(handled).size], [acknowledged.length, acknowledged.length]);
    assert.deepEqual(handled.toSorted(), acknowledged.toSorted());
    const rows = await sql`select status, count(*)::int as count from messenger_messages where message_type = 'Traffic'
        group by status`;
    assert.deepEqual([...rows], [{ status: "completed", count: acknowledged.length }]);
    // The tick that waits while the upgrade commits continues with the old code, does not find its functions, and is
    // rolled back.
    const [{ last_error, ticks }] = await sql`
      select c.last_error, (select count(*)::int from messenger.ticks) as ticks from messenger.clock c`;
    // On a busy machine a step may meet a lock of the traffic: the next tick catches up.
    const known = /^function messenger\.\w+\(.*\) does not exist$|canceling statement due to lock timeout$/;
    if (last_error !== null) assert.match(last_error, known);
    const errors = await sql`select step, error from messenger.step_errors where not messenger.is_lock_error(sqlstate)`;
    assert.deepEqual([ticks > 0, [...errors]], [true, []]);
    assert.deepEqual([await violations(sql), await differences(sql)], [[], []]);
  });

  test(`upgrade from ${from} · a ticker's job gets the new command, a stopped one stays stopped`, async () => {
    const { sql } = project();
    await installRelease(sql, from);
    await sql`select messenger_start('http://127.0.0.1:1/functions/v1')`;
    await upgradeFrom(sql, from);
    const jobs =
      await sql`select command = messenger.ticker_command() as is_new from cron.job where jobname = 'symphony-clock'`;
    assert.deepEqual([...jobs], [{ is_new: true }]);
    await rollBack(sql);
    await installRelease(sql, from);
    await upgradeFrom(sql, from);
    assert.equal((await sql`select from cron.job`).length, 0);
  });

  test(`upgrade from ${from} · an open writer stops it with a message, and nothing changes`, async () => {
    const { sql } = project();
    await installRelease(sql, from);
    await using writer = session(project());
    await writer.unsafe("begin");
    await dispatch(writer, { type: "Open" });
    await using own = session(project());
    await own`set lock_timeout = '100ms'`;
    const error = await errorOf(upgradeFrom(own, from));
    assert.deepEqual([error.code, error.message.includes("nothing was changed")], ["55P03", true]);
    await writer.unsafe("commit");
    assert.equal((await sql`select to_regprocedure('messenger.release()') as release`)[0].release, null);
    await upgradeFrom(own, from);
    assert.equal(await releaseOf(sql), release.version);
  });

  test(`upgrade from ${from} · applied to another release, it names the installed one`, async () => {
    const { sql } = project();
    const fresh = await errorOf(upgradeFrom(sql, from));
    assert.match(fresh.message, /not installed|messenger/);
    await install(sql);
    const twice = await errorOf(upgradeFrom(sql, from));
    assert.match(twice.message, new RegExp(`Symphony Messenger ${release.version} is installed`));
    await rollBack(sql);
    await installRelease(sql, from);
    const full = await errorOf(install(sql));
    assert.match(full.message, new RegExp(`Symphony Messenger ${from} is installed.*nothing was changed`));
    assert.match(full.hint ?? "", /supabase\/upgrades\/\d+_upgrade_symphony_messenger/);
  });

  test(`rollback of an installed ${from} · removes all of it, and the project's objects stay`, async () => {
    const { sql } = project();
    const names = async () =>
      (await sql`
      select c.oid::regclass::text as name from pg_class c
        where c.relnamespace::regnamespace::text in ('public', 'messenger') and c.relkind in ('r', 'v', 'S')
      union all select p.oid::regprocedure::text from pg_proc p
      where p.pronamespace::regnamespace::text in ('public', 'messenger')
      order by 1`).map(({ name }) => name);
    const before = await names();
    await installRelease(sql, from);
    await sql`select messenger_start('http://127.0.0.1:1/functions/v1')`;
    await rollBack(sql);
    assert.deepEqual(await names(), before);
    assert.equal((await sql`select from cron.job`).length, 0);
    assert.equal((await sql`select to_regnamespace('messenger') as schema`)[0].schema, null);
  });
}
