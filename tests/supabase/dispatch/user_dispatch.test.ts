// messenger_user_dispatch: the messages that a signed-in user may send and see.
import assert from "node:assert/strict";
import type { TransactionSql } from "postgres";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, claim, deadLetterOf, dispatch, messageOf, settle } from "../bus.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject();
const [ada, bob] = [crypto.randomUUID(), crypto.randomUUID()];

Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await call(project().sql, "messenger_register", {
    types: [
      { type: "Wish", dispatchable_by: "user", queue: "wishes", priority: 3, retry: { max_retries: 1 } },
      { type: "Secret", dispatchable_by: "service" },
    ],
  });
});

const asUser = <Result>(user: string, work: (sql: TransactionSql) => Promise<Result>) =>
  asRole(project().sql, "authenticated", work, user);
const wish = (user: string, args: Record<string, unknown> = {}) =>
  asUser(user, async (sql) => (await call(sql, "messenger_user_dispatch", { type: "Wish", ...args }))[0]);
const stored = async () => (await project().sql`select from messenger_messages`).length;

test("user · an allowed type is stored with the type's route and the token's user", async () => {
  const reply = await wish(ada, {
    payload: { want: "tea" },
    headers: { traceparent: "00-1", "x-request-id": "r" },
    metadata: { a: 1 },
  });
  const row = await messageOf(project().sql, reply.id);
  assert.deepEqual([reply.duplicate, reply.status, reply.transport, reply.queue], [
    false,
    "pending",
    "supabase",
    "wishes",
  ]);
  assert.deepEqual([row.created_by, row.queue_name, row.priority, row.max_retries], [ada, "wishes", 3, 1]);
  assert.deepEqual([row.body, row.headers, row.metadata], [{ want: "tea" }, {
    traceparent: "00-1",
    "x-request-id": "r",
    "x-symphony-user": ada,
  }, { a: 1 }]);
});

test("user · metadata that claim another user do not change the message's user", async () => {
  const { id } = await wish(ada, { metadata: { created_by: bob, user_id: bob } });
  assert.equal((await messageOf(project().sql, id)).created_by, ada);
});

test("user · a type for services and a missing one get the same error", async () => {
  const replies = [];
  for (const type of ["Secret", "Nonsense", "'; --", "", null]) {
    replies.push(await assertRejected(wish(ada, { type }), "SM_TYPE_FORBIDDEN", 403));
  }
  assert.equal(new Set(replies).size, 1);
  assert.equal(await stored(), 0);
});

test("user · headers other than the tracing ones are rejected by name", async () => {
  const message = await assertRejected(
    wish(ada, { headers: { traceparent: "x", "x-schedule": "nightly" } }),
    "SM_FIELD_FORBIDDEN",
    403,
  );
  assert(message.includes("x-schedule"), message);
  assert.equal(await stored(), 0);
});

test("user · a caller without a signed-in user is rejected, with a token without a user, too", async () => {
  const { sql } = project();
  await assertRejected(sql`select * from messenger_user_dispatch('Wish')`, "SM_UNAUTHENTICATED", 401);
  await assertRejected(
    asRole(sql, "authenticated", (tx) => call(tx, "messenger_user_dispatch", { type: "Wish" })),
    "SM_UNAUTHENTICATED",
    401,
  );
});

test("user · anon may not even call it", async () => {
  const work = asRole(project().sql, "anon", (sql) => call(sql, "messenger_user_dispatch", { type: "Wish" }), ada);
  assert.equal((await errorOf(work)).code, "42501");
});

test("user · the payload's rules apply to users, too", async () => {
  await assertRejected(wish(ada, { payload: { n: "x".repeat(262144) } }), "SM_PAYLOAD_TOO_LARGE", 413);
  await assertRejected(wish(ada, { delay: "-1 s" }), "SM_DELAY");
  await assertRejected(wish(ada, { idempotency_key: "" }), "SM_IDEMPOTENCY_KEY");
  await assertRejected(
    asUser(ada, (sql) => sql.unsafe(`select * from messenger_user_dispatch('Wish', '[]')`)),
    "SM_PAYLOAD_NOT_OBJECT",
  );
  await assertRejected(
    asUser(ada, (sql) => sql.unsafe(`select * from messenger_user_dispatch('Wish', headers => '[]')`)),
    "SM_HEADERS_NOT_OBJECT",
  );
  await assertRejected(
    asUser(ada, (sql) => sql.unsafe(`select * from messenger_user_dispatch('Wish', '{"n": 1e131071}')`)),
    "SM_NUMBER_RANGE",
    422,
  );
  assert.equal(await stored(), 0);
});

test("user · a null parameter means its default", async () => {
  const { id } = await wish(ada, { payload: null, headers: null, metadata: null, delay: null });
  assert.deepEqual((await messageOf(project().sql, id)).body, {});
});

test("scope · users and services have separate keys: none sees or occupies another's", async () => {
  const { sql } = project();
  const key = { idempotency_key: "order-1" };
  const replies = [
    await wish(ada, key),
    await wish(bob, key),
    await dispatch(sql, { type: "Wish", queue: "wishes", ...key }),
  ];
  assert(replies.every(({ duplicate }) => !duplicate));
  assert.equal(await stored(), 3);
  assert.deepEqual([(await wish(ada, key)).id, (await wish(bob, key)).id], [replies[0].id, replies[1].id]);
  const scopes = await sql`select scope from messenger.idempotency_keys order by scope`;
  assert.deepEqual(scopes.map(({ scope }) => scope).toSorted(), [ada, bob, "service"].toSorted());
});

test("limit · at most this number of unfinished messages per user, and finished ones do not count", async () => {
  const { sql } = project();
  await sql`update messenger.settings set max_unfinished_per_user = 2`;
  await wish(ada);
  await wish(ada);
  await assertRejected(wish(ada), "SM_RATE", 429);
  assert.equal((await wish(bob)).duplicate, false);
  const rows = await claim(sql, { batch: 1 });
  await assertRejected(wish(ada), "SM_RATE", 429);
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  assert.equal((await wish(ada)).duplicate, false);
});

test("limit · zero admits no user, and services are not counted", async () => {
  const { sql } = project();
  await sql`update messenger.settings set max_unfinished_per_user = 0`;
  await assertRejected(wish(ada), "SM_RATE", 429);
  assert((await dispatch(sql)).id);
});

test("reads · users see the granted columns of their own messages and nothing else", async () => {
  const { sql } = project();
  const own = await wish(ada);
  await wish(bob);
  await dispatch(sql);
  const rows = await asUser(
    ada,
    (tx) =>
      tx`select id, message_type, status, progress, result, created_at, available_at, processed_at
        from public.messenger_messages`,
  );
  assert.deepEqual(rows.map(({ id }) => id), [own.id]);
  for (
    const column of [
      "body",
      "headers",
      "metadata",
      "last_error",
      "error_class",
      "locked_by",
      "created_by",
      "fence",
      "idempotency_key",
    ]
  ) {
    const error = await errorOf(asUser(ada, (tx) => tx`select ${tx(column)} from public.messenger_messages`));
    assert.equal(error.code, "42501", column);
  }
});

test("reads · without a user no row is visible", async () => {
  await wish(ada);
  const rows = await asRole(project().sql, "authenticated", (tx) => tx`select id from public.messenger_messages`);
  assert.equal(rows.length, 0);
});

test("reads · dead letters, transports and schedules are closed to users", async () => {
  const { sql } = project();
  const { id } = await wish(ada);
  for (let fence = 1; fence <= 2; fence++) {
    const [row] = await sql`select * from messenger_claim_one(${id}, 'w')`;
    await settle(sql, [{ id, fence: row.fence, outcome: "failed", error: "inside knowledge" }]);
  }
  assert.equal((await deadLetterOf(sql, id)).error, "inside knowledge");
  for (const table of ["messenger_failed_messages", "messenger_transports", "messenger_schedules"]) {
    assert.equal((await errorOf(asUser(ada, (tx) => tx`select 1 from ${tx(table)}`))).code, "42501", table);
  }
});

test("writes · users change no row, not even their own", async () => {
  const { id } = await wish(ada);
  for (
    const attack of [
      "delete from messenger_messages",
      "update messenger_messages set status = 'completed'",
      "truncate messenger_messages",
    ]
  ) {
    assert.equal((await errorOf(asUser(ada, (tx) => tx.unsafe(attack)))).code, "42501", attack);
  }
  const insert = "insert into messenger_messages (message_type) values ('Secret')";
  assert.equal((await errorOf(asUser(ada, (tx) => tx.unsafe(insert)))).code, "42501");
  assert.equal((await messageOf(project().sql, id)).status, "pending");
});
