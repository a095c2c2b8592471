// Every mode in many concurrent sessions: one message per key, with any rollback, claim or settle meanwhile, and
// without deadlocks.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch, messageOf, settle } from "../bus.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));
Deno.test.afterEach(async () => {
  const wrong = (await call(project().sql, "messenger_audit")).filter(({ violations }) => violations !== "0");
  assert.deepEqual(wrong, []);
});

const MODES = ["ignore", "replace", "reschedule", "throttle", "debounce"];
const CHANGING = ["replace", "reschedule", "debounce"];
/** Modes that need the same payload get it. */
const payload = (mode: string, n: number) => ({ n: mode === "ignore" || mode === "reschedule" ? 0 : n });
const send = (sql: Sql, mode: string, n = 0, fields: Record<string, unknown> = {}) =>
  dispatch(sql, { idempotency_key: "once", idempotency_mode: mode, payload: payload(mode, n), ...fields });
const rows = async () => [...await project().sql`select * from messenger_messages order by id`];

for (const mode of MODES) {
  test(`${mode} · of fifty dispatches in fifty sessions one is stored, and forty-nine results name it`, async () => {
    const sessions = Array.from({ length: 50 }, () => session(project()));
    try {
      await Promise.all(sessions.map((sql) => sql`select 1`));
      const replies = await Promise.all(sessions.map((sql, n) => send(sql, mode, n, { delay: `${n + 1} hours` })));
      const [row, ...others] = await rows();
      assert.deepEqual(others, []);
      assert(replies.every(({ id, status }) => id === row.id && status === "pending"));
      assert.equal(replies.filter(({ duplicate }) => !duplicate).length, 1);
      const last = replies.find(({ available_at }) => available_at.getTime() === row.available_at.getTime());
      assert(last, "the row is the result of one of the calls");
      const again = await send(project().sql, "ignore", 0, { payload: row.body });
      assert.deepEqual([again.id, again.duplicate], [row.id, true]);
    } finally {
      await Promise.all(sessions.map((sql) => sql.end()));
    }
  });

  test(`${mode} · when the first dispatch rolls back, the waiting one is stored as it was sent`, async () => {
    await using first = session(project());
    await using second = session(project());
    const pid = await pidOf(second);
    await first`begin`;
    const gone = await send(first, mode, 1);
    const waiting = send(second, mode, 2);
    await untilBlocked(project().sql, pid);
    await first`rollback`;
    const stored = await waiting;
    assert.deepEqual([stored.duplicate, stored.id === gone.id], [false, false]);
    assert.deepEqual((await rows()).map(({ id, body }) => [id, body]), [[stored.id, payload(mode, 2)]]);
  });

  test(`${mode} · batches with the same keys in opposite order do not deadlock, stored or not yet`, async () => {
    await using first = session(project());
    await using second = session(project());
    const keys = Array.from({ length: 100 }, (_, n) => `k${n}`);
    const batch = (sql: Sql, own: string[]) =>
      call(sql, "messenger_dispatch_batch", {
        messages: own.map((key) => ({ type: "T", idempotency_key: key, idempotency_mode: mode, delay: "1 hour" })),
      });
    for (let round = 0; round < 5; round++) {
      const replies = await Promise.all([batch(first, keys), batch(second, keys.toReversed())]);
      assert.equal(replies.flat().filter(({ duplicate }) => !duplicate).length, round === 0 ? 100 : 0);
    }
    assert.equal((await rows()).length, 100);
  });
}

for (const mode of CHANGING) {
  test(`${mode} · two batches wait for the first message they share, without a deadlock`, async () => {
    await using holder = session(project());
    await using first = session(project());
    await using second = session(project());
    const batch = (sql: Sql, keys: string[]) =>
      call(sql, "messenger_dispatch_batch", {
        messages: keys.map((key) => ({ type: "T", idempotency_key: key, idempotency_mode: mode, delay: "1 hour" })),
      });
    await batch(project().sql, ["a", "b", "c"]);
    const pids = [await pidOf(first), await pidOf(second)];
    await holder`begin`;
    await holder`select from messenger_messages where idempotency_key = 'b' for update`;
    const waiting = [batch(first, ["c", "b", "a"]), batch(second, ["a", "b", "c"])];
    for (const pid of pids) await untilBlocked(project().sql, pid);
    await holder`commit`;
    assert.equal((await Promise.all(waiting)).flat().filter(({ duplicate }) => duplicate).length, 6);
  });

  test(`${mode} · waits while a claim is open; a claimed message is not changed`, async () => {
    const { sql } = project();
    await using worker = session(project());
    await using sender = session(project());
    const { id } = await send(sql, "ignore", 0);
    const pid = await pidOf(sender);
    await worker`begin`;
    assert.equal((await claim(worker))[0].id, id);
    const waiting = send(sender, mode, 1, { delay: "1 hour" });
    await untilBlocked(sql, pid);
    await worker`commit`;
    const reply = await waiting;
    const row = await messageOf(sql, id);
    assert.deepEqual([row.status, row.body, row.scheduled_at, row.fence], ["processing", { n: 0 }, null, "1"]);
    if (mode === "debounce") {
      assert.deepEqual([reply.duplicate, reply.status], [false, "pending"]);
      assert.deepEqual((await messageOf(sql, reply.id)).body, { n: 1 });
      assert.equal(row.idempotency_key, null);
    } else assert.deepEqual([reply.id, reply.duplicate, reply.status], [id, true, "processing"]);
  });

  test(`${mode} · when an open claim is rolled back, the message is changed`, async () => {
    const { sql } = project();
    await using worker = session(project());
    await using sender = session(project());
    const { id } = await send(sql, "ignore", 0);
    const pid = await pidOf(sender);
    await worker`begin`;
    await claim(worker);
    const waiting = send(sender, mode, 1, { delay: "1 hour" });
    await untilBlocked(sql, pid);
    await worker`rollback`;
    const reply = await waiting;
    const row = await messageOf(sql, id);
    assert.deepEqual([reply.id, reply.duplicate, reply.status], [id, true, "pending"]);
    assert.deepEqual([row.body, row.scheduled_at !== null], [payload(mode, 1), mode !== "replace"]);
  });

  for (const end of ["commit", "rollback"] as const) {
    test(`${mode} · a claim does not wait for the change, and after its ${end} returns the messages`, async () => {
      const { sql } = project();
      await using sender = session(project());
      const { id } = await send(sql, "ignore", 0);
      await sender`begin`;
      await send(sender, mode, 1, { delay: "1 hour" });
      assert.deepEqual(await claim(sql), []);
      await sender.unsafe(end);
      const claimed = (await claim(sql)).map((row) => [row.id, row.body]);
      if (end === "rollback") assert.deepEqual(claimed, [[id, { n: 0 }]]);
      else assert.deepEqual(claimed, mode === "replace" ? [[id, { n: 1 }]] : []);
    });
  }

  test(`${mode} · under repeatable read a stale read of a key is rejected as retryable`, async () => {
    const { sql } = project();
    await using sender = session(project());
    const { id } = await send(sql, "ignore", 0);
    await sender`begin isolation level repeatable read`;
    await sender`select from messenger_messages`;
    await claim(sql);
    const error = await send(sender, mode, 0).then(() => undefined, ({ code }) => code);
    assert.equal(error, "40001");
    await sender`rollback`;
    assert.equal((await messageOf(sql, id)).status, "processing");
  });
}

test("replace · a call that waits for another sees its result", async () => {
  const { sql } = project();
  await using first = session(project());
  await using second = session(project());
  const { id } = await send(sql, "replace", 0, { delay: "1 hour" });
  const pid = await pidOf(second);
  await first`begin`;
  await send(first, "replace", 1);
  const waiting = send(second, "replace", 2);
  await untilBlocked(sql, pid);
  await first`commit`;
  assert.deepEqual([(await waiting).id, (await messageOf(sql, id)).body], [id, { n: 2 }]);
});

test("debounce · of two calls beside a running message one stores the next, and the other changes it", async () => {
  const { sql } = project();
  await using first = session(project());
  await using second = session(project());
  const { id } = await send(sql, "ignore", 0);
  await claim(sql);
  const pid = await pidOf(second);
  await first`begin`;
  const next = await send(first, "debounce", 1, { delay: "1 hour" });
  const waiting = send(second, "debounce", 2, { delay: "2 hours" });
  await untilBlocked(sql, pid);
  await first`commit`;
  const last = await waiting;
  assert.deepEqual([next.duplicate, last.id, last.duplicate], [false, next.id, true]);
  assert.deepEqual((await rows()).map(({ id, body }) => [id, body]), [[id, { n: 0 }], [next.id, { n: 2 }]]);
});

test("debounce · a replace waits for the call that moves the key, and changes the new message", async () => {
  const { sql } = project();
  await using first = session(project());
  await using second = session(project());
  await send(sql, "ignore", 0);
  await claim(sql);
  const pid = await pidOf(second);
  await first`begin`;
  const next = await send(first, "debounce", 1, { delay: "1 hour" });
  const waiting = send(second, "replace", 2);
  await untilBlocked(sql, pid);
  await first`commit`;
  assert.deepEqual([(await waiting).id, (await messageOf(sql, next.id)).body], [next.id, { n: 2 }]);
});

test("debounce · a dispatch that takes keys of running messages does not block their settle", async () => {
  const { sql } = project();
  await using gate = session(project());
  await using sender = session(project());
  // The ids rise from b to a, the keys the other way.
  const ids = [];
  for (const key of ["b", "a"]) ids.push((await dispatch(sql, { idempotency_key: key })).id);
  const held = await claim(sql);
  const outcomes = held.map(({ id, fence }) => ({ id, fence, outcome: "failed", error: "no" }));
  const pid = await pidOf(sender);
  await gate`begin`;
  await gate`select from messenger_messages where id = ${ids[0]} for update`;
  const sent = call(sender, "messenger_dispatch_batch", {
    messages: ["a", "b"].map((key) => ({ type: "Greeting", idempotency_key: key, idempotency_mode: "debounce" })),
  });
  await untilBlocked(sql, pid);
  assert.deepEqual((await settle(sql, outcomes)).map(({ outcome }) => outcome), ["locked", "retry"]);
  await gate`commit`;
  assert.deepEqual((await sent).map(({ duplicate }) => duplicate), [false, false]);
  assert.deepEqual((await settle(sql, outcomes)).map(({ outcome }) => outcome), ["retry", "already"]);
});
