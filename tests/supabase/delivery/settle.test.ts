// messenger_settle: the effects of every outcome, and rejected input.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { claim, deadLetterOf, dispatch, dispatchAndClaim, dispatchMany, messageOf, setClock, settle } from "../bus.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const one = async (outcome: Record<string, unknown>) => (await settle(project().sql, [outcome]))[0];

test("completed · the message is finished with its result and without a lease", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  assert.deepEqual(await one({ id, fence, outcome: "completed", result: { sent: 3 } }), {
    id,
    outcome: "completed",
    available_at: null,
  });
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.result, row.locked_at, row.locked_by, row.lock_expires_at], [
    "completed",
    { sent: 3 },
    null,
    null,
    null,
  ]);
  assert.deepEqual(row.processed_at, row.updated_at);
  assert.deepEqual(await claim(sql), []);
});

test("completed · service_role may settle", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const outcomes = [{ id, fence, outcome: "failed", error: "e", retryable: false }];
  const [reply] = await asRole(sql, "service_role", (tx) => settle(tx, outcomes));
  assert.equal(reply.outcome, "dead");
});

test("failed · the message is pending again after its wait, with its error and one delivery used", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const reply = await one({
    id,
    fence,
    outcome: "failed",
    error: "boom",
    error_class: "TypeError",
    error_trace: "at x",
    duration_ms: 12.6,
  });
  const row = await messageOf(sql, id);
  assert.deepEqual([reply.outcome, reply.available_at], ["retry", row.available_at]);
  assert.deepEqual([row.status, row.retry_count, row.last_error, row.error_class, row.locked_by], [
    "pending",
    1,
    "boom",
    "TypeError",
    null,
  ]);
  const [attempt] = await sql`select * from messenger.attempts`;
  assert.deepEqual([
    attempt.message_id,
    attempt.fence,
    attempt.worker,
    attempt.error,
    attempt.error_class,
    attempt.error_trace,
    attempt.duration_ms,
  ], [id, "1", "ada", "boom", "TypeError", "at x", "13"]);
});

test("failed · without a duration it is the time since the claim", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "7 seconds");
  await one({ id, fence, outcome: "failed", error: "e" });
  const [{ duration_ms }] = await sql`select duration_ms::int from messenger.attempts`;
  assert(duration_ms >= 7000 && duration_ms < 9000, `${duration_ms}`);
});

test("failed · for good, the message is a dead letter with its attempts", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, { max_retries: 9, payload: { a: 1 } });
  assert.deepEqual(
    await one({
      id,
      fence,
      outcome: "failed",
      error: "bad address",
      error_class: "Unrecoverable",
      error_trace: "t",
      retryable: false,
    }),
    { id, outcome: "dead", available_at: null },
  );
  const [row, deadLetter] = [await messageOf(sql, id), await deadLetterOf(sql, id)];
  assert.deepEqual([row.status, row.retry_count, row.last_error, row.error_class], [
    "failed",
    1,
    "bad address",
    "Unrecoverable",
  ]);
  assert.deepEqual([
    deadLetter.error,
    deadLetter.error_class,
    deadLetter.error_trace,
    deadLetter.body,
    deadLetter.retry_count,
  ], [
    "bad address",
    "Unrecoverable",
    "t",
    { a: 1 },
    1,
  ]);
  assert.deepEqual(deadLetter.attempts.map((a: Record<string, unknown>) => Object.keys(a).toSorted()), [[
    "at",
    "duration_ms",
    "error",
    "error_class",
    "worker",
  ]]);
});

test("failed · max_retries n allows n + 1 deliveries, then the dead letter has all their errors", async () => {
  const { sql } = project();
  for (const max_retries of [0, 1, 3]) {
    const { id } = await dispatch(sql, { max_retries });
    const outcomes = [];
    for (let n = 1; n <= max_retries + 1; n++) {
      const [{ fence }] = await claim(sql, { worker: `w${n}` });
      outcomes.push((await one({ id, fence, outcome: "failed", error: `e${n}`, delay_ms: 0 })).outcome);
    }
    assert.deepEqual(outcomes, [...Array(max_retries).fill("retry"), "dead"]);
    const deadLetter = await deadLetterOf(sql, id);
    assert.deepEqual(
      deadLetter.attempts.map((a: Record<string, unknown>) => [a.worker, a.error]),
      Array.from(outcomes, (_, n) => [`w${n + 1}`, `e${n + 1}`]),
    );
    assert.equal(deadLetter.error, `e${max_retries + 1}`);
    assert.deepEqual(await claim(sql), []);
  }
});

test("failed · of many deliveries the dead letter keeps the last twenty", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { max_retries: 24 });
  for (let n = 1; n <= 25; n++) {
    const [{ fence }] = await claim(sql);
    await one({ id, fence, outcome: "failed", error: `e${n}`, delay_ms: 0 });
  }
  const { attempts, error } = await deadLetterOf(sql, id);
  assert.deepEqual([attempts.length, attempts[0].error, attempts[19].error, error], [20, "e6", "e25", "e25"]);
});

test("snoozed · the message waits without using up a retry", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, { max_retries: 0 });
  const reply = await one({ id, fence, outcome: "snoozed", delay_ms: 60_000 });
  const row = await messageOf(sql, id);
  assert.deepEqual([reply.outcome, reply.available_at, row.status, row.retry_count], [
    "snoozed",
    row.available_at,
    "pending",
    0,
  ]);
  assert.deepEqual(await claim(sql), []);
  await setClock(sql, "61 seconds");
  assert.equal((await claim(sql))[0].fence, "2");
});

test("released · the message is back at its old position as if never claimed", async () => {
  const { sql } = project();
  const [a, b] = await dispatchMany(sql, 2);
  const before = await messageOf(sql, a);
  const [{ id, fence }] = await claim(sql, { batch: 1 });
  assert.equal((await one({ id, fence, outcome: "released" })).outcome, "released");
  const row = await messageOf(sql, a);
  assert.deepEqual([row.status, row.retry_count, row.available_at, row.locked_by], [
    "pending",
    0,
    before.available_at,
    null,
  ]);
  assert.deepEqual((await claim(sql)).map((row) => row.id), [a, b]);
});

test("retention 0 · a completed message is deleted, counted, and then unknown", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type, config) values ('brief', 'supabase', '{"retention": "0"}')`;
  await dispatchMany(sql, 3, { transport: "brief" });
  await dispatch(sql);
  const rows = await claim(sql);
  const outcomes = rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
  assert.deepEqual((await settle(sql, outcomes)).map(({ outcome }) => outcome), Array(4).fill("completed"));
  assert.deepEqual(
    (await sql`select transport_name from messenger_messages`).map(({ transport_name }) => transport_name),
    ["supabase"],
  );
  await sql`select messenger.roll_up()`;
  const counted = await sql`select transport_name, sum(message_count) as sum from messenger.pruned group by 1`;
  assert.deepEqual(counted.map((row) => Object.values(row)), [["brief", "3"]]);
  const again = (await settle(sql, outcomes)).map(({ outcome }) => outcome);
  assert.deepEqual(again.toSorted(), ["already", "unknown", "unknown", "unknown"]);
});

test("retention 0 · a failed message and its dead letter stay, attempts of a completed one go", async () => {
  const { sql } = project();
  await sql`update messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
  const { id, fence } = await dispatchAndClaim(sql);
  await one({ id, fence, outcome: "failed", error: "e", delay_ms: 0 });
  const [second] = await claim(sql);
  await one({ id, fence: second.fence, outcome: "completed" });
  assert.equal((await sql`select from messenger.attempts`).length, 0);
  const dead = await dispatchAndClaim(sql, { max_retries: 0 });
  await one({ id: dead.id, fence: dead.fence, outcome: "failed", error: "e" });
  assert.equal((await messageOf(sql, dead.id)).status, "failed");
});

test("bad input · is rejected as a whole: nothing is settled", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const good = JSON.stringify({ id, fence, outcome: "completed" });
  const bad: [string, string, number?][] = [
    ["null", "SM_OUTCOME"],
    ["{}", "SM_OUTCOME"],
    ["5", "SM_OUTCOME"],
    [`[${good}, 5]`, "SM_OUTCOME"],
    [`[${good}, null]`, "SM_OUTCOME"],
    [`[${good}, {}]`, "SM_OUTCOME"],
    [`[${good}, {"outcome": "done"}]`, "SM_OUTCOME"],
    [`[${good}, {"outcome": null}]`, "SM_OUTCOME"],
    [`[${good}, {"outcome": ["completed"]}]`, "SM_OUTCOME"],
    [`[${Array(1001).fill(good)}]`, "SM_BATCH_TOO_LARGE", 413],
  ];
  for (const [outcomes, code, status] of bad) {
    await assertRejected(sql.unsafe(`select * from messenger_settle('${outcomes}')`), code, status);
  }
  await assertRejected(sql`select * from messenger_settle(null)`, "SM_OUTCOME");
  const garbled = sql.unsafe(
    `select * from messenger_settle('[${good}, {"id": "x", "fence": 1, "outcome": "completed"}]')`,
  );
  assert.equal((await errorOf(garbled)).code, "22P02");
  assert.equal((await messageOf(sql, id)).status, "processing");
  assert.deepEqual(await settle(sql, []), []);
});
