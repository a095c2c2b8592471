// messenger_metrics: every dispatch and every end of a delivery is counted once, in its window.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  type Row,
  setClock,
  settle,
} from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });

Deno.test.beforeEach(() => empty(project().sql));

const metrics = (args: Record<string, unknown> = {}) => callValue(project().sql, "messenger_metrics", args);
const tick = () => call(project().sql, "messenger_tick");
const totals = (m: Row) => [m.totalDispatched, m.totalProcessed, m.totalSucceeded, m.totalFailed, m.totalRetried];

/** Completes due messages, with this duration of each delivery. */
async function complete(durations: number[]): Promise<void> {
  const { sql } = project();
  for (const duration_ms of durations) {
    const { id, fence } = await dispatchAndClaim(sql);
    await settle(sql, [{ id, fence, outcome: "completed", duration_ms }]);
  }
}

test("metrics · an empty bus has zeros, and nulls for figures without data", async () => {
  const m = await metrics();
  assert.deepEqual(totals(m), [0, 0, 0, 0, 0]);
  assert.deepEqual(
    [
      m.averageProcessingTime,
      m.p50ProcessingTime,
      m.p95ProcessingTime,
      m.p99ProcessingTime,
      m.successRate,
      m.failureRate,
    ],
    [null, null, null, null, null, null],
  );
  assert.deepEqual([m.byMessageType, m.byTransport, m.errors, m.stepSeconds], [{}, {}, [], 60]);
  assert.ok(m.series.length >= 60 && m.series.every((point: Row) => point.dispatched === 0));
});

test("metrics · the whole life is counted, with the same figures before and after the roll-up", async () => {
  const { sql } = project();
  await complete([10, 20]);
  const retried = await dispatchAndClaim(sql, { type: "Other" });
  await settle(sql, [{
    id: retried.id,
    fence: retried.fence,
    outcome: "failed",
    error: "no answer",
    error_class: "Timeout",
    duration_ms: 40,
  }]);
  const dead = await dispatchAndClaim(sql, { type: "Other" });
  await settle(sql, [{
    id: dead.id,
    fence: dead.fence,
    outcome: "failed",
    error: "no such user",
    error_class: "Gone",
    retryable: false,
    duration_ms: 80,
  }]);
  for (const rolledUp of [false, true]) {
    if (rolledUp) await tick();
    const m = await metrics();
    assert.deepEqual(totals(m), [4, 3, 2, 1, 1], `rolled up: ${rolledUp}`);
    assert.deepEqual([m.successRate, m.failureRate, m.averageProcessingTime], [0.6667, 0.3333, 37.5]);
    const { Greeting, Other } = m.byMessageType;
    assert.deepEqual([Greeting.succeeded, Greeting.failed, Greeting.averageProcessingTime], [2, 0, 15]);
    assert.deepEqual([Other.processed, Other.failed, Other.retried, Other.averageProcessingTime], [1, 1, 1, 60]);
    assert.deepEqual([m.byTransport.supabase.processed, m.byTransport.supabase.dispatched], [3, 4]);
    assert.deepEqual(
      m.errors.map((e: Row) => [e.errorClass, e.messageType, e.error, e.count]).sort(),
      [["Gone", "Other", "no such user", 1], ["Timeout", "Other", "no answer", 1]],
    );
    const last = m.series.filter((point: Row) => point.dispatched > 0);
    const sum = (name: string) => last.reduce((all: number, point: Row) => all + point[name], 0);
    assert.deepEqual(["dispatched", "completed", "failed", "retried", "dead"].map(sum), [4, 2, 2, 1, 1]);
  }
  const [{ open }] = await sql`select count(*)::int as open from messenger.measurements`;
  assert.equal(open, 0, "the tick rolls up all");
});

test("metrics · the types of a batch are counted separately", async () => {
  const { sql } = project();
  for (const type of ["A", "B"]) await dispatchMany(sql, 3, { type });
  const rows = await claim(sql);
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  const { byMessageType: { A, B } } = await metrics();
  assert.deepEqual([A.succeeded, B.succeeded, A.dispatched, B.dispatched], [3, 3, 3, 3]);
});

test("metrics · messages that a transport deletes at once are counted, too", async () => {
  const { sql } = project();
  await sql`update messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
  await complete([5]);
  assert.deepEqual(totals(await metrics()), [1, 1, 1, 0, 0]);
});

test("metrics · a lost lease is a retried delivery, and the last one a dead message", async () => {
  const { sql } = project();
  await dispatchAndClaim(sql, { max_retries: 1 }, { lease: "1 second" });
  await setClock(sql, "10 seconds");
  await tick();
  assert.deepEqual(totals(await metrics()), [1, 0, 0, 0, 1]);
  await claim(sql, { lease: "1 second" });
  await setClock(sql, "20 seconds");
  assert.equal((await claim(sql)).length, 0);
  const m = await metrics();
  assert.deepEqual(totals(m), [1, 1, 0, 1, 1]);
  assert.deepEqual(m.errors.map((e: Row) => [e.errorClass, e.count]), [["LeaseExpired", 2]]);
});

test("metrics · snoozed, released, expired and cancelled messages count as neither", async () => {
  const { sql } = project();
  const snoozed = await dispatchAndClaim(sql);
  await settle(sql, [{ id: snoozed.id, fence: snoozed.fence, outcome: "snoozed", delay_ms: 1e6 }]);
  const released = await dispatchAndClaim(sql);
  await settle(sql, [{ id: released.id, fence: released.fence, outcome: "released" }]);
  await call(sql, "messenger_cancel", { id: released.id });
  await sql`select * from messenger_dispatch('Greeting', expires_at => messenger.now() + interval '1 second')`;
  await setClock(sql, "10 seconds");
  await tick();
  assert.deepEqual(totals(await metrics()), [3, 0, 0, 0, 0]);
});

test("metrics · an outcome that is repeated, late or rolled back is not counted", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const result = [{ id, fence, outcome: "completed" }];
  await sql.begin(async (transaction) => {
    await settle(transaction, result);
    throw new Error("no");
  }).catch(() => {});
  await settle(sql, [...result, ...result]);
  await settle(sql, result);
  await settle(sql, [{ id, fence: 99, outcome: "failed", error: "late" }]);
  assert.deepEqual(totals(await metrics()), [1, 1, 1, 0, 0]);
});

test("metrics · a dispatch that is rolled back, rejected or a duplicate is not counted", async () => {
  const { sql } = project();
  await sql.begin(async (transaction) => {
    await dispatch(transaction);
    throw new Error("no");
  }).catch(() => {});
  await dispatch(sql, { priority: 11 }).catch(() => {});
  for (let n = 0; n < 3; n++) await dispatch(sql, { idempotency_key: "once" });
  for (let n = 0; n < 2; n++) await dispatch(sql, { ordering_key: "k" });
  assert.equal((await metrics()).totalDispatched, 3);
});

test("metrics · a window has exactly its own minutes", async () => {
  const { sql } = project();
  await sql`
    insert into messenger.metrics (step_seconds, at, transport_name, message_type, completed)
    select 60, date_trunc('day', now(), 'UTC') + n * interval '1 minute', 'supabase', 'A', 1
      from generate_series(600, 659) n
    union all select 3600, date_trunc('day', now(), 'UTC') + interval '10 hours', 'supabase', 'A', 60`;
  const today = new Date().toISOString().slice(0, 10);
  const of = async (from_time: string, to_time: string) => (await metrics({ from_time, to_time })).totalSucceeded;
  assert.equal(await of(`${today}T10:00:00Z`, `${today}T11:00:00Z`), 60);
  assert.equal(await of(`${today}T10:10:00Z`, `${today}T10:20:00Z`), 10);
  assert.equal(await of(`${today}T09:00:00Z`, `${today}T10:00:00Z`), 0);
  assert.equal(
    await of(new Date(Date.now() - 40 * 86_400_000).toISOString(), new Date(Date.now() + 86_400_000).toISOString()),
    60,
  );
  const wide = await metrics({ minutes: 40 * 1440, to_time: new Date(Date.now() + 86_400_000) });
  assert.ok(wide.series.length <= 180 && wide.stepSeconds % 60 === 0);
  assert.equal(wide.series.reduce((sum: number, point: Row) => sum + point.completed, 0), 60);
});

for (
  const [what, args] of [
    ["no minutes", { minutes: 0 }],
    ["more than a year", { minutes: 525_601 }],
    ["a window that ends before it begins", { from_time: "2026-03-02T00:00:00Z", to_time: "2026-03-01T00:00:00Z" }],
  ] as [string, Record<string, unknown>][]
) {
  test(`metrics · rejects ${what}`, async () => {
    await assertRejected(metrics(args), "SM_FILTER");
  });
}

test("metrics · rejects a window without end", async () => {
  await assertRejected(project().sql`select messenger_metrics(to_time => 'infinity')`, "SM_FILTER");
});

test("metrics · percentiles are within a fifth of the true ones", async () => {
  const { sql } = project();
  let seed = 7;
  const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const durations = Array.from({ length: 900 }, () => Math.round(Math.exp(random() * 10)));
  await dispatchMany(sql, 900);
  for (let at = 0; at < 900; at += 100) {
    const rows = await claim(sql, { batch: 100 });
    await settle(
      sql,
      rows.map(({ id, fence }, n) => ({ id, fence, outcome: "completed", duration_ms: durations[at + n] })),
    );
  }
  const sorted = durations.toSorted((a, b) => a - b);
  const m = await metrics();
  for (
    const [name, share] of [["p50ProcessingTime", 0.5], ["p95ProcessingTime", 0.95], [
      "p99ProcessingTime",
      0.99,
    ]] as const
  ) {
    const exact = sorted[Math.ceil(share * 900) - 1];
    assert.ok(Math.abs(m[name] - exact) <= exact * 0.2 + 1, `${name}: ${m[name]}, really ${exact}`);
  }
  assert.ok(Math.abs(m.averageProcessingTime - durations.reduce((a, b) => a + b) / 900) < 0.01);
});

test("metrics · a worker may send any duration; it is limited to the allowed range", async () => {
  await complete([-5, 1e300, 0]);
  const m = await metrics();
  assert.ok(m.p50ProcessingTime >= 0 && m.averageProcessingTime <= 1e9, JSON.stringify(m));
});

test("counters · never decrease, whatever is pruned", async () => {
  const { sql } = project();
  await complete([10]);
  await tick();
  await setClock(sql, "200 days");
  await tick();
  await tick();
  const { counters: [counter], dead_letters } = await callValue(sql, "messenger_counters");
  assert.deepEqual([counter.completed, counter.dispatched, counter.deliveries, dead_letters], [1, 1, 1, 0]);
  assert.deepEqual(counter.duration_ms_buckets.at(-1).count, 1);
  assert.deepEqual(counter.duration_ms_buckets[0], { le: 1, count: 0 });
});

test("health · the error rate: a fifth of twenty deliveries is healthy, above a half unhealthy", async () => {
  const { sql } = project();
  const rate = async () =>
    (await callValue(sql, "messenger_health")).checks.find((row: Row) => row.name === "error_rate");
  const end = async (count: number, outcome: string) => {
    await dispatchMany(sql, count);
    const rows = await claim(sql, { batch: count });
    await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome, error: "e", retryable: false })));
  };
  await end(15, "failed");
  assert.equal((await rate()).status, "healthy", "fifteen are too few for a rate");
  await end(60, "completed");
  assert.deepEqual([(await rate()).status, (await rate()).figures], ["healthy", { ended: 75, failed: 15, share: 0.2 }]);
  await end(5, "failed");
  assert.equal((await rate()).status, "degraded");
  await end(50, "failed");
  assert.equal((await rate()).status, "unhealthy");
  await setClock(sql, "10 minutes");
  assert.equal((await rate()).status, "healthy");
});

test("metrics · services may call it, users may not", async () => {
  const { sql } = project();
  await asRole(sql, "service_role", (own) => own`select messenger_metrics(), messenger_counters()`);
  for (const name of ["messenger_metrics", "messenger_counters"]) {
    await assert.rejects(asRole(sql, "authenticated", (own) => own.unsafe(`select ${name}()`)), /permission denied/);
  }
});
