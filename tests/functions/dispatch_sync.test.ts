// The sync transport in the dispatch edge function: the handler runs inside the call, and the row has the result.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test } from "../project.ts";
import { testLocally, useTarget } from "../target.ts";

const { target, project } = useTarget({ env: { SYMPHONY_WORKER_LINGER: "3000" } });

function send(type: string, payload: Record<string, unknown>, options: Record<string, unknown> = {}) {
  return target().call("dispatch", {
    json: { message: { type, payload }, options: { transport: "sync", ...options } },
  });
}

const rowOf = async (id: unknown) =>
  (await project().sql`select * from messenger_messages where id = ${String(id)}`)[0];

test("sync dispatch · returns 201 with the handler's result", async () => {
  const { status, body } = await send("ExampleQuick", {});
  assert.deepEqual([status, body.status, body.transport, body.duplicate], [201, "completed", "sync", false]);
  assert.equal((body.result as { ok: boolean }).ok, true);
  assert.deepEqual(Object.keys(body).sort(), [
    "duplicate",
    "idempotencyKey",
    "messageId",
    "queue",
    "result",
    "scheduledAt",
    "status",
    "success",
    "transport",
  ]);
  const read = await target().call(`dispatch/${body.messageId}`);
  assert.deepEqual([read.body.status, read.body.result], ["completed", body.result]);
});

test("sync dispatch · a duplicate is not executed twice", async () => {
  const options = { idempotencyKey: crypto.randomUUID() };
  const first = await send("ExampleQuick", {}, options);
  const again = await send("ExampleQuick", {}, options);
  assert.deepEqual([first.status, again.status, again.body.duplicate], [201, 200, true]);
  assert.deepEqual([again.body.messageId, again.body.status], [first.body.messageId, "completed"]);
  const read = await target().call(`dispatch/${first.body.messageId}`);
  assert.deepEqual(read.body.result, first.body.result, "started once");
});

testLocally("sync dispatch · of many concurrent sends with one key, one runs the handler", async () => {
  const options = { idempotencyKey: crypto.randomUUID() };
  const replies = await Promise.all(Array.from({ length: 10 }, () => send("ExampleSlow", { ms: 100 }, options)));
  assert.equal(replies.filter(({ status }) => status === 201).length, 1);
  const row = await rowOf(replies[0].body.messageId);
  assert.deepEqual([row.status, row.fence], ["completed", "1"]);
});

testLocally(
  "sync dispatch · a failed handler leaves the message pending, and a worker handles it later",
  async () => {
    const { status, body } = await send("ExampleFlaky", { failures: 1 });
    assert.deepEqual([status, body.status, "result" in body], [201, "pending", false]);
    const row = await rowOf(body.messageId);
    assert.deepEqual([row.status, row.retry_count, row.last_error], ["pending", 1, "Failed on purpose, 1 of 1."]);
    await target().call("worker", { json: {} });
    const later = await eventually("a worker handles it", async () => {
      const now = await rowOf(body.messageId);
      return now.status === "completed" && now;
    });
    assert.deepEqual([later.retry_count, later.fence], [1, "2"]);
  },
);

testLocally(
  "sync dispatch · a message without retries becomes a dead letter at once, and the reply reports the failure",
  async () => {
    const { status, body } = await send("ExampleFlaky", { failures: 1 }, { maxRetries: 0 });
    assert.deepEqual([status, body.status], [201, "failed"]);
    const deadLetters = await project().sql`select from messenger_failed_messages where message_id = ${
      String(body.messageId)
    }`;
    assert.equal(deadLetters.length, 1);
  },
);

testLocally("sync dispatch · a delayed message is only stored, and a worker handles it when it is due", async () => {
  const { body } = await send("ExampleQuick", {}, { delay: 500 });
  assert.deepEqual([body.status, "result" in body], ["pending", false]);
  await target().call("worker", { json: {} });
  const row = await eventually("a worker handles it", async () => {
    const now = await rowOf(body.messageId);
    return now.status === "completed" && now;
  });
  assert.ok(Date.parse(row.result.startedAt) >= row.available_at.getTime());
});

test("sync dispatch · a batch runs each of its messages", async () => {
  const messages = Array.from({ length: 3 }, (_, n) => ({
    message: { type: "ExampleQuick", payload: { n } },
    options: { transport: "sync" },
  }));
  const { status, body } = await target().call("dispatch/batch", { json: { messages } });
  const results = body.results as { status: string; result: { ok: boolean } }[];
  assert.equal(status, 201);
  assert.deepEqual(results.map(({ status, result }) => [status, result.ok]), Array(3).fill(["completed", true]));
});
