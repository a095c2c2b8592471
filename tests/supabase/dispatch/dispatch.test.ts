// messenger_dispatch and messenger_dispatch_batch: the stored rows and the results.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  messageOf,
  secondsUntil,
  setClock,
} from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

test("dispatch · returns the stored values", async () => {
  const { sql } = project();
  const [reply] =
    await sql`select * from messenger_dispatch('Greeting', '{"to": "Ada"}', queue => 'letters', priority => 7)`;
  const [row] = await sql`select * from messenger_messages`;
  assert.equal(reply.id, row.id);
  assert.deepEqual([reply.duplicate, reply.status, reply.transport, reply.queue], [
    false,
    "pending",
    "supabase",
    "letters",
  ]);
  assert.deepEqual([row.body, row.priority, row.max_retries, row.retry_count, row.fence], [
    { to: "Ada" },
    7,
    3,
    0,
    "0",
  ]);
  assert.deepEqual(reply.available_at, row.available_at);
});

test("dispatch · a type alone has the default of every option", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  const row = await messageOf(sql, id);
  assert.deepEqual(
    [row.transport_name, row.queue_name, row.priority, row.max_retries, row.status],
    ["supabase", "default", 5, 3, "pending"],
  );
  assert.deepEqual([row.body, row.headers, row.metadata], [{}, {}, {}]);
  for (const field of ["scheduled_at", "expires_at", "processed_at", "idempotency_key", "ordering_key", "created_by"]) {
    assert.equal(row[field], null, field);
  }
});

test("dispatch · a null parameter means its default", async () => {
  const { sql } = project();
  const [reply] = await sql`
    select * from messenger_dispatch('Greeting', payload => null, queue => null, priority => null, available_at => null,
      delay => null,
      idempotency_key => null, idempotency_mode => null, idempotency_window => null, ordering_key => null,
      transport => null,
      max_retries => null, expires_at => null, headers => null, metadata => null)`;
  const row = await messageOf(sql, reply.id);
  assert.deepEqual([row.body, row.headers, row.metadata, row.priority, row.queue_name], [{}, {}, {}, 5, "default"]);
});

test("dispatch · every given field is stored in the row", async () => {
  const { sql } = project();
  const at = new Date(Date.now() + 3_600_000);
  const until = new Date(Date.now() + 7_200_000);
  const { id } = await dispatch(sql, {
    payload: { deep: [1, { two: "zwei" }] },
    queue: "q-1_x",
    priority: 10,
    available_at: at,
    max_retries: 0,
    expires_at: until,
    headers: { traceparent: "00-1" },
    metadata: { tenant: 7 },
    idempotency_key: "once",
  });
  const row = await messageOf(sql, id);
  assert.deepEqual(row.body, { deep: [1, { two: "zwei" }] });
  assert.deepEqual([row.queue_name, row.priority, row.max_retries, row.idempotency_key], ["q-1_x", 10, 0, "once"]);
  assert.deepEqual([row.available_at, row.scheduled_at, row.expires_at], [at, at, until]);
  assert.deepEqual([row.headers, row.metadata], [{ traceparent: "00-1" }, { tenant: 7 }]);
});

test("dispatch · a delay counts from now", async () => {
  const { sql } = project();
  const { id, available_at } = await dispatch(sql, { delay: "90 seconds" });
  const seconds = await secondsUntil(sql, available_at);
  assert(seconds > 80 && seconds <= 90, `${seconds}`);
  assert.deepEqual((await messageOf(sql, id)).scheduled_at, available_at);
  assert.equal((await claim(sql)).length, 0);
});

test("dispatch · a time in the past means now", async () => {
  const { sql } = project();
  const { id, available_at } = await dispatch(sql, { available_at: new Date("2001-01-01T00:00:00Z") });
  assert(Math.abs(await secondsUntil(sql, available_at)) < 5);
  assert.deepEqual((await messageOf(sql, id)).scheduled_at, new Date("2001-01-01T00:00:00Z"));
});

test("dispatch · the row has the time of the bus's clock", async () => {
  const { sql } = project();
  await setClock(sql, "3 days");
  const { created_at } = await messageOf(sql, (await dispatch(sql)).id);
  assert(created_at.getTime() > Date.now() + 2.9 * 86_400_000);
});

test("dispatch · rolled back, there is no message; before the commit no other session sees it", async () => {
  await using writer = session(project());
  const { sql } = project();
  await writer`begin`;
  await dispatch(writer);
  assert.equal((await sql`select from messenger_messages`).length, 0);
  assert.equal((await claim(sql)).length, 0);
  await writer`rollback`;
  assert.equal((await sql`select from messenger_messages`).length, 0);
});

test("dispatch · ids are version 7 and in the order of the messages", async () => {
  const { sql } = project();
  const ids = [await dispatchMany(sql, 200), await dispatchMany(sql, 200)].flat();
  assert(ids.every((id) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id)));
  assert.deepEqual(ids, ids.toSorted());
  assert.equal(new Set(ids).size, 400);
});

test("dispatch · ids made in one microsecond by many sessions differ", async () => {
  const { sql } = project();
  const [{ count }] = await sql`select count(distinct messenger.new_id()) as count from generate_series(1, 20000)`;
  assert.equal(count, "20000");
});

test("dispatch · service_role may, and the row has the user of its token", async () => {
  const user = crypto.randomUUID();
  const reply = await asRole(project().sql, "service_role", (sql) => dispatch(sql), user);
  assert.equal((await messageOf(project().sql, reply.id)).created_by, user);
});

test("dispatch · a registered type's route and retries apply, and arguments override them", async () => {
  const { sql } = project();
  await sql`select messenger_register(
    '[{"type": "Mail", "transport": "post", "queue": "mail", "priority": 8, "retry": {"max_retries": 9}}]')`;
  const routed = await messageOf(sql, (await dispatch(sql, { type: "Mail" })).id);
  assert.deepEqual([routed.transport_name, routed.queue_name, routed.priority, routed.max_retries], [
    "post",
    "mail",
    8,
    9,
  ]);
  const own = await messageOf(
    sql,
    (await dispatch(sql, { type: "Mail", transport: "supabase", queue: "a", priority: 1, max_retries: 2 })).id,
  );
  assert.deepEqual([own.transport_name, own.queue_name, own.priority, own.max_retries], ["supabase", "a", 1, 2]);
});

test("dispatch · a payload of exactly 256 KB is accepted", async () => {
  const { sql } = project();
  const [{ id }] =
    await sql`select * from messenger_dispatch('Greeting', jsonb_build_object('a', repeat('x', 262144 - 9)))`;
  const [{ bytes }] = await sql`select octet_length(body::text) as bytes from messenger_messages where id = ${id}`;
  assert.equal(bytes, 262144);
});

test("dispatch · JSON of depth 64 is accepted, and so are the largest doubles", async () => {
  const { sql } = project();
  const deep = `${'{"a":'.repeat(64)}1${"}".repeat(64)}`;
  assert((await sql.unsafe(`select * from messenger_dispatch('Greeting', '${deep}')`))[0].id);
  assert(
    (await sql`select * from messenger_dispatch('Greeting', '{"n": [1.7976931348623157e308, -5e-324, 0]}')`)[0].id,
  );
});

test("dispatch · strings that look like SQL are stored unchanged", async () => {
  const { sql } = project();
  const payload = { __proto_: "x", "'; drop table": '\u2028\\u0000 "quoted" 💌', nested: { a: null } };
  const { id } = await dispatch(sql, { payload });
  assert.deepEqual((await messageOf(sql, id)).body, payload);
});

test("batch · returns results in order, with the values of each", async () => {
  const { sql } = project();
  const replies = await call(sql, "messenger_dispatch_batch", {
    messages: [{ type: "A", queue: "x" }, { type: "B", payload: { n: 2 }, delay: "1 hour" }, {
      type: "C",
      delay: "60 s",
    }],
  });
  assert.deepEqual(replies.map(({ ord, queue, duplicate }) => [ord, queue, duplicate]), [[1, "x", false], [
    2,
    "default",
    false,
  ], [3, "default", false]]);
  assert(replies.every(({ error, error_code }) => error === null && error_code === null));
  const rows = await sql`select id, message_type from messenger_messages order by id`;
  assert.deepEqual(rows.map(({ id, message_type }) => [id, message_type]), replies.map(({ id }, n) => [id, "ABC"[n]]));
  assert(Math.abs(await secondsUntil(sql, replies[2].available_at) - 60) < 5);
});

test("batch · accepts a thousand", async () => {
  const ids = await dispatchMany(project().sql, 1000);
  assert.equal(new Set(ids).size, 1000);
});

test("batch · not atomic, valid messages are stored and bad ones have their error", async () => {
  const { sql } = project();
  const replies = await call(sql, "messenger_dispatch_batch", {
    messages: [{ type: "A" }, { type: "no good" }, { type: "B", prioritty: 3 }, { type: "C" }],
    atomic: false,
  });
  assert.deepEqual(replies.map(({ error_code }) => error_code), [null, "SM_TYPE", "SM_UNKNOWN_FIELD", null]);
  assert(replies[2].error.includes("prioritty"));
  assert.deepEqual(replies.map(({ id }) => id === null), [false, true, true, false]);
  assert.equal((await sql`select from messenger_messages`).length, 2);
});

test("batch · atomic null means atomic", async () => {
  const { sql } = project();
  await assert.rejects(sql`select * from messenger_dispatch_batch('[{"type": "A"}, {}]', atomic => null)`);
  assert.equal((await sql`select from messenger_messages`).length, 0);
});

test("dispatch · a message for a sync transport is a row that can be claimed", async () => {
  const { sql } = project();
  const { id, transport } = await dispatch(sql, { transport: "sync" });
  assert.equal(transport, "sync");
  assert.deepEqual((await claim(sql, { transport: "sync" })).map((row) => row.id), [id]);
});

test("rows · the constraints reject a row with a contradictory state", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  for (
    const lie of [
      "status = 'pending'",
      "processed_at = now()",
      "locked_by = null",
      "status = 'done'",
      "retry_count = 5, fence = 9",
      "fence = -1",
      "priority = 11",
      "body = '[]'",
    ]
  ) {
    await assert.rejects(sql.unsafe(`update messenger_messages set ${lie} where id = '${id}'`), { code: "23514" }, lie);
  }
  assert.equal(await callValue(sql, "messenger_complete", { id, fence: "1" }), "completed");
});

test("rows · the trigger changes updated_at with every manual update", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  const before = await messageOf(sql, id);
  await setClock(sql, "1 hour");
  await sql`update messenger_messages set metadata = '{"seen": true}' where id = ${id}`;
  assert((await messageOf(sql, id)).updated_at.getTime() > before.updated_at.getTime() + 3_500_000);
});

test("batch · times in every form of ISO 8601 that Postgres prints mean the same in every session", async () => {
  const moments = [
    "2100-01-31T09:00:00Z",
    "2100-01-31 09:00:00+00",
    "2100-01-31T10:00+01:00",
    "2100-01-31T04:30:00.000-0430",
  ];
  for (const [zone, style] of [["UTC", "ISO, MDY"], ["Asia/Kolkata", "German, DMY"]]) {
    await using own = session(project());
    await own.unsafe(`set timezone = '${zone}'; set datestyle = '${style}'`);
    const messages = moments.map((available_at) => ({ type: "T", available_at }));
    const rows = await own`select extract(epoch from b.available_at)::bigint as at from messenger_dispatch_batch(${
      own.json(messages)
    }) b`;
    assert.deepEqual(rows.map(({ at }) => Number(at)), moments.map(() => Date.parse(moments[0]) / 1_000), zone);
  }
});

test("batch · durations with a unit are accepted in every style of Postgres, zero needs no unit", async () => {
  for (const style of ["postgres", "postgres_verbose", "sql_standard", "iso_8601"]) {
    await using own = session(project());
    await own.unsafe(`set intervalstyle = ${style}`);
    for (const duration of ["7 days", "5 seconds", "1 year 2 months 3 days 04:05:06", "0"]) {
      const [{ text }] = await own`select ${duration}::text::interval::text as text`;
      const [{ id }] = await call(own, "messenger_dispatch_batch", { messages: [{ type: "T", delay: text }] });
      const [{ id: single }] = await call(own, "messenger_dispatch", { type: "T", delay: text });
      const rows = await own`select from messenger_messages
        where id in (${id}, ${single}) and available_at = created_at + ${duration}::text::interval`;
      assert.equal(rows.length, 2, `${style}: ${text}`);
    }
  }
});
