// F5: the connection is cut after the commit and before the reply. A repeated call is harmless; messages of a lost
// claim are handed out again when their lease expires.
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

/** Lost replies per call; Deno's fetch silently repeats a call once if a reused connection breaks. */
const LOST = 3;

/**
 * Cuts every reply during the work. One cut would not suffice: Deno's fetch silently repeats a call whose reused
 * connection breaks.
 */
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

test("reply lost · of a dispatch: the edge function returns 503, the same key returns the stored message", async () => {
  const request = { message: { type: "ExampleQuick", payload: {} }, options: { idempotencyKey: "once" } };
  await harness.produce({ type: "ExampleQuick", payload: {} }); // the edge function has made its initial calls
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

test("reply lost · of a settle: the worker repeats the outcome, which is reported as recorded already", async () => {
  const id = await harness.produce({ type: "ExampleSlow", payload: { ms: 300 } });
  const before = proxy.repliesCut;
  proxy.cutReplies(LOST, (request) => request.includes(id) && request.includes('"outcome":"completed"'));
  const { completed, stale } = await work();
  assert.equal(proxy.repliesCut, before + LOST, "void: too few replies were lost");
  assert.deepEqual([completed, stale], [1, 0]);
  const row = await rowOf(id);
  assert.deepEqual([row.fence, row.retry_count, row.status], ["1", 0, "completed"]);
});

test("reply lost · of a claim: no worker runs the message until the lease expires, then one does", async () => {
  const id = await harness.produce({ type: "ExampleQuick", payload: {} });
  assert.equal(await withoutReplies(work), undefined, "the run received no reply from the database");
  const held = await rowOf(id);
  assert.deepEqual([held.status, held.fence], ["processing", "1"]);
  await eventually("its lease has expired and it is handled", async () => {
    await work();
    return (await rowOf(id)).status === "completed";
  });
  const row = await rowOf(id);
  assert.deepEqual([row.status, row.fence, row.retry_count], ["completed", "2", 1]);
  harness.assertSound(await harness.judge("replies of dispatch, settle and claim lost"));
});
