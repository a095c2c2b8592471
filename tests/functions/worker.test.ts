// The worker edge function: a call runs handlers, returns at once or after the run, and keeps to its limits.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test } from "../project.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";

// Without lingering a call ends when its queues are empty; without ticker and wake-ups there are no other calls.
const { target, project } = useTarget({ env: { SYMPHONY_WORKER_LINGER: "0" } });

interface Stats {
  claimed: number;
  completed: number;
  polls: number;
  ms: number;
}

/** Dispatches messages to a new queue, and returns their ids and the queue. */
async function dispatch(type: string, payloads: Record<string, unknown>[]) {
  const queue = `q-${crypto.randomUUID().slice(0, 8)}`;
  const messages = payloads.map((payload) => ({ message: { type, payload }, options: { queue } }));
  const { status, body } = await target().call("dispatch/batch", { json: { messages } });
  assert.equal(status, 201, JSON.stringify(body));
  return { queue, ids: (body.results as { messageId: string }[]).map(({ messageId }) => messageId) };
}

async function work(json: Record<string, unknown>): Promise<Stats> {
  const { status, body } = await target().call("worker?wait=1", { json });
  assert.equal(status, 200, JSON.stringify(body));
  return body.stats as Stats; // the documented reply
}

const rowsOf = (queue: string) =>
  project().sql`select * from messenger_messages where queue_name = ${queue} order by locked_at, id`;

const four = Array.from({ length: 4 }, (_, n) => ({ n }));

test("worker edge function · returns 202 with the id of a run before its end", async () => {
  const { queue, ids } = await dispatch("ExampleSlow", [{ ms: 500 }]);
  const { status, body } = await target().call("worker", { json: { queues: [queue] } });
  assert.deepEqual([status, body.success, Object.keys(body)], [202, true, ["success", "runId"]]);
  assert.match(String(body.runId), /^[0-9a-f-]{36}$/);
  const state = async () => (await target().call(`dispatch/${ids[0]}`)).body;
  assert.notEqual((await state()).status, "completed");
  await eventually("the message is completed", async () => (await state()).status === "completed");
});

testLocally("worker edge function · with ?wait=1 returns 200 and the run's figures", async () => {
  const { queue } = await dispatch("ExampleQuick", four);
  const { status, body } = await target().call("worker?wait=1", { json: { queues: [queue] } });
  assert.deepEqual([status, Object.keys(body)], [200, ["success", "runId", "stats"]]);
  const { polls, ms, ...counts } = body.stats as Stats;
  assert.ok(polls >= 1 && ms >= 0);
  assert.deepEqual(counts, {
    claimed: 4,
    completed: 4,
    retried: 0,
    dead: 0,
    cancelled: 0,
    snoozed: 0,
    released: 0,
    stale: 0,
  });
  for (const row of await rowsOf(queue)) {
    assert.deepEqual([row.status, row.fence, row.retry_count, row.result.ok], ["completed", "1", 0, true]);
    assert.deepEqual([row.locked_by, row.lock_expires_at], [null, null]);
  }
});

testLocally("worker edge function · without a body serves every queue", async () => {
  const { queue } = await dispatch("ExampleQuick", [{}]);
  assert.equal((await target().call("worker?wait=1", { method: "POST" })).status, 200);
  const [row] = await rowsOf(queue);
  assert.equal(row.status, "completed");
});

testLocally("worker edge function · serves the requested queues, and no other", async () => {
  const [mine, other] = [await dispatch("ExampleQuick", four), await dispatch("ExampleQuick", four)];
  await work({ transport: "supabase", queues: [mine.queue, mine.queue] });
  const statuses = async (queue: string) => new Set((await rowsOf(queue)).map(({ status }) => status));
  assert.deepEqual([await statuses(mine.queue), await statuses(other.queue)], [
    new Set(["completed"]),
    new Set(["pending"]),
  ]);
});

testLocally("worker edge function · handles no more messages than messageLimit", async () => {
  const { queue } = await dispatch("ExampleQuick", four);
  const { claimed, completed } = await work({ queues: [queue], messageLimit: 3, batchSize: 2 });
  assert.deepEqual([claimed, completed], [3, 3]);
  assert.deepEqual((await rowsOf(queue)).map(({ status }) => status).sort(), [
    ...Array(3).fill("completed"),
    "pending",
  ]);
});

testLocally("worker edge function · claims no more than batchSize at a time", async () => {
  const { queue } = await dispatch("ExampleQuick", four);
  const { polls } = await work({ queues: [queue], batchSize: 1 });
  assert.ok(polls >= 5, `${polls} polls for 4 messages and an empty queue`);
});

testLocally("worker edge function · runs at most maxConcurrency handlers at a time", async () => {
  const { queue } = await dispatch("ExampleSlow", Array(4).fill({ ms: 200 }));
  await work({ queues: [queue], maxConcurrency: 2 });
  const starts = (await rowsOf(queue)).map(({ result }) => Date.parse(result.startedAt)).sort();
  assert.ok(starts[2] - starts[0] >= 150 && starts[3] - starts[1] >= 150, starts.map((at) => at - starts[0]).join());
});

testLocally("worker edge function · runs handlers concurrently", async () => {
  const { queue } = await dispatch("ExampleSlow", Array(10).fill({ ms: 1_000 }));
  const { ms } = await work({ queues: [queue], maxConcurrency: 10 });
  assert.ok(ms < 5_000, `${ms} ms for ten handlers of a second`);
});

testLocally("worker edge function · claims nothing after timeLimit, and finishes running messages", async () => {
  const { queue } = await dispatch("ExampleSlow", Array(4).fill({ ms: 600 }));
  const { claimed, completed } = await work({ queues: [queue], maxConcurrency: 1, timeLimit: 100 });
  assert.deepEqual([claimed, completed], [1, 1]);
  assert.deepEqual((await rowsOf(queue)).map(({ status }) => status).sort(), [
    "completed",
    ...Array(3).fill("pending"),
  ]);
});

testLocally("worker edge function · a call during a run joins it", async () => {
  const { queue } = await dispatch("ExampleSlow", [{ ms: 1_000 }]);
  const first = await target().call("worker", { json: { queues: [queue] } });
  const other = await dispatch("ExampleQuick", [{}]);
  const second = await target().call("worker", { json: { queues: [other.queue] } });
  assert.equal(second.body.runId, first.body.runId);
  await eventually("both queues are served", async () => {
    const [[a], [b]] = [await rowsOf(queue), await rowsOf(other.queue)];
    return a.status === "completed" && b.status === "completed";
  });
});

testLocally("worker edge function · a replayed call is harmless", async () => {
  const { queue } = await dispatch("ExampleSlow", Array(4).fill({ ms: 300 }));
  const json = { queues: [queue] };
  await Promise.all(Array.from({ length: 5 }, () => target().call("worker?wait=1", { json })));
  await target().call("worker?wait=1", { json });
  for (const row of await rowsOf(queue)) assert.deepEqual([row.status, row.fence], ["completed", "1"]);
});

testLocally("worker edge function · a type without a handler in this code stays pending", async () => {
  const { queue } = await dispatch("TestNote", four);
  assert.equal((await work({ queues: [queue] })).claimed, 0);
  for (const row of await rowsOf(queue)) assert.deepEqual([row.status, row.fence], ["pending", "0"]);
});

const BAD_FIELDS: [what: string, code: string, json: unknown][] = [
  ["an unknown field", "SM_UNKNOWN_FIELD", { queue: "default" }],
  ["a batch size of 0", "SM_BATCH", { batchSize: 0 }],
  ["a batch size of 1001", "SM_BATCH", { batchSize: 1_001 }],
  ["a batch size as text", "SM_BATCH", { batchSize: "5" }],
  ["a batch size of null", "SM_BATCH", { batchSize: null }],
  ["no queues", "SM_QUEUE", { queues: [] }],
  ["an empty queue", "SM_QUEUE", { queues: [""] }],
  ["one queue as text", "SM_QUEUE", { queues: "default" }],
  ["an empty transport", "SM_TRANSPORT", { transport: "" }],
  ["a concurrency of 0", "SM_BODY", { maxConcurrency: 0 }],
  ["a concurrency of 1.5", "SM_BODY", { maxConcurrency: 1.5 }],
  ["a time limit of 0", "SM_BODY", { timeLimit: 0 }],
  ["a message limit below 1", "SM_BODY", { messageLimit: -1 }],
  ["an array", "SM_BODY", []],
];
for (const [what, code, json] of BAD_FIELDS) {
  test(`worker edge function · rejects ${what}`, async () => {
    assertRejected(await target().call("worker?wait=1", { json }), 400, code);
  });
}

test("worker edge function · rejects bodies that are no JSON, too large or of another type", async () => {
  const headers = { "content-type": "application/json" };
  assertRejected(await target().call("worker", { raw: "{", headers }), 400, "SM_JSON");
  assertRejected(await target().call("worker", { raw: "x".repeat(20_000), headers }), 413, "SM_PAYLOAD_TOO_LARGE");
  const plain = { "content-type": "text/plain" };
  assertRejected(await target().call("worker", { raw: "{}", headers: plain }), 415, "SM_CONTENT_TYPE");
});

testLocally(
  "worker edge function · a missing transport is named in the error of a run that is waited for",
  async () => {
    const reply = await target().call("worker?wait=1", { json: { transport: "nowhere" } });
    assert.match(assertRejected(reply, 400, "SM_TRANSPORT"), /nowhere/);
  },
);
