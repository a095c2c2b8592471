// Expired leases: the message is handed out again, alone and counted, and becomes a dead letter if it keeps killing
// workers.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { claim, deadLetterOf, dispatch, dispatchAndClaim, dispatchMany, messageOf, setClock, settle } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const ids = (rows: { id: string }[]) => rows.map(({ id }) => id);

test("claim · a message with a running lease is not handed out again", async () => {
  const { sql } = project();
  await dispatchAndClaim(sql);
  await setClock(sql, "59 seconds");
  assert.deepEqual(await claim(sql, { worker: "bob" }), []);
});

test("claim · a message whose lease has expired is handed out alone", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  const next = await dispatch(sql);
  await setClock(sql, "61 seconds");
  const rows = await claim(sql, { worker: "bob" });
  assert.deepEqual(ids(rows), [id]);
  assert.deepEqual([rows[0].solo, rows[0].fence, rows[0].retry_count], [true, "2", 1]);
  const row = await messageOf(sql, id);
  assert.deepEqual([row.lease_losses, row.locked_by, row.retry_count, row.status], [1, "bob", 1, "processing"]);
  assert.deepEqual(ids(await claim(sql, { worker: "bob" })), [next.id]);
});

test("claim · the lost delivery is an attempt with the worker that lost it", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await setClock(sql, "2 minutes");
  await claim(sql, { worker: "bob" });
  const [attempt] = await sql`select * from messenger.attempts`;
  assert.deepEqual([attempt.message_id, attempt.fence, attempt.worker, attempt.error_class], [
    id,
    "1",
    "ada",
    "LeaseExpired",
  ]);
  assert(Math.abs(Number(attempt.duration_ms) - 60_000) < 100, attempt.duration_ms);
  assert(attempt.error.includes("without an outcome"));
});

test("prefix · rows before a suspect are handed out without it; the next claim is the suspect alone", async () => {
  const { sql } = project();
  const before = await dispatchMany(sql, 2, { priority: 9 });
  const { id } = await dispatch(sql);
  const after = await dispatchMany(sql, 2, { priority: 2 });
  await sql`select * from messenger_claim_one(${id}, 'ada')`;
  await setClock(sql, "61 seconds");
  const rows = await claim(sql);
  assert.deepEqual([ids(rows), rows.map(({ solo }) => solo)], [before, [false, false]]);
  const alone = await claim(sql);
  assert.deepEqual([ids(alone), alone[0].solo], [[id], true]);
  assert.deepEqual(ids(await claim(sql)), after);
});

test("prefix · a suspect found after rows of another queue waits for a separate claim", async () => {
  const { sql } = project();
  // Queues are scanned in random order: ten times, so that the suspect's is second at least once.
  for (let time = 0; time < 10; time++) {
    await empty(sql);
    await dispatchAndClaim(sql, { queue: "a" });
    await setClock(sql, "61 seconds");
    await dispatchMany(sql, 3, { queue: "b" });
    const claims = [await claim(sql), await claim(sql)];
    for (const rows of claims) {
      assert(rows.length === 1 === rows[0].solo, "a solo message is the only row of its claim");
    }
    assert.deepEqual(claims.map((rows) => rows.length).toSorted(), [1, 3]);
    await setClock(sql, "0");
  }
});

test("prefix · two suspects take two claims", async () => {
  const { sql } = project();
  const both = await dispatchMany(sql, 2);
  await claim(sql);
  await setClock(sql, "61 seconds");
  const [first, second] = [await claim(sql), await claim(sql)];
  assert.deepEqual([ids(first), ids(second)], [[both[0]], [both[1]]]);
  assert(first[0].solo && second[0].solo);
  assert.deepEqual(await claim(sql), []);
});

test("suspect · is cleared by ordinary outcomes only: a release keeps it, a failure clears it", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  const [second] = await claim(sql);
  await settle(sql, [{ id, fence: second.fence, outcome: "released" }]);
  const [third] = await claim(sql);
  assert.deepEqual([third.id, third.solo, third.retry_count], [id, true, 1]);
  await settle(sql, [{ id, fence: third.fence, outcome: "failed", error: "e", delay_ms: 0 }]);
  const [fourth] = await claim(sql);
  assert.deepEqual([fourth.id, fourth.solo, fourth.retry_count], [id, false, 2]);
  assert.equal((await messageOf(sql, id)).lease_losses, 0);
});

test("suspect · a snooze is an ordinary outcome", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "snoozed", delay_ms: 0 }]);
  const [row] = await claim(sql);
  assert.deepEqual([row.id, row.solo], [id, false]);
});

test("exhausted · a message without deliveries left becomes a dead letter with every attempt", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, {
    max_retries: 2,
    payload: { a: 1 },
    headers: { h: 1 },
    metadata: { m: 1 },
    idempotency_key: "k",
    queue: "q",
  });
  for (const minutes of [2, 4]) {
    await setClock(sql, `${minutes} minutes`);
    assert.deepEqual(ids(await claim(sql, { worker: `w${minutes}` })), [id]);
  }
  const next = await dispatch(sql);
  await setClock(sql, "6 minutes");
  assert.deepEqual(ids(await claim(sql)), [next.id]);
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.retry_count, row.fence, row.error_class, row.locked_by], [
    "failed",
    3,
    "3",
    "LeaseExpired",
    null,
  ]);
  const deadLetter = await deadLetterOf(sql, id);
  assert.deepEqual([deadLetter.body, deadLetter.headers, deadLetter.metadata, deadLetter.idempotency_key], [{ a: 1 }, {
    h: 1,
  }, {
    m: 1,
  }, "k"]);
  assert.deepEqual([deadLetter.queue_name, deadLetter.message_type, deadLetter.retry_count, deadLetter.max_retries], [
    "q",
    "Greeting",
    3,
    2,
  ]);
  assert.deepEqual(deadLetter.attempts.map(({ worker }: { worker: string }) => worker), ["ada", "w2", "w4"]);
  assert.deepEqual([deadLetter.error_class, deadLetter.resolved_at, deadLetter.created_at], [
    "LeaseExpired",
    null,
    row.created_at,
  ]);
  assert.equal((await sql`select from messenger.attempts`).length, 0);
});

test("exhausted · a poison message that kills every worker does not affect other messages", async () => {
  const { sql } = project();
  const poison = await dispatch(sql, { max_retries: 1 });
  const neighbours = await dispatchMany(sql, 9);
  await claim(sql);
  let minutes = 0;
  const done = new Set<string>();
  for (let n = 0; n < 30; n++) {
    await setClock(sql, `${minutes += 2} minutes`);
    for (const { id, fence } of await claim(sql)) {
      if (id === poison.id) continue;
      await settle(sql, [{ id, fence, outcome: "completed" }]);
      done.add(id);
    }
  }
  assert.deepEqual([...done].toSorted(), neighbours.toSorted());
  const [{ ids }] = await sql`select array_agg(message_id) as ids from messenger_failed_messages`;
  assert.deepEqual(ids, [poison.id]);
  const [{ most }] = await sql`select max(retry_count) as most from messenger_messages where status = 'completed'`;
  assert.equal(most, 1);
});

test("exhausted · with max_retries 0 a lost lease ends the message", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, { max_retries: 0 });
  await setClock(sql, "61 seconds");
  assert.deepEqual(await claim(sql), []);
  assert.equal((await deadLetterOf(sql, id)).attempts.length, 1);
});

test("expired · a running message past its expiry and lease fails as Expired, not as a dead letter", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, { expires_at: new Date(Date.now() + 30_000) });
  await setClock(sql, "61 seconds");
  assert.deepEqual(await claim(sql), []);
  assert.deepEqual([(await messageOf(sql, id)).error_class, await deadLetterOf(sql, id)], ["Expired", undefined]);
});

test("types · a lost message is given only to a worker with its type", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, { type: "A" });
  await setClock(sql, "61 seconds");
  assert.deepEqual(await claim(sql, { types: ["B"] }), []);
  assert.deepEqual(ids(await claim(sql, { types: ["A"] })), [id]);
});
