// messenger_metrics: the counted events through the whole life of messages.
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
  type SqlClient,
} from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const metrics = (args: Record<string, unknown> = {}, sql: SqlClient = project().sql) =>
  callValue(sql, "messenger_metrics", args);
const tick = () => callValue(project().sql, "messenger_tick");
const counts = (of: Row) => [
  of.dispatched ?? of.totalDispatched,
  of.processed ?? of.totalProcessed,
  of.succeeded ?? of.totalSucceeded,
  of.failed ?? of.totalFailed,
  of.retried ?? of.totalRetried,
];

/** The figures, which must be the same before and after the roll-up. */
async function measured(args: Record<string, unknown> = {}): Promise<Row> {
  const before = await metrics(args);
  const [{ rows }] = await project().sql`select count(*)::int as rows from messenger.measurements`;
  assert(rows > 0, "nothing is left to roll up");
  await project().sql`select messenger.roll_up()`;
  const after = await metrics(args);
  assert.deepEqual({ ...after, to: before.to }, before);
  return after;
}

test("metrics · without messages: zeros, and no rates, durations and errors", async () => {
  const reply = await metrics();
  assert.deepEqual(counts(reply), [0, 0, 0, 0, 0]);
  for (
    const name of ["successRate", "failureRate", "averageProcessingTime", "p50ProcessingTime", "p95ProcessingTime"]
  ) assert.equal(reply[name], null, name);
  assert.deepEqual([reply.byMessageType, reply.byTransport, reply.errors], [{}, {}, []]);
  assert.equal(reply.series.length, 61);
});

test("metrics · dispatched, completed, retried and dead are counted by type and by transport", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type) values ('mail', 'supabase')`;
  await dispatchMany(sql, 5);
  await dispatchMany(sql, 3, { type: "Other", transport: "mail" });
  await dispatch(sql, { type: "Other", max_retries: 0 });
  const rows = await claim(sql, { batch: 100 });
  const outcomes = rows.map(({ id, fence, message_type, max_retries }, n) =>
    message_type === "Greeting" && n % 2 || max_retries === 0
      ? { id, fence, outcome: "failed", error: `e${n}`, error_class: "Boom", duration_ms: 10 }
      : { id, fence, outcome: "completed", duration_ms: 10 }
  );
  const replies = (await settle(sql, outcomes)).map(({ outcome }) => outcome);
  const retried = replies.filter((outcome) => outcome === "retry").length;
  assert(retried > 0 && replies.filter((outcome) => outcome === "dead").length === 1);
  const reply = await measured();
  assert.deepEqual(counts(reply), [9, 9 - retried, 8 - retried, 1, retried]);
  assert.deepEqual(counts(reply.byMessageType.Greeting), [5, 5 - retried, 5 - retried, 0, retried]);
  assert.deepEqual(counts(reply.byMessageType.Other), [4, 4, 3, 1, 0]);
  assert.deepEqual(counts(reply.byTransport.mail), [3, 3, 3, 0, 0]);
  assert.deepEqual(counts(reply.byTransport.supabase), [6, 6 - retried, 5 - retried, 1, retried]);
  assert.equal(reply.successRate, Number(((8 - retried) / (9 - retried)).toFixed(4)));
  assert.equal(Number((reply.successRate + reply.failureRate).toFixed(3)), 1);
  const sums = (name: string) => reply.series.reduce((sum: number, point: Row) => sum + point[name], 0);
  assert.deepEqual(["dispatched", "completed", "failed", "retried", "dead"].map(sums), [
    9,
    8 - retried,
    retried + 1,
    retried,
    1,
  ]);
});

test("metrics · a message deleted on completion counts like one that is kept", async () => {
  const { sql } = project();
  await sql`update messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
  await dispatchMany(sql, 3);
  await dispatch(sql, { type: "Other" });
  const rows = await claim(sql);
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed", duration_ms: 5 })));
  assert.equal((await sql`select from messenger_messages`).length, 0);
  const reply = await measured();
  assert.deepEqual([counts(reply), counts(reply.byMessageType.Other)], [[4, 4, 4, 0, 0], [1, 1, 1, 0, 0]]);
});

test("metrics · snoozed, released, stale and repeated outcomes are not counted", async () => {
  const { sql } = project();
  const a = await dispatchAndClaim(sql);
  await call(sql, "messenger_snooze", { id: a.id, fence: a.fence, delay: "1 hour" });
  const b = await dispatchAndClaim(sql);
  await call(sql, "messenger_release", { id: b.id, fence: b.fence });
  const [again] = await claim(sql);
  const result = { id: again.id, fence: again.fence, outcome: "completed" };
  await settle(sql, [result]);
  await settle(sql, [result, { ...result, fence: 99 }, { ...result, id: crypto.randomUUID() }]);
  assert.deepEqual(counts(await measured()), [2, 1, 1, 0, 0]);
});

test("metrics · expired and cancelled messages count as neither, waiting, running or lost", async () => {
  const { sql } = project();
  await call(sql, "messenger_cancel", { id: (await dispatch(sql)).id });
  const running = await dispatchAndClaim(sql);
  await call(sql, "messenger_cancel", { id: running.id });
  await settle(sql, [{ id: running.id, fence: running.fence, outcome: "failed", error: "stopped" }]);
  const lost = await dispatchAndClaim(sql);
  await call(sql, "messenger_cancel", { id: lost.id });
  const expires_at = new Date(Date.now() + 30_000);
  await dispatchAndClaim(sql, { expires_at });
  await dispatch(sql, { expires_at });
  await setClock(sql, "61 seconds");
  await tick();
  assert.equal((await sql`select from messenger_messages where status = 'failed'`).length, 5);
  assert.deepEqual(counts(await metrics()), [5, 0, 0, 0, 0]);
});

test("metrics · a lost lease is a retry, the last one is dead; neither has a duration nor a wait", async () => {
  const { sql } = project();
  await dispatchAndClaim(sql, { max_retries: 1 });
  await setClock(sql, "61 seconds");
  const [taken] = await claim(sql);
  assert.equal(taken.solo, true);
  assert.deepEqual(counts(await measured()), [1, 0, 0, 0, 1]);
  await setClock(sql, "122 seconds");
  assert.deepEqual(await claim(sql), []);
  const reply = await measured();
  assert.deepEqual(counts(reply), [1, 1, 0, 1, 1]);
  assert.deepEqual([reply.averageProcessingTime, reply.averageWait], [null, null]);
  assert.deepEqual(reply.errors.map((e: Row) => [e.errorClass, e.messageType, e.count]), [[
    "LeaseExpired",
    "Greeting",
    2,
  ]]);
});

test("metrics · the completion of a message whose lease was lost has no wait", async () => {
  const { sql } = project();
  for (const retention of ["7 days", "0"]) {
    await empty(sql);
    await sql`update messenger_transports set config = jsonb_build_object('retention', ${retention}::text)`;
    await dispatchAndClaim(sql);
    await setClock(sql, "61 seconds");
    const [{ id, fence }] = await claim(sql);
    await settle(sql, [{ id, fence, outcome: "completed" }]);
    const reply = await measured();
    assert.deepEqual([counts(reply), reply.averageWait], [[1, 1, 1, 0, 1], null]);
  }
});

test("metrics · a lost lease that the tick finds is one retry, handing it out again none", async () => {
  const { sql } = project();
  await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  await tick();
  const [taken] = await claim(sql);
  assert.equal(taken.solo, true);
  assert.deepEqual(counts(await metrics()), [1, 0, 0, 0, 1]);
});

test("metrics · durations are the outcomes', else from claim to outcome; waits begin when due", async () => {
  const { sql } = project();
  await dispatch(sql, { delay: "10 seconds" });
  await setClock(sql, "14 seconds");
  const [row] = await claim(sql);
  await setClock(sql, "16 seconds");
  await settle(sql, [{ id: row.id, fence: row.fence, outcome: "completed" }]);
  const reply = await measured();
  assert(
    reply.averageProcessingTime >= 2000 && reply.averageProcessingTime < 3000,
    `${reply.averageProcessingTime}`,
  );
  assert(reply.averageWait > 3000 && reply.averageWait < 5500, `${reply.averageWait}`);
  const next = await dispatchAndClaim(sql, { type: "Other" });
  await settle(sql, [{ id: next.id, fence: next.fence, outcome: "failed", error: "e", duration_ms: 700 }]);
  assert.equal((await metrics()).byMessageType.Other.averageProcessingTime, 700);
});

test("metrics · an impossible duration of a handler affects no figure", async () => {
  const { sql } = project();
  const rows = [];
  for (const duration_ms of ["NaN", -5, "Infinity", 1e30, 10]) {
    const { id, fence } = await dispatchAndClaim(sql);
    rows.push({ id, fence, outcome: "completed", duration_ms });
  }
  await settle(sql, rows);
  const reply = await measured();
  assert.deepEqual(counts(reply), [5, 5, 5, 0, 0]);
  assert(reply.p99ProcessingTime > 1e6 && Number.isFinite(reply.averageProcessingTime));
});

test("metrics · a dispatch that was rolled back, or repeated with its key, is not counted", async () => {
  const { sql } = project();
  await sql.begin(async (tx) => {
    await dispatch(tx);
    assert.equal((await metrics({}, tx)).totalDispatched, 1);
    throw new Error("undo");
  }).catch(() => {});
  assert.equal((await metrics()).totalDispatched, 0);
  for (let n = 0; n < 3; n++) await dispatch(sql, { idempotency_key: "k" });
  await dispatchMany(sql, 2, { idempotency_key: "debounced", idempotency_mode: "debounce" });
  await dispatchMany(sql, 2, { ordering_key: "o" });
  assert.equal((await metrics()).totalDispatched, 4);
});

test("metrics · the ten most frequent errors, with the newest text of each, shortened", async () => {
  const { sql } = project();
  for (let n = 1; n <= 12; n++) {
    await dispatchMany(sql, n);
    const rows = await claim(sql, { batch: 100 });
    await settle(
      sql,
      rows.map(({ id, fence }) => ({
        id,
        fence,
        outcome: "failed",
        error: "x".repeat(300),
        error_class: `E${n}`,
        retryable: false,
      })),
    );
  }
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "the newest", error_class: "E12", retryable: false }]);
  const { errors } = await measured();
  assert.deepEqual(errors.map((e: Row) => [e.errorClass, e.count]), [
    ["E12", 13],
    ...Array.from({ length: 9 }, (_, n) => [`E${11 - n}`, 11 - n]),
  ]);
  assert.equal(errors[0].error, "the newest");
  assert.equal(errors[1].error, "x".repeat(200));
});

test("error rate · deliveries of the last five minutes, lost leases among them", async () => {
  const { sql } = project();
  const rate = async () => (await sql`select ended::int, failed::int from messenger.error_rate(messenger.now())`)[0];
  assert.deepEqual(await rate(), { ended: 0, failed: 0 });
  await dispatchMany(sql, 4);
  const rows = await claim(sql, { batch: 3 });
  await settle(sql, rows.map(({ id, fence }, n) => ({ id, fence, outcome: n ? "completed" : "failed", error: "e" })));
  await claim(sql);
  assert.deepEqual(await rate(), { ended: 3, failed: 1 });
  await setClock(sql, "70 seconds");
  await tick();
  assert.deepEqual(await rate(), { ended: 4, failed: 2 });
  await setClock(sql, "6 minutes");
  assert.deepEqual(await rate(), { ended: 1, failed: 1 });
});

test("metrics · service_role may call it, users may not; a read-only transaction may", async () => {
  const { sql } = project();
  await dispatch(sql);
  assert.equal((await asRole(sql, "service_role", (tx) => metrics({}, tx))).totalDispatched, 1);
  for (const role of ["anon", "authenticated"] as const) {
    await assert.rejects(asRole(sql, role, (tx) => metrics({}, tx)), { code: "42501" });
  }
  assert.equal((await sql.begin("read only", (tx) => metrics({}, tx))).totalDispatched, 1);
});
