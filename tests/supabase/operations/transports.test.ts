// messenger_put_transport and messenger_list_transports: created, changed field by field, and rejected without any
// change.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { callValue, dispatch, type Row } from "../bus.ts";
import { INJECTIONS } from "../monitoring/pages.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

const put = (args: Row): Promise<Row> => callValue(project().sql, "messenger_put_transport", args);
const list = async (): Promise<Row[]> => (await callValue(project().sql, "messenger_list_transports")).transports;
const shown = ({ name, type, config, enabled }: Row) => [name, type, config, enabled];

test("transports · those of the migration are listed, in order of their names", async () => {
  assert.deepEqual((await list()).map(shown), [["supabase", "supabase", {}, true], ["sync", "sync", {}, true]]);
});

test("transports · a new one is by default a queue of this database, enabled, without settings", async () => {
  assert.deepEqual(shown(await put({ name: "mail" })), ["mail", "supabase", {}, true]);
  const told = { name: "cache", type: "redis", config: { url_secret: "REDIS_URL" }, enabled: false };
  assert.deepEqual(shown(await put(told)), ["cache", "redis", { url_secret: "REDIS_URL" }, false]);
  assert.deepEqual((await list()).map(({ name }) => name), ["cache", "mail", "supabase", "sync"]);
  assert.equal((await dispatch(project().sql, { transport: "mail" })).transport, "mail");
});

test("transports · omitted fields stay, config is replaced as a whole", async () => {
  const config = {
    retention: "1 day",
    failed_retention: "2 days",
    idempotency_window: "1 hour",
    ordering_dead_letter: "block",
  };
  const made = await put({ name: "mail", config });
  const off = await put({ name: "mail", enabled: false });
  assert.deepEqual(shown(off), ["mail", "supabase", config, false]);
  assert.deepEqual([off.id, off.created_at], [made.id, made.created_at]);
  assert.ok(off.updated_at > made.updated_at);
  assert.deepEqual(shown(await put({ name: "mail", config: { retention: "0" } })), ["mail", "supabase", {
    retention: "0",
  }, false]);
  assert.deepEqual(shown(await put({ name: "mail", enabled: true, config: {} })), ["mail", "supabase", {}, true]);
});

test("transports · the two built-in ones accept settings, and their own type", async () => {
  assert.deepEqual(shown(await put({ name: "supabase", type: "supabase", config: { retention: "1 hour" } })), [
    "supabase",
    "supabase",
    { retention: "1 hour" },
    true,
  ]);
  assert.equal((await put({ name: "sync", enabled: false })).enabled, false);
});

test("transports · names of 63 letters are accepted", async () => {
  const name = `0-_${"x".repeat(60)}`;
  assert.equal((await put({ name })).name, name);
});

const REJECTED: [what: string, args: Row, code: string][] = [
  ["no name", { name: "" }, "SM_TRANSPORT"],
  ["a name of 64 letters", { name: "x".repeat(64) }, "SM_TRANSPORT"],
  ["capitals in a name", { name: "Mail" }, "SM_TRANSPORT"],
  ["a name that begins with a hyphen", { name: "-mail" }, "SM_TRANSPORT"],
  ["a name with a line break at its end", { name: "mail\n" }, "SM_TRANSPORT"],
  ["an invalid type", { name: "mail", type: "smtp" }, "SM_TRANSPORT"],
  ["another type for supabase", { name: "supabase", type: "redis" }, "SM_TRANSPORT"],
  ["another type for sync", { name: "sync", type: "supabase", enabled: false }, "SM_TRANSPORT"],
  ["a config that is a list", { name: "mail", config: [] }, "SM_TRANSPORT"],
  ["an unknown setting", { name: "mail", config: { retain: "1 day" } }, "SM_UNKNOWN_FIELD"],
  ["a valid setting beside it", { name: "mail", config: { retention: "1 day", a: 1 } }, "SM_UNKNOWN_FIELD"],
  ["a retention that is no interval", { name: "mail", config: { retention: "soon" } }, "SM_TRANSPORT"],
  ["a retention below zero", { name: "mail", config: { retention: "-1 day" } }, "SM_TRANSPORT"],
  ["a retention that is a list", { name: "mail", config: { retention: [] } }, "SM_TRANSPORT"],
  ["an infinite retention", { name: "mail", config: { retention: "999999999999 years" } }, "SM_TRANSPORT"],
  // The ticker subtracts it from now, which the calendar would not allow.
  ["a retention of 200,000 years", { name: "mail", config: { retention: "200000 years" } }, "SM_TRANSPORT"],
  ["a failed_retention of 101 years", { name: "mail", config: { failed_retention: "101 years" } }, "SM_TRANSPORT"],
  ["a window of two years", { name: "mail", config: { idempotency_window: "2 years" } }, "SM_TRANSPORT"],
  ["a window below zero", { name: "mail", config: { idempotency_window: "-1 s" } }, "SM_TRANSPORT"],
  ["a retention that is a number", { name: "mail", config: { retention: 7 } }, "SM_TRANSPORT"],
  ["a retention without a unit", { name: "mail", config: { retention: "7" } }, "SM_TRANSPORT"],
  [
    "a failed_retention that ends without a unit",
    { name: "mail", config: { failed_retention: "1 day 7" } },
    "SM_TRANSPORT",
  ],
  ["a window without a unit", { name: "mail", config: { idempotency_window: " +7.5 " } }, "SM_TRANSPORT"],
  [
    "an unknown word for ordering_dead_letter",
    { name: "mail", config: { ordering_dead_letter: "wait" } },
    "SM_TRANSPORT",
  ],
  ["a bad setting and enabled", { name: "supabase", enabled: false, config: { retention: "soon" } }, "SM_TRANSPORT"],
  ["settings of another type kept", { name: "cache", type: "supabase" }, "SM_UNKNOWN_FIELD"],
];
for (const [what, args, code] of REJECTED) {
  test(`transports · rejects ${what}, and changes nothing`, async () => {
    await put({ name: "cache", type: "redis", config: { url_secret: "REDIS_URL" } });
    const before = await list();
    await assertRejected(put(args), code);
    assert.deepEqual(await list(), before);
  });
}

test("transports · with the longest settings messages are dispatched, and the ticker ticks", async () => {
  const { sql } = project();
  await put({
    name: "supabase",
    config: { retention: "100 years", failed_retention: "100 years", idempotency_window: "1 year" },
  });
  await dispatch(sql, { idempotency_key: "k" });
  await callValue(sql, "messenger_tick");
});

test("transports · an error names the setting, its range and the remedy", async () => {
  const cases: [config: Row, message: RegExp][] = [
    [{ retention: 7 }, /config\.retention must be an interval with a unit, from zero to 100 years/],
    [{ failed_retention: "7" }, /config\.failed_retention must be/],
    [
      { idempotency_window: "2 years" },
      /config\.idempotency_window must be an interval with a unit, from zero to 1 year/,
    ],
    [{ ordering_dead_letter: "wait" }, /config\.ordering_dead_letter must be block or continue/],
  ];
  for (const [config, sentence] of cases) {
    assert.match(await assertRejected(put({ name: "mail", config }), "SM_TRANSPORT"), sentence);
  }
});

test("transports · a duration without a unit cannot be written into the table either", async () => {
  const { sql } = project();
  for (const config of ['{"retention": 7}', '{"failed_retention": "7"}', '{"idempotency_window": "1 day 7"}']) {
    const work =
      sql`insert into messenger_transports (name, type, config) values ('mail', 'supabase', ${config}::text::jsonb)`;
    assert.equal((await errorOf(work)).code, "23514", config);
  }
});

test("transports · durations are accepted in every style that Postgres prints, and zero needs no unit", async () => {
  for (const style of ["postgres", "postgres_verbose", "sql_standard", "iso_8601"]) {
    await using own = session(project());
    await own.unsafe(`set intervalstyle = ${style}`);
    for (const duration of ["7 days", "5 seconds", "1 month", "1 year 2 months 3 days 04:05:06", "0"]) {
      const [{ text }] = await own`select ${duration}::text::interval::text as text`;
      await own`select messenger_put_transport('mail', config => ${own.json({ retention: text })})`;
      const [{ kept }] = await own`select (config ->> 'retention')::interval = ${duration}::text::interval as kept
        from messenger_transports where name = 'mail'`;
      assert.equal(kept, true, `${style}: ${text}`);
    }
  }
});

test("transports · a name that is null is rejected", async () => {
  await assertRejected(project().sql`select messenger_put_transport(null)`, "SM_TRANSPORT");
  await assertRejected(project().sql`select messenger_put_transport('mail', config => 'null')`, "SM_TRANSPORT");
});

test("transports · texts that look like SQL are rejected", async () => {
  for (const text of INJECTIONS) {
    await assertRejected(put({ name: text }), "SM_TRANSPORT");
    await assertRejected(put({ name: "mail", type: text }), "SM_TRANSPORT");
    await assertRejected(put({ name: "mail", config: { [text]: "1 day" } }), "SM_UNKNOWN_FIELD");
    await assertRejected(put({ name: "mail", config: { retention: text } }), "SM_TRANSPORT");
  }
  assert.equal((await list()).length, 2);
});

test("transports · service_role may list and change, users may not", async () => {
  const { sql } = project();
  assert.ok(await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_list_transports")));
  assert.ok(await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_put_transport", { name: "mail" })));
  for (const role of ["authenticated", "anon"] as const) {
    const requested = (name: string, args: Row) =>
      asRole(sql, role, (tx) => callValue(tx, name, args), crypto.randomUUID());
    await assert.rejects(requested("messenger_list_transports", {}), /permission denied/);
    await assert.rejects(requested("messenger_put_transport", { name: "mine" }), /permission denied/);
  }
});
