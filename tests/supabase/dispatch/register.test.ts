// messenger_register: the definitions of code become the rows that SQL uses.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { callValue, dispatch, setClock } from "../bus.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const register = (types: unknown[], sql = project().sql) => callValue(sql, "messenger_register", { types });
const typeOf = async (type: string) =>
  (await project()
    .sql`select *, retry_multiplier::numeric as multiplier from messenger.message_types where type = ${type}`)[0];

test("register · a type alone has the default policy", async () => {
  assert.equal(await register([{ type: "Mail" }]), "1");
  const { registered_at: _, multiplier: __, ...row } = await typeOf("Mail");
  assert.deepEqual(row, {
    type: "Mail",
    transport_name: null,
    queue_name: null,
    priority: null,
    dispatchable_by: "service",
    max_retries: 3,
    retry_delay_ms: "1000",
    retry_multiplier: 2,
    retry_max_delay_ms: "600000",
    retry_jitter: 0.2,
    timeout_ms: null,
    aliases: [],
    sql_handler: null,
  });
});

test("register · every given field is stored, by service_role", async () => {
  const retry = { max_retries: 7, delay_ms: 5, multiplier: 1.5, max_delay_ms: 70, jitter: 0 };
  const types = [{
    type: "Mail",
    transport: "post",
    queue: "q",
    priority: 9,
    dispatchable_by: "user",
    retry,
    timeout_ms: 30000,
    aliases: ["Old.Mail"],
  }];
  await asRole(project().sql, "service_role", (sql) => callValue(sql, "messenger_register", { types }));
  const row = await typeOf("Mail");
  assert.deepEqual([row.transport_name, row.queue_name, row.priority, row.dispatchable_by], ["post", "q", 9, "user"]);
  assert.deepEqual([
    row.max_retries,
    row.retry_delay_ms,
    Number(row.multiplier),
    row.retry_max_delay_ms,
    row.retry_jitter,
  ], [7, "5", 1.5, "70", 0]);
  assert.deepEqual([row.timeout_ms, row.aliases], ["30000", ["Old.Mail"]]);
});

test("register · repeated, it replaces the earlier definition", async () => {
  await register([{ type: "Mail", queue: "q", priority: 9, retry: { max_retries: 7 } }]);
  await register([{ type: "Mail", queue: "p" }]);
  const row = await typeOf("Mail");
  assert.deepEqual([row.queue_name, row.priority, row.max_retries], ["p", null, 3]);
});

test("register · unchanged types are not written again", async () => {
  const { sql } = project();
  const types = [{ type: "Mail", queue: "q", aliases: ["A"] }, { type: "Sms" }];
  await register(types);
  const before =
    await sql`select type, xmin::text from messenger.message_types where type not like 'symphony.%' order by type`;
  await setClock(sql, "1 hour");
  await register(types);
  assert.deepEqual([
    ...await sql`select type, xmin::text from messenger.message_types where type not like 'symphony.%' order by type`,
  ], [...before]);
  await register([{ type: "Sms", priority: 2 }]);
  const after =
    await sql`select type, xmin::text from messenger.message_types where type not like 'symphony.%' order by type`;
  assert.deepEqual(after.map(({ xmin }, n) => xmin === before[n].xmin), [true, false]);
});

test("register · a transport without a row becomes a database queue; one with a row stays as it is", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type, enabled) values ('broker', 'redis', false)`;
  await register([{ type: "A", transport: "post" }, { type: "B", transport: "broker" }, {
    type: "C",
    transport: "post",
  }]);
  const rows =
    await sql`select name, type, enabled from messenger_transports where name in ('post', 'broker') order by name`;
  assert.deepEqual(rows.map((row) => Object.values(row)), [["broker", "redis", false], ["post", "supabase", true]]);
  assert.equal((await dispatch(sql, { type: "A" })).transport, "post");
});

test("register · sql_handler cannot be set through it, by services least of all", async () => {
  const { sql } = project();
  await register([{ type: "Mail", sql_handler: "public.evil" }]);
  assert.equal((await typeOf("Mail")).sql_handler, null);
  const direct = asRole(
    sql,
    "service_role",
    (tx) => tx`update messenger.message_types set sql_handler = 'public.evil'`,
  );
  assert.equal((await errorOf(direct)).code, "42501");
  await sql`update messenger.message_types set sql_handler = 'shop.handle'`;
  await register([{ type: "Mail", priority: 4 }]);
  assert.equal((await typeOf("Mail")).sql_handler, "shop.handle");
});

test("register · input that is no list of types is rejected and nothing is stored", async () => {
  const { sql } = project();
  for (
    const types of [
      "null",
      "{}",
      "5",
      "[5]",
      "[null]",
      "[{}]",
      '[{"type": null}]',
      '[{"type": 5}]',
      '[{"type": "a b"}]',
    ]
  ) {
    await assertRejected(sql.unsafe(`select messenger_register('${types}')`), "SM_TYPE");
  }
  await assertRejected(sql`select messenger_register(null)`, "SM_TYPE");
  await assertRejected(
    sql.unsafe(`select messenger_register('[{"type": "Good"}, {"type": "${"a".repeat(129)}"}]')`),
    "SM_TYPE",
  );
  await assertRejected(
    register(Array.from({ length: 1001 }, (_, n) => ({ type: `T${n}` }))),
    "SM_BATCH_TOO_LARGE",
    413,
  );
  assert.equal((await sql`select from messenger.message_types where type not like 'symphony.%'`).length, 0);
});

const BAD: [fields: Record<string, unknown>, code: string, sentence: RegExp][] = [
  [{ priority: 11 }, "SM_PRIORITY", /^Bad: priority must be a whole number from 1 to 10, not 11/],
  [{ priority: 5.5 }, "SM_PRIORITY", /^Bad: priority must .* not 5\.5/],
  [{ priority: "5" }, "SM_PRIORITY", /^Bad: priority must .* not "5"/],
  [{ queue: "A b" }, "SM_QUEUE", /^Bad: queue must be 1 to 63 .* not "A b"/],
  [{ queue: 5 }, "SM_QUEUE", /^Bad: queue must/],
  [{ queue: "q".repeat(64) }, "SM_QUEUE", /^Bad: queue must/],
  [{ transport: "A b" }, "SM_TRANSPORT", /^Bad: transport must/],
  [{ dispatchable_by: "anyone" }, "SM_SETTING", /^Bad: dispatchable_by must be "service" or "user", not "anyone"/],
  [{ timeout_ms: 0 }, "SM_SETTING", /^Bad: timeout_ms must be .* from 1 to 86400000000/],
  [{ timeout_ms: 1e300 }, "SM_SETTING", /^Bad: timeout_ms must/],
  [{ aliases: "Old" }, "SM_TYPE", /^Bad: aliases must be an array/],
  [{ aliases: ["Old", "a b"] }, "SM_TYPE", /^Bad: aliases must .* not "a b"/],
  [{ aliases: [null] }, "SM_TYPE", /^Bad: aliases must .* not null/],
  [{ retry: 5 }, "SM_SETTING", /^Bad: retry must be an object, not 5/],
  [
    { retry: { max_retries: 101 } },
    "SM_MAX_RETRIES",
    /^Bad: retry\.max_retries must be a whole number from 0 to 100, not 101/,
  ],
  [{ retry: { max_retries: "many" } }, "SM_MAX_RETRIES", /^Bad: retry\.max_retries must .* not "many"/],
  [{ retry: { delay_ms: -1 } }, "SM_SETTING", /^Bad: retry\.delay_ms must/],
  [{ retry: { delay_ms: 0.5 } }, "SM_SETTING", /^Bad: retry\.delay_ms must/],
  [{ retry: { max_delay_ms: 86_400_000_001 } }, "SM_SETTING", /^Bad: retry\.max_delay_ms must/],
  [{ retry: { multiplier: 0.5 } }, "SM_SETTING", /^Bad: retry\.multiplier must be a number from 1 to 100, not 0\.5/],
  [{ retry: { multiplier: 101 } }, "SM_SETTING", /^Bad: retry\.multiplier must/],
  [{ retry: { jitter: 2 } }, "SM_SETTING", /^Bad: retry\.jitter must be a number from 0 to 1, not 2/],
  [{ retry: { jitter: true } }, "SM_SETTING", /^Bad: retry\.jitter must/],
];

test("register · values out of range are rejected by type and field, and nothing is stored", async () => {
  const { sql } = project();
  for (const [fields, code, sentence] of BAD) {
    assert.match(await assertRejected(register([{ type: "Good" }, { type: "Bad", ...fields }]), code), sentence);
  }
  const wild = sql`select messenger_register('[{"type": "Bad", "priority": 1e131071}]')`;
  assert.match(await assertRejected(wild, "SM_PRIORITY"), /not a number outside the range of a double/);
  assert.equal((await sql`select from messenger.message_types where type not like 'symphony.%'`).length, 0);
});

test("register · the limits themselves are accepted, whole numbers in any format, and null means omitted", async () => {
  const { sql } = project();
  const most = { max_retries: 100, delay_ms: 86_400_000_000, multiplier: 100, max_delay_ms: 86_400_000_000, jitter: 1 };
  const least = { max_retries: 0, delay_ms: 0, multiplier: 1, max_delay_ms: 0, jitter: 0 };
  await register([{ type: "Most", priority: 10, retry: most, timeout_ms: 86_400_000_000 }, {
    type: "Least",
    priority: 1,
    retry: least,
    timeout_ms: 1,
  }]);
  await sql`select messenger_register(
    '[{"type": "Point", "priority": 5.0, "retry": {"max_retries": 2.0, "delay_ms": 1e3}, "timeout_ms": 7.00}]')`;
  await register([{ type: "Null", queue: null, priority: null, retry: null, timeout_ms: null, aliases: null }]);
  const rows =
    await sql`select type, priority, max_retries, retry_delay_ms::int8, timeout_ms::int8 from messenger.message_types
    where type in ('Most', 'Least', 'Point', 'Null') order by type`;
  assert.deepEqual(rows.map((row) => Object.values(row).map(String)), [
    ["Least", "1", "0", "0", "1"],
    ["Most", "10", "100", "86400000000", "86400000000"],
    ["Null", "null", "3", "1000", "null"],
    ["Point", "5", "2", "1000", "7"],
  ]);
});

test("register · concurrent isolates with lists in other orders do not deadlock", async () => {
  await using first = session(project());
  await using second = session(project());
  const types = Array.from({ length: 100 }, (_, n) => ({ type: `T${n}`, transport: `t${n % 7}` }));
  for (let round = 1; round <= 5; round++) {
    const own = types.map((type) => ({ ...type, priority: round }));
    await Promise.all([register(own, first), register(own.toReversed(), second)]);
  }
  const [{ count }] = await project().sql`select count(*) from messenger.message_types where priority = 5`;
  assert.equal(count, "100");
});
