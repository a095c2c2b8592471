// Concurrent changes of one dead letter: it is resolved once, by one of them, without deadlocks.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch, messageOf, setClock } from "../bus.ts";
import {
  assertSound,
  deadLettersOf,
  discard,
  failForGood,
  makeDeadLetter,
  makeDeadLetters,
  retry,
} from "./make_dead_letters.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));
Deno.test.afterEach(() => assertSound(project().sql));

const outcomes = (rows: { outcome: string }[]) => rows.map(({ outcome }) => outcome);

test("race · of two retries one succeeds, and the other is reported as resolved", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql);
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  assert.deepEqual(outcomes(await retry(first, { ids: [deadLetter] })), ["retried"]);
  const waiting = retry(second, { ids: [deadLetter] });
  await untilBlocked(sql, pid);
  await first`commit`;
  assert.deepEqual(outcomes(await waiting), ["resolved"]);
  assert.deepEqual((await claim(sql)).map((row) => [row.id, row.fence]), [[id, "2"]]);
});

test("race · if the first retry rolls back, the second one retries", async () => {
  const { sql } = project();
  const { deadLetter } = await makeDeadLetter(sql, { idempotency_key: "k" });
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  await retry(first, { ids: [deadLetter] });
  const waiting = retry(second, { ids: [deadLetter] });
  await untilBlocked(sql, pid);
  await first`rollback`;
  assert.deepEqual(outcomes(await waiting), ["retried"]);
});

test("race · a discard that waited for a retry discards nothing, and the other way round", async () => {
  const { sql } = project();
  for (const [one, other, status] of [["retry", "discard", "pending"], ["discard", "retry", "failed"]]) {
    const { id, deadLetter } = await makeDeadLetter(sql, { queue: one });
    const run = {
      retry: async (own: typeof sql) => outcomes(await retry(own, { ids: [deadLetter] }))[0] === "retried",
      discard: async (own: typeof sql) => await discard(own, { ids: [deadLetter] }) === 1,
    };
    await using first = session(project());
    await using second = session(project());
    const pid = await pidOf(second);
    await first`begin`;
    assert.equal(await run[one as "retry"](first), true);
    const waiting = run[other as "retry"](second);
    await untilBlocked(sql, pid);
    await first`commit`;
    assert.equal(await waiting, false);
    assert.equal((await messageOf(sql, id)).status, status);
  }
});

test("race · calls with ids in opposite order wait for the first shared one, without a deadlock", async () => {
  const { sql } = project();
  const deadLetters: string[] = [];
  for (let n = 0; n < 3; n++) deadLetters.push((await makeDeadLetter(sql)).deadLetter);
  await using holder = session(project());
  await using first = session(project());
  await using second = session(project());
  const pids = [await pidOf(first), await pidOf(second)];
  await holder`begin`;
  await retry(holder, { ids: [deadLetters[1]] });
  const waiting = [retry(first, { ids: deadLetters }), retry(second, { ids: deadLetters.toReversed() })];
  for (const pid of pids) await untilBlocked(sql, pid);
  await holder`commit`;
  const replies = (await Promise.all(waiting)).flatMap(outcomes);
  assert.deepEqual(replies.toSorted(), ["resolved", "resolved", "resolved", "resolved", "retried", "retried"]);
});

test("race · two chunks of one filter resolve different dead letters", async () => {
  const { sql } = project();
  const deadLetters: string[] = [];
  for (let n = 0; n < 4; n++) deadLetters.push((await makeDeadLetter(sql)).deadLetter);
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  const chunk = await retry(first, { filter: {}, max: 2 });
  const waiting = retry(second, { filter: {}, max: 2 });
  await untilBlocked(sql, pid);
  await first`commit`;
  assert.deepEqual([...chunk, ...await waiting].map(({ id }) => id), deadLetters);
});

test("race · each of a thousand dead letters is resolved exactly once by many concurrent sessions", async () => {
  const { sql } = project();
  const ids = await makeDeadLetters(sql, 1000);
  const sessions = Array.from({ length: 4 }, () => session(project()));
  try {
    const retried: string[] = [];
    const discards: number[] = [];
    await Promise.all(sessions.map(async (own, n) => {
      for (let round = 0; round < 8; round++) {
        if ((round + n) % 4 === 0) discards.push(await discard(own, { filter: {}, max: 37 }));
        else retried.push(...(await retry(own, { filter: {}, max: 41 })).map((row) => row.message_id));
      }
    }));
    const discarded = discards.reduce((sum, count) => sum + count);
    assert.equal(new Set(retried).size, retried.length);
    const deadLetters = await sql`select resolution, count(*)::int as count from messenger_failed_messages group by 1`;
    const figures = Object.fromEntries(deadLetters.map(({ resolution, count }) => [resolution, count]));
    assert.deepEqual([figures.retried, figures.discarded], [retried.length, discarded]);
    assert.equal(retried.length + discarded + (figures.null ?? 0), ids.length);
  } finally {
    await Promise.all(sessions.map((own) => own.end()));
  }
});

test("race · an uncommitted retry is not claimed by a worker, and its key still returns the message", async () => {
  const { sql } = project();
  const fields = { queue: "dead", idempotency_key: "k", idempotency_window: "0" };
  const { id, deadLetter } = await makeDeadLetter(sql, fields);
  await using operator = session(project());
  await operator`begin`;
  await retry(operator, { ids: [deadLetter] });
  assert.deepEqual(await claim(sql), []);
  assert.equal((await dispatch(sql, fields)).id, id);
  await operator`commit`;
  assert.equal((await dispatch(sql, fields)).id, id);
  assert.equal((await claim(sql)).length, 1);
});

for (const [ending, outcome] of [["commit", "conflict"], ["rollback", "retried"]]) {
  test(`race · a retry waits for a dispatch that takes its lost key: after its ${ending}, ${outcome}`, async () => {
    const { sql } = project();
    const { deadLetter } = await makeDeadLetter(sql, { idempotency_key: "k" });
    await sql`delete from messenger.idempotency_keys`;
    await using producer = session(project());
    await using operator = session(project());
    const pid = await pidOf(operator);
    await producer`begin`;
    await dispatch(producer, { idempotency_key: "k" });
    const waiting = retry(operator, { ids: [deadLetter] });
    await untilBlocked(sql, pid);
    await producer.unsafe(ending);
    assert.deepEqual(outcomes(await waiting), [outcome]);
  });
}

test("race · a dispatch waits for a retry that restores its lost key, and is its duplicate", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql, { idempotency_key: "k" });
  await sql`delete from messenger.idempotency_keys`;
  await using operator = session(project());
  await using producer = session(project());
  const pid = await pidOf(producer);
  await operator`begin`;
  await retry(operator, { ids: [deadLetter] });
  const waiting = dispatch(producer, { queue: "dead", idempotency_key: "k" });
  await untilBlocked(sql, pid);
  await operator`commit`;
  const { id: returned, duplicate } = await waiting;
  assert.deepEqual([returned, duplicate], [id, true]);
});

test("race · pruning sees an old dead letter before its retry or an unfinished message after it", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql, { idempotency_key: "k" });
  await setClock(sql, "400 days");
  await using operator = session(project());
  await operator`begin`;
  await retry(operator, { ids: [deadLetter] });
  await call(sql, "messenger_tick");
  await operator`commit`;
  await call(sql, "messenger_tick");
  assert.equal((await messageOf(sql, id)).status, "pending");
  assert.equal((await sql`select from messenger.idempotency_keys`).length, 1);
});

test("race · a retry that waited while the message failed again does not change the new dead letter", async () => {
  const { sql } = project();
  const { id, deadLetter } = await makeDeadLetter(sql);
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  await retry(first, { ids: [deadLetter] });
  await failForGood(first, (await claim(first))[0]);
  const waiting = retry(second, { ids: [deadLetter] });
  await untilBlocked(sql, pid);
  await first`commit`;
  assert.deepEqual(outcomes(await waiting), ["resolved"]);
  assert.deepEqual((await deadLettersOf(sql, id)).map(({ resolution }) => resolution), ["retried", null]);
});
