// One key in many concurrent sessions: one message, no deadlock, and no result with the id of a rolled back row.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch, setClock, settle } from "../bus.ts";
import { errorOf } from "../assert_rejected.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const KEY = { idempotency_key: "once" };
const ids = async () => (await project().sql`select id from messenger_messages order by id`).map(({ id }) => id);

test("race · the second dispatch waits for the first and returns its id", async () => {
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  const won = await dispatch(first, KEY);
  const waiting = dispatch(second, KEY);
  await untilBlocked(project().sql, pid);
  await first`commit`;
  const lost = await waiting;
  assert.deepEqual([lost.id, lost.duplicate], [won.id, true]);
  assert.deepEqual(await ids(), [won.id]);
});

test("race · when the first dispatch rolls back, the waiting one is stored", async () => {
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  const gone = await dispatch(first, KEY);
  const waiting = dispatch(second, KEY);
  await untilBlocked(project().sql, pid);
  await first`rollback`;
  const stored = await waiting;
  assert.deepEqual([stored.duplicate, stored.id === gone.id], [false, false]);
  assert.deepEqual(await ids(), [stored.id]);
});

test("race · of three, the third waits until one is stored", async () => {
  await using first = session(project());
  await using second = session(project());
  await using third = session(project());
  const pids = [await pidOf(second), await pidOf(third)];
  await first`begin`;
  await dispatch(first, KEY);
  const waiting = [dispatch(second, KEY), dispatch(third, KEY)];
  for (const pid of pids) await untilBlocked(project().sql, pid);
  await first`rollback`;
  const replies = await Promise.all(waiting);
  assert.deepEqual(replies.map(({ duplicate }) => duplicate).toSorted(), [false, true]);
  assert.deepEqual(await ids(), [replies[0].id]);
  assert.equal(replies[0].id, replies[1].id);
});

test("race · other keys and keyless messages do not wait", async () => {
  await using first = session(project());
  const { sql } = project();
  await first`begin`;
  await dispatch(first, KEY);
  const replies = await Promise.all([dispatch(sql), dispatch(sql, { idempotency_key: "other" })]);
  assert.deepEqual(replies.map(({ duplicate }) => duplicate), [false, false]);
  await first`rollback`;
});

test("race · of a hundred dispatches on ten connections one is stored and reported as new", async () => {
  const sessions = Array.from({ length: 10 }, () => session(project()));
  try {
    const replies = await Promise.all(sessions.flatMap((sql) => Array.from({ length: 10 }, () => dispatch(sql, KEY))));
    assert.equal(new Set(replies.map(({ id }) => id)).size, 1);
    assert.equal(replies.filter(({ duplicate }) => !duplicate).length, 1);
    assert.deepEqual(await ids(), [replies[0].id]);
  } finally {
    await Promise.all(sessions.map((sql) => sql.end()));
  }
});

test("race · with random rollbacks, every committed reply has the id of the one stored row", async () => {
  const sessions = Array.from({ length: 10 }, () => session(project()));
  try {
    const replies = await Promise.all(sessions.map(async (sql, n) => {
      await sql`begin`;
      const reply = await dispatch(sql, KEY);
      // A duplicate that commits names a row that committed; every third first dispatch rolls back.
      if (n % 3 === 0) return await sql`rollback`.then(() => null);
      return await sql`commit`.then(() => reply);
    }));
    const kept = replies.filter((reply) => reply !== null);
    assert.deepEqual(await ids(), [kept[0].id]);
    assert(kept.every(({ id }) => id === kept[0].id));
    assert.equal(kept.filter(({ duplicate }) => !duplicate).length, 1);
  } finally {
    await Promise.all(sessions.map((sql) => sql.end()));
  }
});

test("race · an expired key is taken over by one of many", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { ...KEY, idempotency_window: "1 minute" });
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  await setClock(sql, "1 hour");
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  const won = await dispatch(first, KEY);
  const waiting = dispatch(second, KEY);
  await untilBlocked(sql, pid);
  await first`commit`;
  const lost = await waiting;
  assert.deepEqual([won.duplicate, lost.duplicate, lost.id], [false, true, won.id]);
  assert.equal((await ids()).length, 2);
});

test("race · of two that both saw the key free, one takes it over", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { ...KEY, idempotency_window: "1 minute" });
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  await setClock(sql, "1 hour");
  await using gate = session(project());
  await using first = session(project());
  await using second = session(project());
  const pids = [await pidOf(first), await pidOf(second)];
  // A row lock does not block the read of a free key; it blocks both where they take it.
  await gate`begin`;
  await gate`select from messenger.idempotency_keys for update`;
  const waiting = [dispatch(first, KEY), dispatch(second, KEY)];
  for (const pid of pids) await untilBlocked(sql, pid);
  await gate`rollback`;
  const replies = await Promise.all(waiting);
  assert.deepEqual(replies.map(({ duplicate }) => duplicate).toSorted(), [false, true]);
  assert.equal(replies[0].id, replies[1].id);
  assert.equal((await ids()).length, 2);
});

test("race · a takeover that rolls back leaves the key to the waiting one", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { ...KEY, idempotency_window: "1 minute" });
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  await setClock(sql, "1 hour");
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  await dispatch(first, KEY);
  const waiting = dispatch(second, KEY);
  await untilBlocked(sql, pid);
  await first`rollback`;
  const won = await waiting;
  assert.equal(won.duplicate, false);
  assert.equal((await dispatch(sql, KEY)).id, won.id);
});

test("race · an expired key is pruned while it is taken over: the dispatch waits and is stored", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { ...KEY, idempotency_window: "1 minute" });
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  await setClock(sql, "1 hour");
  await using clock = session(project());
  await using sender = session(project());
  const pid = await pidOf(sender);
  await clock`begin`;
  await call(clock, "messenger_tick");
  const waiting = dispatch(sender, KEY);
  await untilBlocked(sql, pid);
  await clock`commit`;
  const reply = await waiting;
  assert.equal(reply.duplicate, false);
  assert.equal((await dispatch(sql, KEY)).id, reply.id);
});

test("race · two batches with their keys in opposite order do not deadlock", async () => {
  await using first = session(project());
  await using second = session(project());
  const batch = (sql: typeof first, keys: string[]) =>
    call(sql, "messenger_dispatch_batch", {
      messages: keys.map((idempotency_key) => ({ type: "T", idempotency_key })),
    });
  const keys = Array.from({ length: 200 }, (_, n) => `k${n}`);
  for (let round = 0; round < 5; round++) {
    const own = keys.map((key) => `${round}/${key}`);
    const [a, b] = await Promise.all([batch(first, own), batch(second, own.toReversed())]);
    const [firsts, seconds] = [a.filter((row) => !row.duplicate).length, b.filter((row) => !row.duplicate).length];
    assert.equal(firsts + seconds, 200);
  }
  assert.equal((await ids()).length, 1000);
});

test("race · two batches wait for the first key they share, without a deadlock", async () => {
  await using holder = session(project());
  await using first = session(project());
  await using second = session(project());
  const batch = (sql: typeof first, keys: string[]) =>
    call(sql, "messenger_dispatch_batch", {
      messages: keys.map((idempotency_key) => ({ type: "T", idempotency_key })),
    });
  const pids = [await pidOf(first), await pidOf(second)];
  await holder`begin`;
  await batch(holder, ["b"]);
  const waiting = [batch(first, ["c", "b", "a"]), batch(second, ["a", "b", "c"])];
  for (const pid of pids) await untilBlocked(project().sql, pid);
  await holder`commit`;
  const replies = (await Promise.all(waiting)).flat();
  assert.deepEqual(replies.filter((row) => !row.duplicate).map((row) => row.ord).length, 2);
  assert.equal((await ids()).length, 3);
});

test("race · under repeatable read the waiting one is rejected as retryable, never stored twice", async () => {
  await using first = session(project());
  await using second = session(project());
  await second`begin isolation level repeatable read`;
  await second`select from messenger_messages`;
  await dispatch(first, KEY);
  assert.equal((await errorOf(dispatch(second, KEY))).code, "40001");
  await second`rollback`;
  assert.equal((await ids()).length, 1);
});
