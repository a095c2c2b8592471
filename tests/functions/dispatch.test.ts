// Replies of the dispatch edge function: the stored message, the reply, and the state that a sender can read.
import assert from "node:assert/strict";
import { test } from "../project.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";

// No code handles this type, so the message stays pending whatever worker is active.
const NOTE = { type: "TestNote", payload: { text: "héllo \u{1F3B6}", big: 9007199254740991, nested: [{ a: null }] } };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;

const { target, project } = useTarget();

test("dispatch edge function · returns 201 with exactly the documented fields", async () => {
  const { status, headers, body } = await target().call("dispatch", { json: { message: NOTE } });
  assert.equal(status, 201);
  assert.ok(headers.get("x-request-id"));
  assert.match(String(body.messageId), UUID);
  assert.match(String(body.scheduledAt), DATE);
  assert.deepEqual({ ...body, messageId: "id", scheduledAt: "date" }, {
    success: true,
    messageId: "id",
    transport: "supabase",
    queue: "default",
    scheduledAt: "date",
    idempotencyKey: null,
    duplicate: false,
    status: "pending",
  });
});

testLocally("dispatch edge function · every option is stored in the row", async () => {
  const key = crypto.randomUUID();
  const { body } = await target().call("dispatch", {
    json: {
      message: { ...NOTE, metadata: { tenant: "a", both: 1 } },
      options: {
        transport: "supabase",
        queue: "letters",
        priority: 10,
        scheduledAt: "2031-01-31T09:00:00+01:00",
        idempotencyKey: key,
        idempotencyMode: "ignore",
        idempotencyWindow: 60_000,
        maxRetries: 0,
        expiresAt: "2032-01-01T00:00:00Z",
        headers: { "x-kind": "test" },
        metadata: { both: 2 },
      },
    },
  });
  const [row] = await project().sql`select * from messenger_messages where id = ${String(body.messageId)}`;
  assert.deepEqual(row.body, NOTE.payload);
  assert.deepEqual(row.metadata, { tenant: "a", both: 2 });
  assert.deepEqual(row.headers, { "x-kind": "test" });
  assert.deepEqual([row.queue_name, row.priority, row.max_retries], ["letters", 10, 0]);
  assert.deepEqual(row.available_at, new Date("2031-01-31T08:00:00Z"));
  assert.deepEqual(row.expires_at, new Date("2032-01-01T00:00:00Z"));
  assert.deepEqual([row.idempotency_key, row.created_by], [key, null]);
  assert.equal(Date.parse(String(body.scheduledAt)), Date.parse("2031-01-31T08:00:00Z"));
  assert.deepEqual([body.queue, body.idempotencyKey], ["letters", key]);
});

test("dispatch edge function · a delay in milliseconds sets the message's time", async () => {
  const before = Date.now();
  const { body } = await target().call("dispatch", { json: { message: NOTE, options: { delay: 3_600_000 } } });
  const moved = Date.parse(String(body.scheduledAt)) - before;
  assert.ok(Math.abs(moved - 3_600_000) < 60_000, `${moved} ms`);
});

test("dispatch edge function · a repeated key returns 200 with the first message, in header and options", async () => {
  const key = crypto.randomUUID();
  const first = await target().call("dispatch", { json: { message: NOTE }, headers: { "Idempotency-Key": key } });
  const second = await target().call("dispatch", { json: { message: NOTE, options: { idempotencyKey: key } } });
  const third = await target().call("dispatch", {
    json: { message: NOTE, options: { idempotencyKey: key } },
    headers: { "Idempotency-Key": key },
  });
  assert.deepEqual([first.status, second.status, third.status], [201, 200, 200]);
  assert.deepEqual([first.body.duplicate, first.body.idempotencyKey], [false, key]);
  assert.deepEqual({ ...second.body, duplicate: false }, first.body);
  assert.deepEqual(third.body, second.body);
  assert.equal(second.body.duplicate, true);
});

test("dispatch edge function · concurrent sends with one key store one message, one reply is new", async () => {
  const json = { message: NOTE, options: { idempotencyKey: crypto.randomUUID() } };
  const replies = await Promise.all(Array.from({ length: 20 }, () => target().call("dispatch", { json })));
  assert.equal(new Set(replies.map(({ body }) => body.messageId)).size, 1);
  assert.deepEqual(replies.map(({ status }) => status).sort(), [...Array(19).fill(200), 201]);
});

test("dispatch edge function · a key used for another message is a conflict", async () => {
  const options = { idempotencyKey: crypto.randomUUID() };
  await target().call("dispatch", { json: { message: NOTE, options } });
  for (const other of [{ ...NOTE, type: "TestOther" }, { ...NOTE, payload: {} }]) {
    const reply = await target().call("dispatch", { json: { message: other, options } });
    assertRejected(reply, 409, "SM_IDEMPOTENCY_MISMATCH");
  }
  const elsewhere = await target().call("dispatch", { json: { message: NOTE, options: { ...options, queue: "b" } } });
  assertRejected(elsewhere, 409, "SM_IDEMPOTENCY_MISMATCH");
});

test("dispatch edge function · a batch returns its results in the order of its messages", async () => {
  const key = crypto.randomUUID();
  const one = (text: string, options?: Record<string, unknown>) => ({
    message: { ...NOTE, payload: { text } },
    ...(options && { options }),
  });
  const { status, body } = await target().call("dispatch/batch", {
    json: { messages: [one("a"), one("b", { idempotencyKey: key }), one("b", { idempotencyKey: key })] },
  });
  const results = body.results as Record<string, unknown>[];
  assert.deepEqual([status, Object.keys(body), body.success], [201, ["success", "results"], true]);
  assert.deepEqual(results.map(({ duplicate }) => duplicate), [false, false, true]);
  assert.deepEqual(results.map(({ idempotencyKey }) => idempotencyKey), [null, key, key]);
  assert.equal(results[1].messageId, results[2].messageId);
  assert.deepEqual(Object.keys(results[0]).sort(), [
    "duplicate",
    "idempotencyKey",
    "messageId",
    "queue",
    "scheduledAt",
    "status",
    "success",
    "transport",
  ]);
});

test("dispatch edge function · a batch that is not atomic returns 207 and an error per bad message", async () => {
  const before = await target().countMessages();
  const { status, body } = await target().call("dispatch/batch", {
    json: {
      atomic: false,
      messages: [
        { message: NOTE },
        { message: NOTE, options: { priority: 11 } },
        { message: NOTE, options: { priority: "5" } },
        5,
        { message: { type: "ExampleSlow", payload: { ms: "no" } } },
        { message: NOTE, options: { idempotencyKey: "" } },
        { message: NOTE },
      ],
    },
  });
  const results = body.results as { success: boolean; error?: { code: string; message: string; hint: string } }[];
  assert.deepEqual([status, body.success], [207, false]);
  assert.deepEqual(results.map(({ success, error }) => success || error?.code), [
    true,
    "SM_PRIORITY",
    "SM_PRIORITY",
    "SM_BODY",
    "SM_PAYLOAD",
    "SM_IDEMPOTENCY_KEY",
    true,
  ]);
  for (const { error } of results) assert.ok(!error || (error.hint && error.message));
  assert.equal(await target().countMessages(), before + 2);
});

test("dispatch edge function · a thousand messages fit into one batch", async () => {
  const before = await target().countMessages();
  const messages = Array.from({ length: 1_000 }, (_, n) => ({ message: { type: "TestNote", payload: { n } } }));
  const { status, body } = await target().call("dispatch/batch", { json: { messages } });
  const ids = (body.results as { messageId: string }[]).map(({ messageId }) => messageId);
  assert.equal(status, 201);
  assert.equal(new Set(ids).size, 1_000);
  assert.deepEqual([...ids].sort(), ids, "ids rise in the order of the batch");
  assert.equal(await target().countMessages(), before + 1_000);
});

test("dispatch edge function · the state of a message has exactly the documented fields", async () => {
  const { body: sent } = await target().call("dispatch", { json: { message: NOTE } });
  const { status, body } = await target().call(`dispatch/${sent.messageId}`);
  assert.equal(status, 200);
  assert.match(String(body.createdAt), DATE);
  assert.match(String(body.availableAt), DATE);
  assert.deepEqual({ ...body, createdAt: "", availableAt: "" }, {
    id: sent.messageId,
    type: "TestNote",
    status: "pending",
    progress: null,
    result: null,
    createdAt: "",
    availableAt: "",
    processedAt: null,
  });
});

testLocally(
  "dispatch edge function · a caller's trace is stored in the message's headers; its own headers take precedence",
  async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const headersOf = async (headers: Record<string, string>, own?: Record<string, unknown>) => {
      const json = { message: NOTE, ...(own && { options: { headers: own } }) };
      const { body } = await target().call("dispatch", { json, headers });
      const [row] = await project().sql`select headers from messenger_messages where id = ${String(body.messageId)}`;
      return row.headers;
    };
    assert.deepEqual(await headersOf({ traceparent, "x-request-id": "order-1" }), {
      traceparent,
      "x-request-id": "order-1",
    });
    assert.deepEqual(await headersOf({ traceparent }, { traceparent: "mine" }), { traceparent: "mine" });
    assert.deepEqual(await headersOf({ traceparent: "garbled" }), {});
  },
);

test("dispatch edge function · a caller's request id is returned, a dangerous one is not", async () => {
  const call = (id: string) => target().call("dispatch", { json: {}, headers: { "x-request-id": id } });
  const kept = await call("order-1");
  assert.equal(assertRejected(kept, 400, "SM_BODY") !== "" && kept.headers.get("x-request-id"), "order-1");
  assert.notEqual((await call("<script>")).headers.get("x-request-id"), "<script>");
});
