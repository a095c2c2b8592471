// The dispatch edge function and signed-in users: the types they may send, and the messages they can read.
import assert from "node:assert/strict";
import { test } from "../project.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";

const { target, project } = useTarget();
const HELLO = { type: "ExampleUser", payload: { note: "Hello" } };

test("dispatch edge function · a user sends a type that allows it, and reads its state", async () => {
  const user = await target().newUser();
  const json = { message: { ...HELLO, metadata: { from: "app" } }, options: { delay: 60_000, idempotencyKey: "mine" } };
  const sent = await target().call("dispatch", { json, as: user });
  assert.deepEqual([sent.status, sent.body.status, sent.body.idempotencyKey], [201, "pending", "mine"]);
  const read = await target().call(`dispatch/${sent.body.messageId}`, { as: user });
  assert.deepEqual([read.status, read.body.type, read.body.status], [200, "ExampleUser", "pending"]);
  const repeated = await target().call("dispatch", { json, as: user });
  assert.deepEqual([repeated.status, repeated.body.messageId], [200, sent.body.messageId]);
});

test("dispatch edge function · each user has separate idempotency keys", async () => {
  const [ada, bob] = [await target().newUser(), await target().newUser()];
  const json = { message: HELLO, options: { idempotencyKey: "same-key", delay: 60_000 } };
  const ids = [];
  for (const as of [ada, bob, undefined]) ids.push((await target().call("dispatch", { json, as })).body.messageId);
  assert.equal(new Set(ids).size, 3);
});

test("dispatch edge function · another user's message is reported as missing", async () => {
  const [ada, bob] = [await target().newUser(), await target().newUser()];
  const { body } = await target().call("dispatch", { json: { message: HELLO }, as: ada });
  const foreign = await target().call(`dispatch/${body.messageId}`, { as: bob });
  const unknown = await target().call(`dispatch/${crypto.randomUUID()}`, { as: bob });
  assert.equal(assertRejected(foreign, 404, "SM_NOT_FOUND"), assertRejected(unknown, 404, "SM_NOT_FOUND"));
  assert.equal((await target().call(`dispatch/${body.messageId}`)).status, 200, "a service sees it");
});

test("dispatch edge function · a user may not send other types, and cannot find out which exist", async () => {
  const as = await target().newUser();
  const before = await target().countMessages();
  const sentences = new Set<string>();
  for (const message of [{ type: "ExampleQuick" }, { type: "ExampleSlow" }, { type: "NoSuchType" }]) {
    const reply = await target().call("dispatch", { json: { message: { ...message, payload: {} } }, as });
    sentences.add(assertRejected(reply, 403, "SM_TYPE_FORBIDDEN"));
  }
  assert.equal(sentences.size, 1);
  assert.equal(await target().countMessages(), before);
});

for (
  const [field, value] of Object.entries({
    transport: "supabase",
    queue: "letters",
    priority: 10,
    scheduledAt: "2031-01-01T00:00:00Z",
    idempotencyMode: "ignore",
    idempotencyWindow: 1,
    orderingKey: "a",
    maxRetries: 0,
    expiresAt: "2031-01-01T00:00:00Z",
    headers: {},
    metadata: {},
  })
) {
  test(`dispatch edge function · a user may not set the option ${field}`, async () => {
    const before = await target().countMessages();
    const json = { message: HELLO, options: { [field]: value } };
    const reply = await target().call("dispatch", { json, as: await target().newUser() });
    assert.match(assertRejected(reply, 403, "SM_FIELD_FORBIDDEN"), new RegExp(`options\\.${field}`));
    assert.equal(await target().countMessages(), before);
  });
}

test("dispatch edge function · a user may not send batches", async () => {
  const before = await target().countMessages();
  const reply = await target().call("dispatch/batch", {
    json: { messages: [{ message: HELLO }] },
    as: await target().newUser(),
  });
  assertRejected(reply, 403, "SM_FIELD_FORBIDDEN");
  assert.equal(await target().countMessages(), before);
});

test("dispatch edge function · a user's payload is checked against its type's schema", async () => {
  const as = await target().newUser();
  const reply = await target().call("dispatch", { json: { message: { ...HELLO, payload: { note: 5 } } }, as });
  assert.match(assertRejected(reply, 422, "SM_PAYLOAD"), /note/);
});

testLocally(
  "dispatch edge function · the token determines the user, whatever the metadata claims",
  async () => {
    const [ada, bob] = [await target().newUser(), await target().newUser()];
    const metadata = { user_id: bob.id, created_by: bob.id, sub: bob.id };
    const { body } = await target().call("dispatch", { json: { message: { ...HELLO, metadata } }, as: ada });
    const [row] = await project().sql`select created_by, metadata from messenger_messages where id = ${
      String(body.messageId)
    }`;
    assert.deepEqual([row.created_by, row.metadata], [ada.id, metadata]);
  },
);

testLocally("dispatch edge function · a user with too many unfinished messages receives 429", async () => {
  const { sql } = project();
  const as = await target().newUser();
  await sql`update messenger.settings set max_unfinished_per_user = 2`;
  try {
    const send = () => target().call("dispatch", { json: { message: HELLO, options: { delay: 60_000 } }, as });
    assert.deepEqual([(await send()).status, (await send()).status], [201, 201]);
    assertRejected(await send(), 429, "SM_RATE");
    const other = await target().newUser();
    assert.equal((await target().call("dispatch", { json: { message: HELLO }, as: other })).status, 201);
  } finally {
    await sql`update messenger.settings set max_unfinished_per_user = default`;
  }
});
