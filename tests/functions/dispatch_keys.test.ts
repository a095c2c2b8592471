// Idempotency modes and ordering keys in the dispatch edge function: the effect of the options, and the replies for
// blocked messages.
import assert from "node:assert/strict";
import { test } from "../project.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";

const { target, project } = useTarget();
const note = (n: number) => ({ type: "TestNote", payload: { n } });
const send = (n: number, options: Record<string, unknown>) =>
  target().call("dispatch", { json: { message: note(n), options } });
const rowOf = async (id: unknown) =>
  (await project().sql`select * from messenger_messages where id = ${String(id)}`)[0];
const keyed = (idempotencyMode: string, fields: Record<string, unknown> = {}) => ({
  idempotencyKey: crypto.randomUUID(),
  idempotencyMode,
  ...fields,
});

testLocally("dispatch edge function · replace returns 200 and stores the new payload in the message", async () => {
  const options = keyed("replace", { delay: 3_600_000 });
  const first = await send(1, options);
  const again = await send(2, { ...options, delay: 0, priority: 9 });
  assert.deepEqual([first.status, again.status], [201, 200]);
  assert.deepEqual({ ...again.body, duplicate: false }, first.body);
  const row = await rowOf(first.body.messageId);
  assert.deepEqual([row.body, row.priority], [{ n: 2 }, 9]);
});

test("dispatch edge function · reschedule moves the message, and rejects another payload", async () => {
  const options = keyed("reschedule", { scheduledAt: "2031-01-01T00:00:00Z" });
  const first = await send(1, options);
  const again = await send(1, { ...options, scheduledAt: "2032-01-01T00:00:00Z" });
  assert.deepEqual([again.status, again.body.messageId], [200, first.body.messageId]);
  assert.equal(Date.parse(String(again.body.scheduledAt)), Date.parse("2032-01-01T00:00:00Z"));
  assertRejected(await send(2, options), 409, "SM_IDEMPOTENCY_MISMATCH");
});

test("dispatch edge function · throttle returns the first message, whatever the payload", async () => {
  const options = keyed("throttle", { idempotencyWindow: 60_000 });
  const [first, second] = [await send(1, options), await send(2, options)];
  assert.deepEqual([second.status, second.body.messageId], [200, first.body.messageId]);
});

testLocally(
  "dispatch edge function · debounce waits for the delay, or else for the window, after the last call",
  async () => {
    const options = keyed("debounce", { idempotencyWindow: 3_600_000 });
    const before = Date.now();
    const first = await send(1, options);
    const second = await send(2, { ...options, delay: 7_200_000 });
    const hours = [first, second].map(({ body }) =>
      Math.round((Date.parse(String(body.scheduledAt)) - before) / 3_600_000)
    );
    assert.deepEqual([first.status, second.status, hours], [201, 200, [1, 2]]);
    assert.deepEqual((await rowOf(first.body.messageId)).body, { n: 2 });
  },
);

testLocally(
  "dispatch edge function · a sync message that its mode moves is stored for a worker, not run in the call",
  async () => {
    const options = { transport: "sync", ...keyed("debounce", { idempotencyWindow: 3_600_000 }) };
    const json = { message: { type: "ExampleQuick", payload: {} }, options };
    const { status, body } = await target().call("dispatch", { json });
    const row = await rowOf(body.messageId);
    assert.deepEqual([status, body.status, row.fence], [201, "pending", "0"]);
    assert.equal(Math.round((row.available_at - row.created_at) / 60_000), 60);
  },
);

test("dispatch edge function · concurrent debounced sends store one message, one reply is new", async () => {
  const options = keyed("debounce");
  const replies = await Promise.all(Array.from({ length: 20 }, (_, n) => send(n, options)));
  assert.equal(new Set(replies.map(({ body }) => body.messageId)).size, 1);
  assert.deepEqual(replies.map(({ status }) => status).sort(), [...Array(19).fill(200), 201]);
});

test("dispatch edge function · a message behind another of its ordering key is blocked, without a time", async () => {
  const options = { orderingKey: crypto.randomUUID() };
  const head = await send(1, options);
  assert.deepEqual([head.status, "blocked" in head.body, head.body.scheduledAt !== null], [201, false, true]);
  const named = { ...options, idempotencyKey: crypto.randomUUID() };
  const [next, repeated] = [await send(2, named), await send(2, named)];
  for (const { body } of [next, repeated]) assert.deepEqual([body.scheduledAt, body.blocked], [null, true]);
  assert.deepEqual([next.status, repeated.status, repeated.body.messageId], [201, 200, next.body.messageId]);

  const messages = [{ message: note(3), options }, { message: note(4) }, {
    message: note(5),
    options: { priority: 11 },
  }];
  const { status, body } = await target().call("dispatch/batch", { json: { messages, atomic: false } });
  const results = body.results as Record<string, unknown>[];
  assert.deepEqual([status, results.map(({ blocked }) => blocked)], [207, [true, undefined, undefined]]);
  assert.equal(results[0].scheduledAt, null);

  const read = await target().call(`dispatch/${next.body.messageId}`);
  assert.deepEqual([read.status, read.body.status, read.body.availableAt, read.body.blocked], [
    200,
    "pending",
    null,
    true,
  ]);
  const first = await target().call(`dispatch/${head.body.messageId}`);
  assert.equal("blocked" in first.body, false);
});

test("dispatch edge function · a sync message with an ordering key is stored, not run in the call", async () => {
  const options = { transport: "sync", orderingKey: crypto.randomUUID(), delay: 60_000 };
  const json = { message: { type: "ExampleQuick", payload: {} }, options };
  for (const blocked of [undefined, true]) {
    const { status, body } = await target().call("dispatch", { json });
    assert.deepEqual([status, body.status, body.blocked], [201, "pending", blocked]);
  }
});
