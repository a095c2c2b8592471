// Webhooks from the outcome to the receiver: the real worker edge function posts to a real HTTP server that checks the
// signature.
import assert from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import { webhooks } from "../../packs/webhook/index.ts";
import { createRegistry } from "../../shared/message.ts";
import { empty, test, useProject } from "../project.ts";
import { call, callValue, deadLetterOf, dispatch, messageOf, type Row, settle } from "../supabase/bus.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const env = { SYMPHONY_WORKER_LINGER: "0" };
const project = useProject({ functions: true, env: { ...env, SYMPHONY_WEBHOOK_ALLOW_PRIVATE: "true" } });
const guarded = useProject({ functions: true, env });

interface Received {
  headers: Headers;
  /** The payload, verified with the secret. */
  event: Row;
}

/** An HTTP server of the test: returns the first of `answers`, and 204 if there is none. */
function receiver(replies: Response[] = []) {
  const received: Received[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const event = new Webhook(SECRET).verify(await request.text(), Object.fromEntries(request.headers)) as Row;
    received.push({ headers: request.headers, event });
    return replies.shift() ?? new Response(null, { status: 204 });
  });
  return {
    received,
    url: `http://127.0.0.1:${server.addr.port}/hook?token=s3cret`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test.beforeAll(async () => {
  for (const { sql } of [project(), guarded()]) {
    await sql`select vault.create_secret(${SECRET}, 'symphony_webhook_test')`;
  }
});
Deno.test.beforeEach(async () => {
  for (const { sql } of [project(), guarded()]) {
    await empty(sql);
    // A worker registers once; its registration is deleted before each test.
    await call(sql, "messenger_register", { types: createRegistry(webhooks).registration() });
  }
});

async function onWebhook(event: string, url: string, { sql } = project()): Promise<string> {
  const [{ id }] = await sql`select messenger.on_webhook(${event}, ${url}, 'symphony_webhook_test') as id`;
  return id;
}

/** A message that is completed, or fails. */
async function end(outcome: "completed" | "failed", { sql } = project()): Promise<string> {
  const { id } = await dispatch(sql, { queue: "business" });
  const [{ fence }] = await sql`select fence from messenger_claim('ada', queues => array['business'])`;
  await settle(sql, [{ id, fence, outcome, error: "no answer", retryable: false }]);
  return id;
}

/** Makes the worker edge function handle due messages, including those that wait for a retry. */
async function work({ sql, url, secretKey } = project()): Promise<Row> {
  await sql`update messenger_messages set available_at = now()
    where message_type = 'symphony.webhook' and status = 'pending'`;
  const response = await fetch(`${url}/functions/v1/worker?wait=1`, { method: "POST", headers: { apikey: secretKey } });
  const reply = await response.json();
  assert.equal(response.status, 200, JSON.stringify(reply));
  return reply.stats;
}

async function delivery({ sql } = project()): Promise<Row> {
  const [row, ...more] = await sql`select * from messenger_messages where message_type = 'symphony.webhook'`;
  assert.equal(more.length, 0);
  return row;
}

test("webhook · an event is posted once, signed, as JSON, under the id of its message", async () => {
  await using hook = receiver();
  const subscription = await onWebhook("dead", hook.url);
  const id = await end("failed");
  await work();
  await work();
  assert.equal(hook.received.length, 1);
  const [{ headers, event }] = hook.received;
  const row = await delivery();
  assert.deepEqual([headers.get("webhook-id"), headers.get("content-type")], [row.id, "application/json"]);
  assert.match(headers.get("traceparent") ?? "", /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  assert.deepEqual(event, row.body);
  assert.deepEqual([event.subscription, event.event, event.message.id, event.message.error], [
    subscription,
    "dead",
    id,
    "no answer",
  ]);
  assert.deepEqual([row.status, row.result], ["completed", { status: 204 }]);
});

test("webhook · after a 500 it is sent again with the same id and body, freshly signed", async () => {
  await using hook = receiver([new Response("out of order ".repeat(100), { status: 500 })]);
  await onWebhook("completed", hook.url);
  await end("completed");
  await work();
  const row = await delivery();
  assert.deepEqual([row.status, row.retry_count, row.max_retries, row.error_class], ["pending", 1, 8, "NotAccepted"]);
  assert.ok(row.available_at.getTime() - row.updated_at.getTime() >= 5_000);
  assert.match(row.last_error, /^127\.0\.0\.1:\d+ responded with 500: out of order/);
  assert.ok(row.last_error.length < 250);
  await work();
  const [first, second] = hook.received;
  assert.deepEqual(second.event, first.event);
  assert.equal(second.headers.get("webhook-id"), first.headers.get("webhook-id"));
  assert.equal((await delivery()).status, "completed");
});

test("webhook · Retry-After delays the next delivery", async () => {
  await using hook = receiver([new Response(null, { status: 429, headers: { "retry-after": "600" } })]);
  await onWebhook("completed", hook.url);
  await end("completed");
  await work();
  const { available_at, updated_at, retry_count } = await delivery();
  assert.equal(retry_count, 1);
  assert.ok(available_at.getTime() - updated_at.getTime() >= 600_000);
});

test("webhook · 410 ends the subscription, and the delivery as a dead letter; later events are not sent", async () => {
  const { sql } = project();
  await using hook = receiver([new Response("no more", { status: 410 })]);
  await onWebhook("completed", hook.url);
  await end("completed");
  await work();
  const [{ enabled, disabled_reason }] = await sql`select enabled, disabled_reason from messenger.subscriptions`;
  assert.equal(enabled, false);
  assert.match(disabled_reason, /^127\.0\.0\.1:\d+ responded with 410: no more$/);
  assert.equal((await deadLetterOf(sql, (await delivery()).id)).error_class, "Gone");
  await end("completed");
  await work();
  assert.equal(hook.received.length, 1);
});

test("webhook · a redirect is not followed", async () => {
  await using elsewhere = receiver();
  await using hook = receiver([new Response(null, { status: 307, headers: { location: elsewhere.url } })]);
  await onWebhook("completed", hook.url);
  await end("completed");
  await work();
  assert.deepEqual([(await delivery()).retry_count, elsewhere.received.length], [1, 0]);
});

test("webhook · a delivery whose subscription has ended meanwhile is dropped", async () => {
  const { sql } = project();
  await using hook = receiver();
  const id = await onWebhook("completed", hook.url);
  await end("completed");
  await sql`select messenger.off(${id})`;
  await work();
  assert.deepEqual([(await delivery()).result, hook.received.length], [{ skipped: "unsubscribed" }, 0]);
});

test("webhook · failed deliveries are ordinary dead letters, have no events, and can be retried", async () => {
  const { sql } = project();
  await using hook = receiver(Array.from({ length: 9 }, () => new Response(null, { status: 500 })));
  await onWebhook("completed", hook.url);
  await onWebhook("dead", hook.url);
  await end("completed");
  for (let n = 0; n < 9; n++) await work();
  const row = await delivery();
  assert.equal(row.status, "failed");
  const { attempts, id } = await deadLetterOf(sql, row.id);
  assert.equal(attempts.length, 9);
  assert.doesNotMatch(JSON.stringify([row, attempts]), /s3cret/, "the URL may be a secret");
  await sql`select * from messenger_retry_failed(array[${id}]::uuid[])`;
  await work();
  assert.equal((await messageOf(sql, row.id)).status, "completed");
});

test("webhook · a private address makes a dead letter at once, without any request", async () => {
  const { sql } = guarded();
  await using hook = receiver();
  await onWebhook("completed", hook.url, guarded());
  await onWebhook("completed", hook.url.replace(/^http:/, "https:"), guarded());
  await end("completed", guarded());
  await work(guarded());
  const deadLetters = await sql`select error, error_class from messenger_failed_messages order by error`;
  assert.deepEqual(deadLetters.map(({ error, error_class }) => [error, error_class]), [
    ["127.0.0.1 leads to 127.0.0.1, which is not a public address.", "PrivateAddress"],
    ["The URL of a webhook must begin with https://.", "PrivateAddress"],
  ]);
  assert.equal(hook.received.length, 0);
});

test("webhook · wakes a worker at commit, like a dispatch", async () => {
  const { sql, url } = project();
  await using hook = receiver();
  await onWebhook("completed", hook.url);
  await sql`select messenger_start(${`${url}/functions/v1`})`;
  try {
    await end("completed");
    const [{ wakeups }] = await sql`select count(*)::int as wakeups from messenger.wakeups`;
    assert.ok(wakeups > 0);
  } finally {
    await callValue(sql, "messenger_stop");
  }
});
