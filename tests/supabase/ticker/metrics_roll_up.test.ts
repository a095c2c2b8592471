// Five minutes and days: rolled up after their end, so that any window is read from few rows with the same figures as
// before.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, callValue, dispatch, dispatchAndClaim, type Row, setClock, settle } from "../bus.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const tick = () => callValue(project().sql, "messenger_tick");
const metrics = (args: Record<string, unknown> = {}) => callValue(project().sql, "messenger_metrics", args);
const rowsOf = async (step: number) => [
  ...await project().sql`
    select at, message_type, dispatched::int, completed::int, dead::int from messenger.metrics
    where step_seconds = ${step} order by at, message_type`,
];

/** Ticks until five minutes and days are rolled up to now. */
async function rollUp(): Promise<void> {
  for (let before = "", now = "-"; now !== before;) {
    await tick();
    before = now;
    [{ now }] = await project().sql`
      select concat_ws(' ', messenger.rolled_up_until(300), messenger.rolled_up_until(86400),
        (select count(*) from messenger.metrics where histogram is null)) as now`;
  }
}

/** The given number of days of two types, each minute with another figure, as minutes and hours of release 0.1.0. */
async function fill(days: number): Promise<void> {
  await project().sql`
    with minute as (
      select at, n, t, 1 + (n * 7 + t) % 13 as count
      from generate_series(0, ${days}::int * 1440) n, generate_series(1, 2) t, lateral (
        select date_trunc('minute', messenger.now()) - n * interval '1 minute' as at) m
    ), stepped as (
      select s.step, s.at, t, sum(count) as count, array[sum(count), 0, sum(count) / 2]::bigint[] as durations
      from minute m, lateral (values (60, m.at), (3600, date_trunc('hour', m.at, 'UTC'))) s(step, at)
      group by s.step, s.at, t
    ), errors as (
      insert into messenger.metric_errors (step_seconds, at, message_type, error_class, error_count, error, last_at)
      select step, at, 'T' || t, 'E', count, 'e', at from stepped
    )
    insert into messenger.metrics (step_seconds, at, transport_name, message_type, completed, dead, duration_ms,
      durations, wait_count, waited_ms)
    select step, at, 'supabase', 'T' || t, count, t, 3 * count, durations, count, 5 * count from stepped`;
}

test("roll-up · any window has the same figures before and after, whole or with part-hours at its ends", async () => {
  await fill(5);
  const [{ now }] = await project().sql<{ now: Date }[]>`select date_trunc('minute', messenger.now()) as now`;
  const ago = (minutes: number) => new Date(now.getTime() - minutes * 60_000);
  const windows = [
    [61, 0],
    [119, 7],
    [360, 3],
    [871, 13],
    [1440, 0],
    [1607, 61],
    [2701, 1],
    [4320, 0],
    [5777, 119],
    [25_000, 0],
    [25_000, 3333],
    [100_000, 17],
  ].map(([from, to]) => ({ from_time: ago(from), to_time: ago(to) }));
  const read = () => Promise.all(windows.map((window) => metrics(window)));
  const before = await read();
  await rollUp();
  const counts = async (step: number) => (await rowsOf(step)).length;
  assert(await counts(300) > 1000 && await counts(86400) >= 8, "or the test shows nothing");
  const after = await read();
  for (const [n, figures] of after.entries()) assert.deepEqual(figures, before[n], JSON.stringify(windows[n]));
  assert(before.every(({ totalProcessed, errors }) => totalProcessed > 0 && errors.length === 2));
});

test("roll-up · late measurements count in the five minutes and the day that are rolled up", async () => {
  const { sql } = project();
  await dispatch(sql);
  await tick();
  await using late = session(project());
  await late.begin(async (tx) => {
    await call(tx, "messenger_dispatch", { type: "Late" });
    await setClock(sql, "26 hours");
    await rollUp();
    assert.equal((await rowsOf(86400)).length, 1);
  });
  await rollUp();
  for (const step of [60, 300, 3600, 86400]) {
    const rows = await rowsOf(step);
    assert.equal(rows.reduce((sum, { dispatched }) => sum + dispatched, 0), 2, `${step}`);
  }
  assert.equal((await metrics({ minutes: 30 * 1440 })).totalDispatched, 2);
});

test("roll-up · a failed delivery that is measured late is among the errors of its day", async () => {
  const { sql } = project();
  await dispatch(sql);
  await tick();
  const { id, fence } = await dispatchAndClaim(sql, { type: "Late" }, { types: ["Late"] });
  await using late = session(project());
  await late.begin(async (tx) => {
    await settle(tx, [{ id, fence, outcome: "failed", error: "e", error_class: "TooLate", retryable: false }]);
    await setClock(sql, "26 hours");
    await rollUp();
  });
  await rollUp();
  const { errors } = await metrics({ minutes: 30 * 1440 });
  assert.deepEqual(errors.map((e: Row) => [e.errorClass, e.count]), [["TooLate", 1]]);
});

test("roll-up · a step that has not ended is not rolled up", async () => {
  const { sql } = project();
  // A numeric: extra_float_digits may leave a double one digit.
  const [{ skew }] =
    await sql`select extract(epoch from date_trunc('day', now(), 'UTC') + interval '1 day 12:03' - now()) as skew`;
  await setClock(sql, `${skew} seconds`);
  await dispatch(sql);
  await rollUp();
  assert.deepEqual([await rowsOf(300), await rowsOf(86400)], [[], []]);
  await setClock(sql, `${Number(skew) + 120} seconds`);
  await rollUp();
  assert.deepEqual([(await rowsOf(300)).length, await rowsOf(86400)], [1, []]);
});

test("roll-up · rows of release 0.1.0 get their histogram from the ticker, and keep their figures", async () => {
  const { sql } = project();
  await fill(1);
  const [{ to_time }] = await sql`select messenger.now() as to_time`;
  const before = await metrics({ minutes: 300, to_time });
  await rollUp();
  const [{ unpacked }] = await sql`select count(*)::int as unpacked from messenger.metrics where histogram is null`;
  assert.equal(unpacked, 0);
  assert.deepEqual(await metrics({ minutes: 300, to_time }), before);
});

test("roll-up · a day whose update the project rejects affects no figure and no other step", async () => {
  const { sql } = project();
  await fill(2);
  const before = (await metrics({ minutes: 30 * 1440 })).totalProcessed;
  await sql.unsafe(`
    create function public.no_days() returns trigger language plpgsql as $$ begin raise exception 'no days'; end $$;
    create trigger no_days before insert on messenger.metrics for each row when (new.step_seconds = 86400)
      execute function public.no_days()`);
  try {
    await dispatch(sql);
    let errors: Row = {};
    for (let n = 0; n < 30; n++) errors = { ...errors, ...(await tick()).errors };
    assert.deepEqual(errors, { roll_up_steps: "no days" });
    const reply = await metrics({ minutes: 30 * 1440 });
    assert.deepEqual([reply.totalProcessed, reply.totalDispatched], [before, 1]);
  } finally {
    await sql.unsafe("drop trigger no_days on messenger.metrics; drop function public.no_days()");
  }
});

test("roll-up · hours past their retention stay until their day is rolled up", async () => {
  const { sql } = project();
  await dispatch(sql);
  await tick();
  await setClock(sql, "100 days");
  await sql`select messenger.prune_metrics(messenger.now(), 100)`;
  assert.equal((await rowsOf(3600)).length, 1);
  await rollUp();
  await sql`select messenger.prune_metrics(messenger.now(), 100)`;
  assert.deepEqual([(await rowsOf(3600)).length, (await rowsOf(86400)).length], [0, 1]);
  const reply = await metrics({ minutes: 200 * 1440 });
  assert.deepEqual([reply.totalDispatched, reply.stepSeconds], [1, 172_800]);
});

test("roll-up · a day has at most a hundred errors, the most frequent by name", async () => {
  const { sql } = project();
  await sql`
    insert into messenger.metrics (step_seconds, at, transport_name, message_type, dead)
    select 3600, date_trunc('day', messenger.now(), 'UTC') - interval '1 day', 'supabase', 'T', 1`;
  await sql`
    insert into messenger.metric_errors (step_seconds, at, message_type, error_class, error_count, error, last_at)
    select 3600, date_trunc('day', messenger.now(), 'UTC') - (h || ' hours')::interval, 'T', 'E' || h || '/' || n,
      n, 'e',
      messenger.now()
    from generate_series(1, 3) h, generate_series(1, 99) n`;
  await rollUp();
  const rows = await sql`
    select error_class, error_count::int as count from messenger.metric_errors where step_seconds = 86400
      order by error_class`;
  assert.equal(rows.length, 100);
  assert.equal(rows.reduce((sum, { count }) => sum + count, 0), 3 * 99 * 50);
  assert(rows[0].error_class === "(other)" && rows.some(({ error_class }) => error_class === "E3/99"));
});

test("roll-up · a sum above the range of bigint is capped and blocks no later one", async () => {
  const { sql } = project();
  await sql`
    insert into messenger.metrics (step_seconds, at, transport_name, message_type, dispatched)
    select 3600, date_trunc('day', messenger.now(), 'UTC') - n * interval '1 hour', 'supabase', 'Huge',
      9223372036854775807
      from generate_series(1, 30) n`;
  await rollUp();
  assert.equal((await sql`select from messenger.metrics where step_seconds = 86400`).length, 2);
});

test("speed · no window up to a year is read from more than 400 rows per type", async () => {
  const { sql } = project();
  await sql`
    insert into messenger.metrics (step_seconds, at, transport_name, message_type)
    values (300, date_trunc('hour', messenger.now(), 'UTC') - interval '5 minutes', 'supabase', 'T'),
      (86400, date_trunc('day', messenger.now(), 'UTC') - interval '1 day', 'supabase', 'T')`;
  for (const minutes of [60, 179, 894, 1440, 2000, 2879, 10_000, 21_400, 30_000, 129_000, 525_600]) {
    const { from, to, stepSeconds, series } = await metrics({ minutes });
    const [{ rows }] = await sql`
      select sum(extract(epoch from ends_at - begins_at) / step_seconds)::int as rows
      from messenger.range_parts(${from}, ${to}, ${stepSeconds})`;
    assert(rows <= 400 + 60, `${minutes} minutes: ${rows} rows`);
    assert(
      series.length <= 180 && series.length >= Math.min(14, minutes),
      `${minutes} minutes: ${series.length} points`,
    );
  }
});

test("speed · windows of three hours, a day, two weeks and a year of 200 types take less than a second", async () => {
  const { sql } = project();
  await sql`
    with h as materialized
    (select messenger.pack_histogram(array(select (b * 7) % 23 from generate_series(0, 50) b)) as histogram)
    insert into messenger.metrics (step_seconds, at, transport_name, message_type, completed, histogram)
    select s.step, date_bin(make_interval(secs => s.step), messenger.now(), '2000-01-01 00:00+00') - n *
      make_interval(secs => s.step), 'supabase', 'T' || t, 100, h.histogram
    from (values (60, 180), (300, 290), (3600, 360), (86400, 366)) s(step, count), generate_series(1, s.count) n,
      generate_series(1, 200) t, h`;
  await sql`analyze messenger.metrics`;
  for (const minutes of [175, 1440, 21_000, 525_600]) {
    const taken = [];
    for (let n = 0; n < 3; n++) {
      const started = performance.now();
      const { byMessageType } = await metrics({ minutes });
      taken.push(performance.now() - started);
      assert.equal(Object.keys(byMessageType).length, 200);
    }
    assert(Math.min(...taken) < 1_000, `${minutes} minutes: ${taken.map(Math.round)} ms`);
  }
});
