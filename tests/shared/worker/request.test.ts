// A request of the worker: omitted fields have the environment's values, variable by variable.
import assert from "node:assert/strict";
import { readEnv } from "../../../shared/env.ts";
import { parseWorkerRequest } from "../../../shared/worker/request.ts";

const settingsOf = (source: Record<string, string>) =>
  readEnv({ SUPABASE_URL: "https://project.supabase.co", ...source }).worker;

Deno.test("worker request · an empty one has the environment's limits and serves every queue", () => {
  const settings = settingsOf({
    SYMPHONY_WORKER_BATCH_SIZE: "11",
    SYMPHONY_WORKER_MAX_CONCURRENCY: "12",
    SYMPHONY_WORKER_POLL_INTERVAL: "13",
    SYMPHONY_WORKER_LINGER: "14",
    SYMPHONY_WORKER_TIME_LIMIT: "1015",
    SYMPHONY_WORKER_MESSAGE_LIMIT: "16",
  });
  assert.deepEqual(parseWorkerRequest({}, settings), {
    selection: {},
    limits: {
      batchSize: 11,
      maxConcurrency: 12,
      pollInterval: 13,
      linger: 14,
      timeLimit: 1_015,
      runLimit: undefined,
      messageLimit: 16,
    },
  });
});

Deno.test("worker request · its own limits take precedence, its time limit counts from the run's start", () => {
  const request = { batchSize: 1, maxConcurrency: 2, timeLimit: 3, messageLimit: 4, queues: ["b", "a", "b"] };
  const { limits, selection } = parseWorkerRequest(request, settingsOf({}));
  assert.deepEqual(limits, {
    batchSize: 1,
    maxConcurrency: 2,
    pollInterval: 50,
    linger: 5_000,
    timeLimit: 110_000,
    runLimit: 3,
    messageLimit: 4,
  });
  assert.deepEqual(selection, { queues: ["a", "b"] });
});

Deno.test("worker request · names that no dispatch accepts are rejected at once, not after the reply", () => {
  for (const queues of [["Default"], ["a", ""], ["a b"], ["q".repeat(64)], ["a\n"]]) {
    assert.throws(() => parseWorkerRequest({ queues }, settingsOf({})), {
      code: "SM_QUEUE",
      message: /^queues\.\d must be 1 to 63/,
    });
  }
  assert.throws(() => parseWorkerRequest({ transport: "A b" }, settingsOf({})), { code: "SM_TRANSPORT" });
});
