// F5: the connection is cut after the commit and before the reply. Repeating is harmless; what a lost claim took comes back when its lease ends.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test, useProject } from "../project.ts";
import { Harness } from "./harness.ts";
import { openProxy } from "./proxy.ts";

const harness: Harness = new Harness(() => project());
// Between the edge functions and the data API.
const proxy = openProxy(() => project().url);
Deno.test.afterAll(async () => await proxy[Symbol.asyncDispose]());
const project = useProject({
  functions: true,
  log: harness.log,
  env: { SUPABASE_URL: proxy.url, SYMPHONY_WORKER_LINGER: "0", SYMPHONY_WORKER_LEASE: "3000" },
});

/** Replies of one call that are lost; Deno's fetch repeats a call once by itself where a reused connection breaks. */
const LOST = 3;

/** Cuts every answer while the work goes on. One would not do: Deno's fetch silently sends again what broke off on a reused connection. */
async function withoutReplies<T>(work: () => Promise<T>): Promise<T> {
  const before = proxy.repliesCut;
  proxy.cutReplies(Infinity);
  const result = await work().finally(() => proxy.cutReplies(0));
  assert.ok(proxy.repliesCut > before, "void: no reply was lost");
  return result;
}

const rowOf = async (id: string) => (await project().sql`select * from messenger_messages where id = ${id}`)[0];

async function call(app: string, body?: unknown) {
  const { url, secretKey } = project();
  const response = await fetch(`${url}/functions/v1/${app}`, {
    method: "POST",
    headers: { "content-type": "application/json", apikey: secretKey },
    body: JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

const work = async (): Promise<Record<string, number>> => (await call("worker?wait=1", {})).body.stats;

test("reply lost · of a dispatch: the edge function says not now, and the same key answers the message that was stored", async () => {
  const request = { message: { type: "ExampleQuick", payload: {} }, options: { idempotencyKey: "once" } };
  await harness.produce({ type: "ExampleQuick", payload: {} }); // the edge function has asked what it asks once
  const lost = await withoutReplies(() => call("dispatch", request));
  assert.deepEqual([lost.status, lost.body.error.code], [503, "SM_UNAVAILABLE"]);
  assert.ok(Number(lost.headers.get("retry-after")) > 0);
  const stored = await project().sql`select id from messenger_messages where idempotency_key = 'once'`;
  assert.equal(stored.length, 1, "void: it was cut before the commit");

  const again = await call("dispatch", request);
  assert.deepEqual([again.status, again.body.messageId, again.body.duplicate], [200, stored[0].id, true]);
  harness.acknowledged.add(again.body.messageId);
  await work();
  harness.assertSound(await harness.judge("the reply of a dispatch lost"));
});

test("reply lost · of a settle: the worker says it again and is told that it counted", async () => {
  const id = await harness.produce({ type: "ExampleSlow", payload: { ms: 300 } });
  const before = proxy.repliesCut;
  proxy.cutReplies(LOST, (request) => request.includes(id) && request.includes('"outcome":"completed"'));
  const { completed, stale } = await work();
  assert.equal(proxy.repliesCut, before + LOST, "void: too few replies were lost");
  assert.deepEqual([completed, stale], [1, 0]);
  const row = await rowOf(id);
  assert.deepEqual([row.fence, row.retry_count, row.status], ["1", 0, "completed"]);
});

test("reply lost · of a claim: the message is nobody's until the lease ends, then it is handed out again", async () => {
  const id = await harness.produce({ type: "ExampleQuick", payload: {} });
  assert.equal(await withoutReplies(work), undefined, "the run never heard from the database");
  const held = await rowOf(id);
  assert.deepEqual([held.status, held.fence], ["processing", "1"]);
  await eventually("its lease has ended and it is handled", async () => {
    await work();
    return (await rowOf(id)).status === "completed";
  });
  const row = await rowOf(id);
  assert.deepEqual([row.status, row.fence, row.retry_count], ["completed", "2", 1]);
  harness.assertSound(await harness.judge("replies of dispatch, settle and claim lost"));
});
