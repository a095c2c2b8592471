// Which message the overview shows as waiting too long, and after how long. The test replies for monitor.
import assert from "node:assert/strict";
import { findStuck } from "../../dashboard/src/stuck.ts";
import type { Queue } from "../../shared/operators/queues.ts";

const NOW = Date.parse("2030-01-01T12:00:00Z");
const ago = (seconds: number) => new Date(NOW - seconds * 1_000).toISOString();

const queue = (fields: Partial<Queue>): Queue => ({
  transport_name: "supabase",
  queue_name: "mail",
  paused_at: null,
  transport_enabled: true,
  pending: 1,
  due: 1,
  delayed: 0,
  blocked: 0,
  processing: 0,
  oldest_due_at: ago(60),
  runs_since: null,
  estimated: false,
  awake_workers: 0,
  ...fields,
});

/** The result for these queues, and the queues whose messages were requested. */
async function found(...queues: Queue[]) {
  const requested: (string | null)[] = [];
  const { fetch } = globalThis;
  globalThis.fetch = (input) => {
    const url = new URL(String(input), "http://dashboard");
    if (url.pathname.endsWith("/explain")) {
      return Promise.resolve(Response.json({ reasons: [{ reason: "no_worker" }] }));
    }
    requested.push(url.searchParams.get("queue"));
    const messages = [
      { id: "later", available_at: new Date(NOW + 1_000).toISOString() },
      { id: "blocked", available_at: null },
      { id: "younger", available_at: ago(20) },
      { id: "oldest", available_at: ago(60) },
    ];
    return Promise.resolve(Response.json({ messages }));
  };
  try {
    return { stuck: await findStuck(queues, NOW), requested };
  } finally {
    globalThis.fetch = fetch;
  }
}

Deno.test("stuck · a message that is due for 15 seconds is named with its reason, and none before", async () => {
  const patient = await found(queue({ oldest_due_at: ago(14.9) }));
  assert.deepEqual([patient.stuck, patient.requested], [undefined, []]);
  const { stuck, requested } = await found(queue({ oldest_due_at: ago(15) }));
  assert.deepEqual([stuck?.message.id, stuck?.reason.reason, requested], ["oldest", "no_worker", ["mail"]]);
});

Deno.test("stuck · a queue that is paused, disabled or without due messages is left out", async () => {
  const causes = [{ paused_at: ago(90) }, { transport_enabled: false }, { transport_enabled: null }, {
    oldest_due_at: null,
  }];
  for (const cause of causes) {
    assert.deepEqual(await found(queue(cause)), { stuck: undefined, requested: [] }, JSON.stringify(cause));
    const other = await found(queue({ ...cause, queue_name: "other", oldest_due_at: ago(300) }), queue({}));
    assert.deepEqual(other.requested, ["oldest_due_at" in cause ? "other" : "mail"]);
  }
});

Deno.test("stuck · a queue that was resumed just now is not late, and the longest due comes first", async () => {
  const resumed = queue({ queue_name: "resumed", oldest_due_at: ago(300), runs_since: ago(10) });
  assert.deepEqual((await found(resumed)).requested, []);
  const older = queue({ queue_name: "older", oldest_due_at: ago(120) });
  assert.deepEqual((await found(resumed, queue({}), older)).requested, ["older"]);
});
