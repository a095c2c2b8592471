// Resolved dead letters: the fields that a retry keeps and resets, the idempotency key, and discarding.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, claim, dispatch, dispatchAndClaim, messageOf, setClock, settle } from "../bus.ts";
import {
  assertSound,
  deadLettersOf,
  discard,
  failForGood,
  makeDeadLetter,
  makeDeadLetters,
  retry,
} from "./make_dead_letters.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));
Deno.test.afterEach(() => assertSound(project().sql));

const keyOf = async (id: string) =>
  (await project().sql`select scope, key from messenger.idempotency_keys where message_id = ${id}`)[0];

test("retry · the message is pending as dispatched, with all retries; the dead letter is resolved", async () => {
  const { sql } = project();
  const fields = { payload: { n: 1 }, priority: 9, headers: { h: 1 }, metadata: { m: 1 }, max_retries: 2 };
  const { id, deadLetter } = await makeDeadLetter(sql, fields, { error: "broke", error_class: "Boom" });
  const before = await messageOf(sql, id);
  await setClock(sql, "1 hour");
  assert.deepEqual(await retry(sql, { ids: [deadLetter] }), [{ id: deadLetter, message_id: id, outcome: "retried" }]);
  const after = await messageOf(sql, id);
  const { available_at, updated_at } = after;
  assert.deepEqual(after, {
    ...before,
    status: "pending",
    processed_at: null,
    retry_count: 0,
    available_at,
    updated_at,
  });
  assert.deepEqual([after.fence, after.last_error, after.error_class], ["1", "broke", "Boom"]);
  assert.equal(available_at.getTime(), updated_at.getTime());
  const [resolved] = await deadLettersOf(sql, id);
  assert.deepEqual([resolved.resolution, resolved.resolved_at.getTime(), resolved.attempts.length], [
    "retried",
    updated_at.getTime(),
    1,
  ]);
  const [claimed] = await claim(sql);
  assert.deepEqual([claimed.id, claimed.fence, claimed.retry_count, claimed.solo, claimed.body], [id, "2", 0, false, {
    n: 1,
  }]);
  assert.equal((await settle(sql, [{ id, fence: "2", outcome: "completed" }]))[0].outcome, "completed");
});

test("retry · a message that fails again has a new dead letter, and its fence continues", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql, { max_retries: 1 }, { error: "first life" });
  await retry(sql, { ids: [deadLetter] });
  for (const error of ["second life, first", "second life, last"]) {
    const [{ fence, retry_count }] = await claim(sql);
    const [{ outcome }] = await settle(sql, [{ id, fence, outcome: "failed", error, delay_ms: 0 }]);
    assert.equal(outcome, retry_count === 0 ? "retry" : "dead");
  }
  const [first, second] = await deadLettersOf(sql, id);
  assert.deepEqual(first.attempts.map((attempt: { error: string }) => attempt.error), ["first life"]);
  assert.deepEqual(second.attempts.map((attempt: { error: string }) => attempt.error), [
    "second life, first",
    "second life, last",
  ]);
  assert.deepEqual([first.resolution, second.resolved_at, second.retry_count], ["retried", null, 2]);
  assert.equal((await messageOf(sql, id)).fence, "3");
});

test("retry · a poison message that lost its leases is handed out among others again", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, { max_retries: 1 });
  for (const lost of ["61 seconds", "122 seconds"]) {
    await setClock(sql, lost);
    await call(sql, "messenger_tick");
    await claim(sql);
  }
  const [deadLetter] = await deadLettersOf(sql, id);
  assert.equal(deadLetter.error_class, "LeaseExpired");
  await retry(sql, { ids: [deadLetter.id] });
  await dispatch(sql);
  assert.equal((await claim(sql)).length, 2);
});

test("retry · an earlier cancel request is cleared", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql);
  await sql`update messenger_messages set cancel_requested_at = now() where id = ${id}`;
  await retry(sql, { ids: [deadLetter] });
  assert.equal((await messageOf(sql, id)).cancel_requested_at, null);
});

test("retry · the outcome of a worker from before the retry changes nothing", async () => {
  const { sql } = project();
  const { id, fence, deadLetter } = await makeDeadLetter(sql);
  await retry(sql, { ids: [deadLetter] });
  for (const outcome of ["completed", "failed", "snoozed", "released"]) {
    assert.equal((await settle(sql, [{ id, fence, outcome, delay_ms: 0 }]))[0].outcome, "stale", outcome);
  }
  assert.equal((await messageOf(sql, id)).status, "pending");
});

test("retry · one result for each id, in their order: retried, resolved, unknown", async () => {
  const { sql } = project();
  const [retried, old, given] = [await makeDeadLetter(sql), await makeDeadLetter(sql), await makeDeadLetter(sql)];
  const unknownId = "00000000-0000-7000-8000-000000000000";
  await retry(sql, { ids: [old.deadLetter] });
  await discard(sql, { ids: [given.deadLetter] });
  const ids = [given.deadLetter, unknownId, retried.deadLetter, old.deadLetter, retried.deadLetter];
  assert.deepEqual(await retry(sql, { ids }), [
    { id: given.deadLetter, message_id: given.id, outcome: "resolved" },
    { id: unknownId, message_id: null, outcome: "unknown" },
    { id: retried.deadLetter, message_id: retried.id, outcome: "retried" },
    { id: old.deadLetter, message_id: old.id, outcome: "resolved" },
    { id: retried.deadLetter, message_id: retried.id, outcome: "resolved" },
  ]);
  assert.equal((await sql`select from messenger_retry_failed(array[]::uuid[])`).length, 0);
  assert.equal((await messageOf(sql, given.id)).error_class, "Discarded");
});

test("retry · retried messages are ordered by priority, then by the time of the retry, then by age", async () => {
  const { sql } = project();
  const old = await makeDeadLetter(sql, { priority: 5 });
  const older = [await makeDeadLetter(sql, { priority: 2 }), old, await makeDeadLetter(sql, { priority: 5 })];
  const waiting = await dispatch(sql, { priority: 5 });
  const urgent = await dispatch(sql, { priority: 6 });
  await retry(sql, { ids: older.map(({ deadLetter }) => deadLetter) });
  const order = (await claim(sql)).map(({ id }) => id);
  assert.deepEqual(order, [urgent.id, waiting.id, old.id, older[2].id, older[0].id]);
});

test("retry · a message past its expires_at is not handed out, because it has expired", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql, { expires_at: new Date(Date.now() + 60_000) });
  await setClock(sql, "1 hour");
  await retry(sql, { ids: [deadLetter] });
  assert.deepEqual(await claim(sql), []);
  assert.equal((await messageOf(sql, id)).error_class, "Expired");
});

test("retry · with an edited payload the message has a new body; the dead letter keeps the old one", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql, { payload: { to: "nobody" }, idempotency_key: "k" });
  const [reply] = await retry(sql, { ids: [deadLetter], payload: { to: "Ada" } });
  assert.equal(reply.outcome, "retried");
  const [claimed] = await claim(sql);
  assert.deepEqual([claimed.id, claimed.body], [id, { to: "Ada" }]);
  assert.deepEqual((await deadLettersOf(sql, id))[0].body, { to: "nobody" });
  const again = await dispatch(sql, { queue: "dead", payload: { to: "nobody" }, idempotency_key: "k" });
  assert.deepEqual([again.id, again.duplicate], [id, true], "the repeated dispatch returns this message");
  await failForGood(sql, claimed);
  assert.deepEqual((await deadLettersOf(sql, id))[1].body, { to: "Ada" });
});

test("key · belongs to the message while it is dead, retried and finished, long after its window", async () => {
  const { sql } = project();
  const fields = { queue: "dead", idempotency_key: "k", idempotency_window: "1 minute" };
  const { id, deadLetter } = await makeDeadLetter(sql, fields);
  await setClock(sql, "3 days");
  await call(sql, "messenger_tick");
  assert.equal((await dispatch(sql, fields)).id, id);
  assert.equal((await retry(sql, { ids: [deadLetter] }))[0].outcome, "retried");
  assert.deepEqual([(await dispatch(sql, fields)).id, (await dispatch(sql, fields)).duplicate], [id, true]);
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  assert.equal((await dispatch(sql, fields)).duplicate, false);
});

test("key · a deleted key is restored in its scope", async () => {
  const { sql } = project();
  await call(sql, "messenger_register", { types: [{ type: "Greeting", dispatchable_by: "user" }] });
  const user = crypto.randomUUID();
  const args = { type: "Greeting", idempotency_key: "k" };
  const [{ id }] = await asRole(sql, "authenticated", (tx) => call(tx, "messenger_user_dispatch", args), user);
  const mine = await failForGood(sql, (await claim(sql))[0]);
  const ours = await makeDeadLetter(sql, { idempotency_key: "k" });
  await sql`delete from messenger.idempotency_keys`;
  const outcomes = (await retry(sql, { ids: [ours.deadLetter, mine] })).map(({ outcome }) => outcome);
  assert.deepEqual(outcomes, ["retried", "retried"]);
  assert.deepEqual([(await keyOf(id)).scope, (await keyOf(ours.id)).scope], [user, "service"]);
  assert.equal((await dispatch(sql, { queue: "dead", idempotency_key: "k" })).id, ours.id);
});

test("key · a key that another message has by now is a conflict, and nothing changes", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql, { idempotency_key: "k" });
  const free = await makeDeadLetter(sql);
  await sql`delete from messenger.idempotency_keys`;
  const holder = await dispatch(sql, { idempotency_key: "k", delay: "1 day" });
  const before = [await messageOf(sql, id), await deadLettersOf(sql, id)];
  assert.deepEqual(await retry(sql, { filter: {} }), [
    { id: deadLetter, message_id: id, outcome: "conflict" },
    { id: free.deadLetter, message_id: free.id, outcome: "retried" },
  ]);
  assert.deepEqual([await messageOf(sql, id), await deadLettersOf(sql, id)], before);
  assert.equal((await keyOf(holder.id)).key, "k");
  assert.equal((await retry(sql, { ids: [deadLetter], payload: { n: 1 } }))[0].outcome, "conflict");
  assert.deepEqual((await messageOf(sql, id)).body, {});
});

test("gone · a deleted message is restored with its id from the dead letter, with a higher fence", async () => {
  const { sql } = project();
  await call(sql, "messenger_register", { types: [{ type: "Greeting", priority: 8 }] });
  const fields = { payload: { n: 1 }, headers: { h: 1 }, metadata: { m: 1 }, max_retries: 5, idempotency_key: "k" };
  const first = await dispatch(sql, { queue: "dead", ...fields });
  for (let n = 0; n < 5; n++) {
    const [{ id, fence }] = await claim(sql);
    await settle(sql, [{ id, fence, outcome: "snoozed", delay_ms: 0 }]);
  }
  const deadLetter = await failForGood(sql, (await claim(sql))[0], { error: "broke", error_class: "Boom" });
  const before = await messageOf(sql, first.id);
  await sql`delete from messenger_messages`;
  assert.equal((await retry(sql, { ids: [deadLetter] }))[0].outcome, "retried");
  const after = await messageOf(sql, first.id);
  for (const same of ["queue_name", "body", "headers", "metadata", "max_retries", "created_at", "idempotency_key"]) {
    assert.deepEqual(after[same], before[same], same);
  }
  assert.deepEqual([after.status, after.retry_count, after.last_error, after.error_class, after.priority], [
    "pending",
    0,
    "broke",
    "Boom",
    8,
  ]);
  assert(Number(after.fence) > Number(before.fence) && Number.isSafeInteger(Number(after.fence)));
  const stale = await settle(sql, [{ id: first.id, fence: before.fence, outcome: "completed" }]);
  assert.equal(stale[0].outcome, "stale");
  assert.deepEqual([(await dispatch(sql, { queue: "dead", ...fields })).id, (await claim(sql)).length], [first.id, 1]);
});

test("gone · a user's key still belongs to the user", async () => {
  const { sql } = project();
  await call(sql, "messenger_register", { types: [{ type: "Greeting", dispatchable_by: "user" }] });
  const user = crypto.randomUUID();
  const args = { type: "Greeting", idempotency_key: "k" };
  const [{ id }] = await asRole(sql, "authenticated", (tx) => call(tx, "messenger_user_dispatch", args), user);
  const deadLetter = await failForGood(sql, (await claim(sql))[0]);
  await sql`delete from messenger_messages`;
  await setClock(sql, "3 days");
  assert.equal((await retry(sql, { ids: [deadLetter] }))[0].outcome, "retried");
  assert.equal((await keyOf(id)).scope, user);
});

test("alive · a message that was made pending manually is a conflict", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql);
  await sql`update messenger_messages set status = 'pending', processed_at = null where id = ${id}`;
  assert.equal((await retry(sql, { ids: [deadLetter] }))[0].outcome, "conflict");
  assert.equal(await discard(sql, { ids: [deadLetter] }), 1);
  assert.deepEqual([(await messageOf(sql, id)).status, (await messageOf(sql, id)).error_class], ["pending", "Error"]);
});

test("discard · counts the discarded messages, and does not change resolved ones", async () => {
  const { sql } = project();
  const [one, two] = [await makeDeadLetter(sql), await makeDeadLetter(sql)];
  await retry(sql, { ids: [two.deadLetter] });
  await setClock(sql, "1 hour");
  assert.equal(await discard(sql, { ids: [one.deadLetter, two.deadLetter, crypto.randomUUID(), one.deadLetter] }), 1);
  const [deadLetter] = await deadLettersOf(sql, one.id);
  const { status, error_class, last_error } = await messageOf(sql, one.id);
  assert.deepEqual([deadLetter.resolution, status, error_class, last_error], [
    "discarded",
    "failed",
    "Discarded",
    "no",
  ]);
  assert.equal((await deadLettersOf(sql, two.id))[0].resolution, "retried");
  assert.equal(await discard(sql, { ids: [one.deadLetter] }), 0);
  await sql`delete from messenger_messages where id = ${(await makeDeadLetter(sql, { queue: "gone" })).id}`;
  assert.equal(await discard(sql, { filter: {} }), 1);
});

test("wake-up · sends one for each queue and type with due messages", async () => {
  const { sql } = project();
  await sql`delete from net.http_request_queue`;
  await call(sql, "messenger_start", { functions_url: "https://example.test/functions/v1" });
  await call(sql, "messenger_stop");
  const deadLetters = [];
  for (const queue of ["a", "a", "b"]) deadLetters.push((await makeDeadLetter(sql, { queue })).deadLetter);
  await sql`truncate net.http_request_queue, messenger.workers`;
  await retry(sql, { ids: deadLetters });
  assert.equal((await sql`select from net.http_request_queue`).length, 2);
});

test("many · ten thousand dead letters are retried in chunks of a thousand, oldest first", async () => {
  const { sql } = project();
  const ids = await makeDeadLetters(sql, 10_000);
  const chunks: string[][] = [];
  do chunks.push((await retry(sql, { filter: { queue: "dead" } })).map((row) => row.message_id)); while (
    chunks.at(-1)?.length
  );
  assert.deepEqual(chunks.map((chunk) => chunk.length), [...Array(10).fill(1000), 0]);
  assert.deepEqual(chunks.flat().toSorted(), ids.toSorted());
  assert.equal((await claim(sql, { batch: 1000 })).length, 1000);
});
