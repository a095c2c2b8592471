// Rolling up measurements into metrics: each counts once, whatever session rolls up or is killed, and a held snapshot
// does not make it slow.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { callValue, claim, dispatch, dispatchAndClaim, dispatchMany, type Row, setClock, settle } from "../bus.ts";
import { limitLockWaits, pidOf } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const rollUp = async (sql = project().sql) => (await sql`select messenger.roll_up()::int as rows`)[0].rows;
const tick = () => callValue(project().sql, "messenger_tick");
const metrics = (args: Record<string, unknown> = {}) => callValue(project().sql, "messenger_metrics", args);
const figures = async (step: number): Promise<Row[]> => [
  ...await project()
    .sql`select at, message_type, dispatched::int, completed::int from messenger.metrics where step_seconds = ${step}
      order by at, message_type`,
];

async function complete(count: number, type = "Greeting") {
  await dispatchMany(project().sql, count, { type });
  const rows = await claim(project().sql, { batch: 1000 });
  await settle(project().sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed", duration_ms: 7 })));
}

test("roll-up · the tick adds new measurements to their minute, their hour and all time", async () => {
  const { sql } = project();
  await complete(3);
  await tick();
  await complete(2);
  await tick();
  assert.equal((await sql`select from messenger.measurements`).length, 0);
  const [minutes, hours, ever] = [await figures(60), await figures(3600), await figures(0)];
  const sum = (rows: Row[]) => rows.reduce((total, { completed }) => total + completed, 0);
  assert.deepEqual([sum(minutes), sum(hours), sum(ever)], [5, 5, 5]);
  const [{ durations, duration_ms, wait_count }] =
    await sql`select durations, duration_ms::int, wait_count from messenger.metrics where step_seconds = 0`;
  assert.deepEqual([durations.map(Number).reduce((a: number, b: number) => a + b), duration_ms, wait_count], [
    5,
    35,
    "5",
  ]);
});

test("roll-up · measurements of many minutes and types in one roll-up, each in its row", async () => {
  const { sql } = project();
  await sql`insert into messenger.measurements (at, transport_name, message_type, kind, message_count, durations)
    select '2026-03-01 00:00:30+00'::timestamptz + n * interval '1 minute', 'supabase', 'T' || n % 2, 'completed', 2,
      array[n, 1000] from generate_series(0, 179) n`;
  assert.equal(await rollUp(), 180);
  const [minutes, hours, ever] = [await figures(60), await figures(3600), await figures(0)];
  assert.deepEqual([minutes.length, hours.length, ever.length], [180, 6, 2]);
  assert.deepEqual(minutes[61], {
    at: new Date("2026-03-01T01:01:00Z"),
    message_type: "T1",
    dispatched: 0,
    completed: 2,
  });
  assert.deepEqual([hours[0].completed, ever[0].completed], [60, 180]);
  const [{ durations }] =
    await sql`select durations from messenger.metrics where step_seconds = 0 and message_type = 'T1'`;
  assert.equal(durations.map(Number).reduce((a: number, b: number) => a + b), 180);
});

test("roll-up · ten concurrent ones during work: each measurement counts once", async () => {
  const { sql } = project();
  await using stack = new AsyncDisposableStack();
  const folders = Array.from({ length: 10 }, () => stack.use(session(project())));
  const workers = Array.from({ length: 4 }, () => stack.use(session(project())));
  let working = true;
  const running = folders.map(async (roller) => {
    let rows = 0;
    while (working) rows += await rollUp(roller);
    return rows;
  });
  await Promise.all(workers.map(async (worker, n) => {
    for (let i = 0; i < 25; i++) {
      await dispatchMany(worker, 2);
      const rows = await claim(worker, { worker: `w${n}`, batch: 3 });
      await settle(worker, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
    }
  }));
  working = false;
  const rolledUp = (await Promise.all(running)).reduce((a, b) => a + b) + await rollUp();
  const [{ completed }] =
    await sql`select count(*)::int as completed from messenger_messages where status = 'completed'`;
  assert.deepEqual((await figures(0)).map((row) => [row.dispatched, row.completed]), [[200, completed]]);
  assert(rolledUp >= 100 && completed > 100);
});

test("roll-up · only one runs at a time: a concurrent tick leaves new measurements to a later one", async () => {
  const { sql } = project();
  const left = async () => (await sql`select from messenger.measurements`).length;
  await dispatch(sql);
  await using first = session(project());
  await first.begin(async (tx) => {
    assert.equal((await tx`select messenger.roll_up()::int as rows`)[0].rows, 1);
    await dispatch(sql);
    assert.equal((await tick()).errors, undefined);
    assert.deepEqual([...await sql`select step, error from messenger.set_aside`], [], "it met no locked row");
    assert.equal(await left(), 2, "those of the first are not deleted before it commits");
  });
  await tick();
  assert.equal(await left(), 0);
  assert.deepEqual((await figures(0)).map(({ dispatched }) => dispatched), [2]);
});

test("roll-up · one that is killed during its transaction loses nothing and counts nothing twice", async () => {
  await complete(4);
  const roller = session(project());
  const pid = await pidOf(roller);
  const [{ rows }] = await roller.unsafe("begin; select messenger.roll_up()::int as rows").simple().then((all) =>
    all[1]
  );
  assert.equal(rows, 2);
  assert.equal((await metrics()).totalSucceeded, 4);
  await project().sql`select pg_terminate_backend(${pid}, 10000)`;
  await roller.end({ timeout: 1 });
  assert.deepEqual(await figures(0), []);
  assert.equal((await metrics()).totalSucceeded, 4);
  assert.equal(await rollUp(), 2);
  assert.deepEqual((await figures(0)).map(({ completed }) => completed), [4]);
  assert.equal((await metrics()).totalSucceeded, 4);
});

test("roll-up · a transaction that commits after a roll-up is counted by the next, in its own minute", async () => {
  await using late = session(project());
  await late.begin(async (tx) => {
    await dispatch(tx);
    await complete(1);
    await setClock(tx, "10 minutes");
    assert.equal(await rollUp(), 2);
  });
  assert.equal(await rollUp(), 1);
  const minutes = await figures(60);
  assert.equal(minutes.reduce((sum, { dispatched }) => sum + dispatched, 0), 2);
  assert(minutes.every(({ at }) => at.getTime() < Date.now() + 60_000));
});

test("roll-up · under a held snapshot it reads the end of the table and a part of the rest", async () => {
  const { sql } = project();
  await using holder = session(project());
  await using roller = session(project());
  await roller`select set_config('messenger.roll_up_blocks', '16', false)`;
  await holder.begin("isolation level repeatable read", async (tx) => {
    await tx`select 1`;
    let rolledUp = 0;
    for (let round = 0; round < 20; round++) {
      await sql`insert into messenger.measurements (at, transport_name, message_type, kind, message_count)
        select now(), 'supabase', 'Greeting', 'dispatched', 1 from generate_series(1, 600)`;
      rolledUp += await rollUp(roller);
    }
    const [{ blocks }] = await sql`select pg_relation_size('messenger.measurements') / 8192 as blocks`;
    assert(Number(blocks) > 100, `${blocks} blocks, or the test proves nothing`);
    const read = await blocksReadBy(roller);
    assert(read > 0 && read < 60, `${read} of ${blocks} blocks`);
    assert.equal(rolledUp, 12_000);
  });
});

test("roll-up · rows before the end, of transactions that committed late, are found in turns", async () => {
  const { sql } = project();
  await using holder = session(project());
  await using late = session(project());
  await using roller = session(project());
  await roller`select set_config('messenger.roll_up_blocks', '16', false)`;
  const more = () =>
    sql`insert into messenger.measurements (at, transport_name, message_type, kind, message_count)
      select now(), 'supabase', 'Other', 'dispatched', 1 from generate_series(1, 2000)`;
  await holder.begin("isolation level repeatable read", async (tx) => {
    await tx`select 1`;
    await late.begin(async (tx) => {
      await dispatch(tx);
      for (let round = 0; round < 5; round++) {
        await more();
        while (await rollUp(roller) > 0);
      }
    });
    let rows = 0;
    for (let n = 0; n < 20 && rows === 0; n++) rows = await rollUp(roller);
    assert.equal(rows, 1);
  });
  assert.deepEqual((await figures(0)).map((row) => [row.message_type, row.dispatched]), [["Greeting", 1], [
    "Other",
    10_000,
  ]]);
});

/** Blocks of the measurements that the next roll-up of this session reads. */
async function blocksReadBy(roller: ReturnType<typeof session>): Promise<number> {
  const read = async () => {
    await roller`select pg_stat_force_next_flush()`;
    await roller`select pg_stat_clear_snapshot()`;
    const [row] = await roller`select heap_blks_read + heap_blks_hit as blocks from pg_statio_all_tables
        where relid = 'messenger.measurements'::regclass`;
    return Number(row.blocks);
  };
  await read();
  const before = await read();
  await rollUp(roller);
  await read();
  return await read() - before;
}

test("pruning · minutes go after two days, hours after 90, days after 400; all-time figures stay", async () => {
  const { sql } = project();
  await complete(3);
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e" }]);
  await tick();
  const steps = async (table: string) =>
    (await sql`select distinct step_seconds as step from messenger.${sql(table)} order by 1`).map(({ step }) => step);
  const succeeded = async (minutes: number) => {
    const { totalSucceeded, errors } = await metrics({ minutes });
    return [totalSucceeded, errors[0].count];
  };
  await setClock(sql, "47 hours");
  await tick();
  assert.deepEqual(await steps("metrics"), [0, 60, 300, 3600, 86400]);
  await setClock(sql, "50 hours");
  await tick();
  assert.deepEqual(await steps("metrics"), [0, 3600, 86400]);
  assert.deepEqual(await succeeded(3 * 1440), [3, 1]);
  await setClock(sql, "92 days");
  await tick();
  assert.deepEqual(await steps("metrics"), [0, 86400]);
  assert.deepEqual(await steps("metric_errors"), [86400]);
  assert.deepEqual(await succeeded(100 * 1440), [3, 1]);
  await setClock(sql, "402 days");
  await tick();
  assert.deepEqual([await steps("metrics"), await steps("metric_errors")], [[0], []]);
  assert.deepEqual((await figures(0)).map(({ completed }) => completed), [3]);
});

test("limits · types after the first 500, and error classes after 99 per minute, share a row", async () => {
  const { sql } = project();
  const measure = (from: number, to: number) =>
    sql`insert into messenger.measurements (at, transport_name, message_type, kind, message_count, error_class, error)
      select '2026-03-01 00:00:30+00', 'supabase', 'T' || n, 'dead', 1, 'E' || n, 'text ' || n
        from generate_series(${from}::int, ${to}::int) n`;
  await measure(1, 300);
  await rollUp();
  await measure(250, 900);
  await rollUp();
  await measure(1, 2);
  await rollUp();
  const types = await sql`select message_type, dead::int from messenger.metrics where step_seconds = 0`;
  assert.equal(types.length, 501);
  assert.equal(types.find(({ message_type }) => message_type === "(other)")?.dead, 400);
  assert.equal(types.find(({ message_type }) => message_type === "T250")?.dead, 2);
  const errors = await sql`select error_class, error_count::int from messenger.metric_errors where step_seconds = 60`;
  assert.equal(errors.length, 100);
  assert.equal(errors.reduce((sum, { error_count }) => sum + error_count, 0), 953);
});
