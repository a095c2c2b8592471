// Messages of registered types with nothing but a payload are stored by a statement of their own. It has the results,
// routes, rules and errors of every dispatch.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, dispatch, messageOf, type Row } from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject();
const ada = crypto.randomUUID();

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`insert into messenger_transports (name, type, enabled)
    values ('post', 'supabase', true), ('off', 'supabase', false), ('broker', 'redis', true)`;
  await call(sql, "messenger_register", {
    types: [
      { type: "Plain" },
      { type: "Routed", transport: "post", queue: "mail", priority: 8, retry: { max_retries: 6 } },
      { type: "Wish", dispatchable_by: "user" },
      { type: "Off", transport: "off" },
      { type: "Broker", transport: "broker" },
    ],
  });
});

const stored = async (): Promise<Row[]> => [...await project().sql`select * from messenger_messages order by id`];
const batch = (messages: unknown[], atomic = true) =>
  call(project().sql, "messenger_dispatch_batch", { messages, atomic });
const nested = (depth: number) => JSON.parse(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`);

test("plain · a message has the route and the retries of its type, alone and in a batch", async () => {
  const { sql } = project();
  const alone = await dispatch(sql, { type: "Routed", payload: { a: 1 } });
  const [first, second] = await batch([{ type: "Routed", payload: { a: 1 } }, { type: "Plain" }]);
  for (const { id } of [alone, first]) {
    const row = await messageOf(sql, id);
    assert.deepEqual([row.transport_name, row.queue_name, row.priority, row.max_retries, row.body], [
      "post",
      "mail",
      8,
      6,
      { a: 1 },
    ]);
    assert.deepEqual([row.headers, row.metadata, row.status, row.created_by], [{}, {}, "pending", null]);
  }
  const row = await messageOf(sql, second.id);
  assert.deepEqual([row.transport_name, row.queue_name, row.priority, row.max_retries, row.body], [
    "supabase",
    "default",
    5,
    3,
    {},
  ]);
  assert.deepEqual([alone.duplicate, alone.status, alone.transport, alone.queue], [false, "pending", "post", "mail"]);
  assert.deepEqual(alone.available_at, (await messageOf(sql, alone.id)).available_at);
});

test("plain · a batch returns its elements in order, with ids in the same order", async () => {
  const types = ["Plain", "Routed", "Plain", "Wish"];
  const replies = await batch(Array.from({ length: 200 }, (_, n) => ({ type: types[n % 4], payload: { n } })));
  const rows = await stored();
  assert.deepEqual(replies.map(({ ord }) => ord), rows.map((_, n) => n + 1));
  assert.deepEqual(replies.map(({ id }) => id), rows.map(({ id }) => id));
  assert.deepEqual(rows.map(({ body, message_type }) => [body.n, message_type]), rows.map((_, n) => [n, types[n % 4]]));
});

test("plain · every given field is stored, too", async () => {
  const { sql } = project();
  const fields: [field: string, value: unknown, column?: string][] = [
    ["queue", "other", "queue_name"],
    ["priority", 2],
    ["available_at", new Date(Date.now() + 3_600_000)],
    ["idempotency_key", "k"],
    ["ordering_key", "o"],
    ["transport", "post", "transport_name"],
    ["max_retries", 9],
    ["expires_at", new Date(Date.now() + 3_600_000)],
    ["headers", { h: 1 }],
    ["metadata", { m: 1 }],
  ];
  for (const [field, value, column = field] of fields) {
    const { id } = await dispatch(sql, { type: "Plain", [field]: value });
    assert.deepEqual((await messageOf(sql, id))[column], value, field);
    const [{ id: inBatch }] = await batch([{ type: "Plain", [field]: value }]);
    if (field !== "idempotency_key") assert.deepEqual((await messageOf(sql, inBatch))[column], value, field);
    else assert.equal(inBatch, id, "a duplicate");
  }
  const { id } = await dispatch(sql, { type: "Plain", delay: "1 hour" });
  const { available_at, created_at } = await messageOf(sql, id);
  assert.equal(Math.round((available_at - created_at) / 1000), 3600);
});

test("plain · a mode and a window without a key are rejected", async () => {
  const { sql } = project();
  await assertRejected(dispatch(sql, { type: "Plain", idempotency_mode: "debounce" }), "SM_IDEMPOTENCY_KEY");
  await assertRejected(dispatch(sql, { type: "Plain", idempotency_window: "1 hour" }), "SM_IDEMPOTENCY_KEY");
});

const large = { text: "x".repeat(1000) };
const PAYLOADS: [what: string, payload: string, code: string, status?: number][] = [
  ["an array", "[]", "SM_PAYLOAD_NOT_OBJECT"],
  ["a string", '"x"', "SM_PAYLOAD_NOT_OBJECT"],
  ["a long string", JSON.stringify("x".repeat(1000)), "SM_PAYLOAD_NOT_OBJECT"],
  ["JSON null", "null", "SM_PAYLOAD_NOT_OBJECT"],
  ["a small one with a number that is too large", '{"n": 1e400}', "SM_NUMBER_RANGE", 422],
  ["a small one with a number that is too close to zero", '{"n": 1e-400}', "SM_NUMBER_RANGE", 422],
  [
    "a larger one with a number that is too large",
    JSON.stringify(large).replace("}", ', "n": 1e400}'),
    "SM_NUMBER_RANGE",
    422,
  ],
  ["one that is 65 levels deep", JSON.stringify(nested(65)), "SM_DEPTH"],
  ["one of more than 256 KB", JSON.stringify({ text: "x".repeat(262144) }), "SM_PAYLOAD_TOO_LARGE", 413],
];
for (const [what, payload, code, status] of PAYLOADS) {
  test(`plain · a payload is rejected: ${what}`, async () => {
    const { sql } = project();
    await assertRejected(sql.unsafe("select messenger_dispatch('Plain', $1::text::jsonb)", [payload]), code, status);
    const asUser = (work: string, args: string[]) => asRole(sql, "authenticated", (tx) => tx.unsafe(work, args), ada);
    await assertRejected(asUser("select messenger_user_dispatch('Wish', $1::text::jsonb)", [payload]), code, status);
    const messages = `[{"type": "Plain"}, {"type": "Plain", "payload": ${payload}}]`;
    await assertRejected(sql.unsafe("select messenger_dispatch_batch($1::text::jsonb)", [messages]), code, status);
    assert.deepEqual(await stored(), []);
    const replies = await sql.unsafe("select * from messenger_dispatch_batch($1::text::jsonb, false)", [messages]);
    assert.deepEqual(replies.map(({ error_code }) => error_code), [null, code]);
    assert.equal((await stored()).length, 1);
  });
}

const ELEMENTS: [what: string, element: unknown, code: string, status?: number][] = [
  ["an unknown field", { type: "Plain", colour: "red" }, "SM_UNKNOWN_FIELD"],
  ["a null in a field", { type: "Plain", queue: null }, "SM_QUEUE"],
  ["no object", 5, "SM_TYPE"],
  ["no type", { payload: {} }, "SM_TYPE"],
  ["a type that is a number", { type: 5 }, "SM_TYPE"],
  ["one of the bus's own types", { type: "symphony.event" }, "SM_TYPE_FORBIDDEN", 403],
  ["a disabled transport", { type: "Off" }, "SM_TRANSPORT"],
  ["a transport whose client is not configured", { type: "Broker" }, "SM_TRANSPORT"],
];
for (const [what, element, code, status] of ELEMENTS) {
  test(`plain · an element of a batch is rejected at each position: ${what}`, async () => {
    const good = { type: "Plain" };
    for (const messages of [[element, good], [good, element]]) {
      await assertRejected(batch(messages), code, status);
      assert.deepEqual(await stored(), []);
    }
    const replies = await batch([good, element, good], false);
    assert.deepEqual(replies.map(({ error_code }) => error_code), [null, code, null]);
  });
}

test("plain · a type whose transport is disabled or not configured is rejected", async () => {
  const { sql } = project();
  for (const type of ["Off", "Broker"]) await assertRejected(dispatch(sql, { type }), "SM_TRANSPORT");
  await assertRejected(dispatch(sql, { type: "symphony.event" }), "SM_TYPE_FORBIDDEN", 403);
  assert.deepEqual(await stored(), []);
});

test("plain · beside registered types, an element of an unregistered one is stored", async () => {
  await batch([{ type: "Plain" }, { type: "Unregistered", payload: { a: 1 } }, { type: "Plain" }]);
  assert.deepEqual((await stored()).map(({ message_type }) => message_type), ["Plain", "Unregistered", "Plain"]);
});

test("plain · a user's message has its user and the header that names the user", async () => {
  const { sql } = project();
  const wish = (args: Record<string, unknown>) =>
    asRole(
      sql,
      "authenticated",
      async (tx) => (await call(tx, "messenger_user_dispatch", { type: "Wish", ...args }))[0],
      ada,
    );
  const { id } = await wish({ payload: { a: 1 } });
  const row = await messageOf(sql, id);
  assert.deepEqual([row.created_by, row.headers, row.body], [ada, { "x-symphony-user": ada }, { a: 1 }]);
  const delayed = await messageOf(sql, (await wish({ delay: "1 hour" })).id);
  assert.equal(Math.round((delayed.available_at - delayed.created_at) / 1000), 3600);
  const keyed = await wish({ idempotency_key: "k" });
  assert.deepEqual(await wish({ idempotency_key: "k" }), { ...keyed, duplicate: true });
  assert.deepEqual((await messageOf(sql, (await wish({ metadata: { m: 1 } })).id)).metadata, { m: 1 });
  const traced = await messageOf(sql, (await wish({ headers: { traceparent: "00-1" } })).id);
  assert.equal(traced.headers.traceparent, "00-1");
});

test("plain · a service's message has the user of its transaction, alone and in a batch", async () => {
  const ids = await asRole(project().sql, "service_role", async (tx) => [
    (await dispatch(tx, { type: "Plain" })).id,
    (await call(tx, "messenger_dispatch_batch", { messages: [{ type: "Plain" }] }))[0].id,
  ], ada);
  for (const id of ids) {
    const { created_by, headers } = await messageOf(project().sql, id);
    assert.deepEqual([created_by, headers], [ada, {}]);
  }
});

test("plain · each stored message counts as dispatched", async () => {
  const { sql } = project();
  await dispatch(sql, { type: "Plain" });
  await batch([...Array(7).fill({ type: "Plain" }), ...Array(2).fill({ type: "Routed" })]);
  const { byMessageType } = await callValue(sql, "messenger_metrics");
  assert.deepEqual([byMessageType.Plain.dispatched, byMessageType.Routed.dispatched], [8, 2]);
});

test("plain · an element that a trigger suppresses has no message, and the others have theirs", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create function public.skip_odd() returns trigger language plpgsql as $$
    begin
      return case when (new.body ->> 'n')::int % 2 = 0 then new end;
    end $$;
    create trigger skip_odd before insert on messenger_messages for each row execute function public.skip_odd()`);
  try {
    const replies = await batch([0, 1, 2, 3].map((n) => ({ type: "Plain", payload: { n } })));
    const numbers = new Map((await stored()).map(({ id, body }) => [id, body.n]));
    assert.deepEqual(replies.map(({ id }) => numbers.get(id)), [0, undefined, 2, undefined]);
    assert.equal((await dispatch(sql, { type: "Plain", payload: { n: 1 } })).id, null);
  } finally {
    await sql.unsafe("drop function public.skip_odd() cascade");
  }
});

test("plain · in a read-only transaction the error names the primary", async () => {
  const { sql } = project();
  const readOnly = (work: string) => sql.begin("isolation level read committed read only", (tx) => tx.unsafe(work));
  await assertRejected(readOnly("select messenger_dispatch('Plain')"), "SM_UNAVAILABLE", 503);
  await assertRejected(
    readOnly(`select messenger_dispatch_batch('[{"type": "Plain"}]')`),
    "SM_UNAVAILABLE",
    503,
  );
});
