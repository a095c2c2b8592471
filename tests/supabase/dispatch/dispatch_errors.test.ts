// Rejected dispatches: code, status, remedy, and nothing stored, alone and at each index of a batch.
import assert from "node:assert/strict";
import { ERRORS } from "../../../shared/errors.ts";
import { empty, test, useProject } from "../../project.ts";
import { call } from "../bus.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject();
Deno.test.beforeAll(async () => {
  await empty(project().sql);
  await project()
    .sql`insert into messenger_transports (name, type, enabled)
      values ('off', 'supabase', false), ('broker', 'redis', true)`;
});

const stored = async () => (await project().sql`select from messenger_messages`).length;
const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;

// The fault, the arguments after the type in SQL, the code and, if it is not 400, the status.
const CALLS: [what: string, args: string, code: string, status?: number][] = [
  ["an empty type", "''", "SM_TYPE"],
  ["no type", "null", "SM_TYPE"],
  ["a type of 129 characters", "repeat('a', 129)", "SM_TYPE"],
  ["a type with a space", "'Two words'", "SM_TYPE"],
  ["a type of SQL", "'a''; drop table messenger_messages --'", "SM_TYPE"],
  ["a type of look-alike characters", "'Grееting'", "SM_TYPE"],
  ["a type that starts with a digit", "'1Greeting'", "SM_TYPE"],
  ["a type with a line break at its end", "E'Greeting\\n'", "SM_TYPE"],
  ["a queue in capitals", "'T', queue => 'Default'", "SM_QUEUE"],
  ["an empty queue", "'T', queue => ''", "SM_QUEUE"],
  ["a queue of 64 characters", "'T', queue => repeat('q', 64)", "SM_QUEUE"],
  ["a queue with a slash", "'T', queue => 'a/b'", "SM_QUEUE"],
  ["a queue with a line break at its end", "'T', queue => E'a\\n'", "SM_QUEUE"],
  ["an unknown transport", "'T', transport => 'pigeon'", "SM_TRANSPORT"],
  ["an empty transport", "'T', transport => ''", "SM_TRANSPORT"],
  ["a disabled transport", "'T', transport => 'off'", "SM_TRANSPORT"],
  ["a transport whose client is not configured", "'T', transport => 'broker'", "SM_TRANSPORT"],
  ["priority 0", "'T', priority => 0", "SM_PRIORITY"],
  ["priority 11", "'T', priority => 11", "SM_PRIORITY"],
  ["priority -1", "'T', priority => -1", "SM_PRIORITY"],
  ["max_retries -1", "'T', max_retries => -1", "SM_MAX_RETRIES"],
  ["max_retries 101", "'T', max_retries => 101", "SM_MAX_RETRIES"],
  ["available at infinity", "'T', available_at => 'infinity'", "SM_AVAILABLE_AT"],
  ["available at minus infinity", "'T', available_at => '-infinity'", "SM_AVAILABLE_AT"],
  ["available in the year 20000", "'T', available_at => '20000-01-01'", "SM_AVAILABLE_AT"],
  ["a negative delay", "'T', delay => '-1 second'", "SM_DELAY"],
  ["a delay that is negative on the calendar", "'T', delay => '1 month -40 days'", "SM_DELAY"],
  ["a delay of 101 years", "'T', delay => '101 years'", "SM_DELAY"],
  ["a delay and a moment", "'T', delay => '1 second', available_at => '2100-01-01'", "SM_DELAY"],
  ["an expiry in the past", "'T', expires_at => '2001-01-01'", "SM_EXPIRES_AT"],
  ["an expiry at infinity", "'T', expires_at => 'infinity'", "SM_EXPIRES_AT"],
  [
    "an expiry before the message is available",
    "'T', delay => '2 h', expires_at => now() + interval '1 h'",
    "SM_EXPIRES_AT",
  ],
  ["an empty idempotency key", "'T', idempotency_key => ''", "SM_IDEMPOTENCY_KEY"],
  ["an idempotency key of 256 bytes", "'T', idempotency_key => repeat('ä', 128)", "SM_IDEMPOTENCY_KEY"],
  ["a control character in the key", "'T', idempotency_key => E'a\\tb'", "SM_IDEMPOTENCY_KEY"],
  ["a delete character in the key", "'T', idempotency_key => E'a\\x7f'", "SM_IDEMPOTENCY_KEY"],
  ["a window without a key", "'T', idempotency_window => '1 h'", "SM_IDEMPOTENCY_KEY"],
  ["a negative window", "'T', idempotency_key => 'k', idempotency_window => '-1 h'", "SM_IDEMPOTENCY_KEY"],
  ["a window of two years", "'T', idempotency_key => 'k', idempotency_window => '2 years'", "SM_IDEMPOTENCY_KEY"],
  ["an unknown mode", "'T', idempotency_key => 'k', idempotency_mode => 'upsert'", "SM_IDEMPOTENCY_MODE"],
  ["a mode in capitals", "'T', idempotency_key => 'k', idempotency_mode => 'Replace'", "SM_IDEMPOTENCY_MODE"],
  ["an empty mode", "'T', idempotency_key => 'k', idempotency_mode => ''", "SM_IDEMPOTENCY_MODE"],
  ["a mode without a key", "'T', idempotency_mode => 'debounce'", "SM_IDEMPOTENCY_KEY"],
  [
    "an expiry before a debounced message is available",
    "'T', idempotency_key => 'k', idempotency_mode => 'debounce', expires_at => now() + interval '1 h'",
    "SM_EXPIRES_AT",
  ],
  ["an empty ordering key", "'T', ordering_key => ''", "SM_ORDERING_KEY"],
  ["an ordering key of 256 bytes", "'T', ordering_key => repeat('ä', 128)", "SM_ORDERING_KEY"],
  ["a control character in the ordering key", "'T', ordering_key => E'a\\nb'", "SM_ORDERING_KEY"],
  ["a delete character in the ordering key", "'T', ordering_key => E'a\\x7f'", "SM_ORDERING_KEY"],
  ["a payload that is an array", "'T', '[]'", "SM_PAYLOAD_NOT_OBJECT"],
  ["a payload that is a scalar", "'T', '5'", "SM_PAYLOAD_NOT_OBJECT"],
  ["a payload that is JSON null", "'T', 'null'", "SM_PAYLOAD_NOT_OBJECT"],
  ["headers that are an array", "'T', headers => '[]'", "SM_HEADERS_NOT_OBJECT"],
  ["metadata that are a string", `'T', metadata => '"x"'`, "SM_METADATA_NOT_OBJECT"],
  [
    "a payload of 256 KB and a byte",
    "'T', jsonb_build_object('a', repeat('x', 262144 - 8))",
    "SM_PAYLOAD_TOO_LARGE",
    413,
  ],
  [
    "headers of 16 KB and a byte",
    "'T', headers => jsonb_build_object('a', repeat('x', 16384 - 8))",
    "SM_HEADERS_TOO_LARGE",
    413,
  ],
  [
    "metadata of 16 KB and a byte",
    "'T', metadata => jsonb_build_object('a', repeat('x', 16384 - 8))",
    "SM_HEADERS_TOO_LARGE",
    413,
  ],
  ["a payload 65 deep", `'T', '${nested(65)}'`, "SM_DEPTH"],
  ["a payload 500 deep", `'T', '${nested(500)}'`, "SM_DEPTH"],
  ["headers 65 deep", `'T', headers => '${nested(65)}'`, "SM_DEPTH"],
  ["arrays 65 deep", `'T', jsonb_build_object('a', '${"[".repeat(64)}${"]".repeat(64)}'::jsonb)`, "SM_DEPTH"],
  ["a number that no double can represent", `'T', '{"n": 1e131071}'`, "SM_NUMBER_RANGE", 422],
  ["a negative number that no double can represent", `'T', '{"n": [{"m": -1e400}]}'`, "SM_NUMBER_RANGE", 422],
  ["a number too close to zero", `'T', '{"n": 1e-400}'`, "SM_NUMBER_RANGE", 422],
  ["an out-of-range number in the headers", `'T', headers => '{"n": 1e131071}'`, "SM_NUMBER_RANGE", 422],
  ["an out-of-range number in the metadata", `'T', metadata => '{"n": 1e131071}'`, "SM_NUMBER_RANGE", 422],
];

for (const [what, args, code, status] of CALLS) {
  test(`dispatch · ${what} is rejected: ${code}`, async () => {
    await assertRejected(project().sql.unsafe(`select * from messenger_dispatch(${args})`), code, status);
    assert.equal(await stored(), 0);
  });
}

// Elements of a batch are exact: JSON types must match and null is rejected.
const ELEMENTS: [what: string, element: string, code: string, status?: number][] = [
  ["JSON null", "null", "SM_TYPE"],
  ["an array", "[]", "SM_TYPE"],
  ["a number", "5", "SM_TYPE"],
  ["an empty object", "{}", "SM_TYPE"],
  ["a type that is a number", '{"type": 5}', "SM_TYPE"],
  ["a type that is null", '{"type": null}', "SM_TYPE"],
  ["a payload that is null", '{"type": "T", "payload": null}', "SM_PAYLOAD_NOT_OBJECT"],
  ["a payload that is a string", '{"type": "T", "payload": "{}"}', "SM_PAYLOAD_NOT_OBJECT"],
  ["a queue that is null", '{"type": "T", "queue": null}', "SM_QUEUE"],
  ["a queue that is a number", '{"type": "T", "queue": 1}', "SM_QUEUE"],
  ["a priority in quotes", '{"type": "T", "priority": "5"}', "SM_PRIORITY"],
  ["a priority that is null", '{"type": "T", "priority": null}', "SM_PRIORITY"],
  ["priority 5.5", '{"type": "T", "priority": 5.5}', "SM_PRIORITY"],
  ["a priority out of the range of int", '{"type": "T", "priority": 1e300}', "SM_PRIORITY"],
  ["max_retries in quotes", '{"type": "T", "max_retries": "3"}', "SM_MAX_RETRIES"],
  ["max_retries 1.5", '{"type": "T", "max_retries": 1.5}', "SM_MAX_RETRIES"],
  ["max_retries that is true", '{"type": "T", "max_retries": true}', "SM_MAX_RETRIES"],
  ["max_retries that is null", '{"type": "T", "max_retries": null}', "SM_MAX_RETRIES"],
  ["max_retries out of the range of int", '{"type": "T", "max_retries": 1e300}', "SM_MAX_RETRIES"],
  ["a time that is a number", '{"type": "T", "available_at": 1700000000}', "SM_AVAILABLE_AT"],
  ["a time that cannot be read", '{"type": "T", "available_at": "soonish"}', "SM_AVAILABLE_AT"],
  ["a time that is null", '{"type": "T", "available_at": null}', "SM_AVAILABLE_AT"],
  ["a moment at infinity", '{"type": "T", "available_at": "infinity"}', "SM_AVAILABLE_AT"],
  ["the 30th of February", '{"type": "T", "available_at": "2030-02-30T00:00:00Z"}', "SM_AVAILABLE_AT"],
  ["a delay that is no interval", '{"type": "T", "delay": "soonish"}', "SM_DELAY"],
  ["a moment without a zone", '{"type": "T", "available_at": "2100-01-31T09:00:00"}', "SM_AVAILABLE_AT"],
  ["a moment without a time", '{"type": "T", "available_at": "2100-01-31"}', "SM_AVAILABLE_AT"],
  ["a moment in words", '{"type": "T", "available_at": "tomorrow"}', "SM_AVAILABLE_AT"],
  ["a time that depends on DateStyle", '{"type": "T", "available_at": "02/01/2100 09:00 UTC"}', "SM_AVAILABLE_AT"],
  [
    "a time with the name of a zone",
    '{"type": "T", "available_at": "2100-01-31 09:00 Europe/Berlin"}',
    "SM_AVAILABLE_AT",
  ],
  ["an expiry without a zone", '{"type": "T", "expires_at": "2100-01-31 09:00"}', "SM_EXPIRES_AT"],
  ["a delay that is a number", '{"type": "T", "delay": 5}', "SM_DELAY"],
  ["a delay that is zero as a number", '{"type": "T", "delay": 0}', "SM_DELAY"],
  ["a delay without a unit", '{"type": "T", "delay": "5"}', "SM_DELAY"],
  ["a delay without a unit, with a sign", '{"type": "T", "delay": " +5.0 "}', "SM_DELAY"],
  ["a delay of which a part has no unit", '{"type": "T", "delay": "1 day 7"}', "SM_DELAY"],
  ["a delay without a unit that is ago", '{"type": "T", "delay": "-7 ago"}', "SM_DELAY"],
  [
    "a window that is a number",
    '{"type": "T", "idempotency_key": "k", "idempotency_window": 60}',
    "SM_IDEMPOTENCY_KEY",
  ],
  [
    "a window without a unit",
    '{"type": "T", "idempotency_key": "k", "idempotency_window": "60"}',
    "SM_IDEMPOTENCY_KEY",
  ],
  ["a delay that is an object", '{"type": "T", "delay": {}}', "SM_DELAY"],
  ["a delay that is null", '{"type": "T", "delay": null}', "SM_DELAY"],
  ["a delay of 1e300 seconds", '{"type": "T", "delay": 1e300}', "SM_DELAY"],
  ["a negative delay in seconds", '{"type": "T", "delay": -1}', "SM_DELAY"],
  ["an expiry that is null", '{"type": "T", "expires_at": null}', "SM_EXPIRES_AT"],
  ["an expiry that cannot be read", '{"type": "T", "expires_at": "never"}', "SM_EXPIRES_AT"],
  ["a key that is a number", '{"type": "T", "idempotency_key": 1}', "SM_IDEMPOTENCY_KEY"],
  ["a key that is null", '{"type": "T", "idempotency_key": null}', "SM_IDEMPOTENCY_KEY"],
  [
    "a window that is no interval",
    '{"type": "T", "idempotency_key": "k", "idempotency_window": "x"}',
    "SM_IDEMPOTENCY_KEY",
  ],
  ["a mode that is null", '{"type": "T", "idempotency_mode": null}', "SM_IDEMPOTENCY_MODE"],
  ["a mode that is a number", '{"type": "T", "idempotency_key": "k", "idempotency_mode": 1}', "SM_IDEMPOTENCY_MODE"],
  ["an ordering key that is a number", '{"type": "T", "ordering_key": 7}', "SM_ORDERING_KEY"],
  ["an ordering key that is a list", '{"type": "T", "ordering_key": ["a"]}', "SM_ORDERING_KEY"],
  ["an empty ordering key", '{"type": "T", "ordering_key": ""}', "SM_ORDERING_KEY"],
  ["an ordering key that is null", '{"type": "T", "ordering_key": null}', "SM_ORDERING_KEY"],
  ["a transport that is null", '{"type": "T", "transport": null}', "SM_TRANSPORT"],
  ["a transport that is a list", '{"type": "T", "transport": ["supabase"]}', "SM_TRANSPORT"],
  ["headers that are null", '{"type": "T", "headers": null}', "SM_HEADERS_NOT_OBJECT"],
  ["metadata that are null", '{"type": "T", "metadata": null}', "SM_METADATA_NOT_OBJECT"],
  ["an unknown field", '{"type": "T", "prioritty": 5}', "SM_UNKNOWN_FIELD"],
  ["an unknown field that is null", '{"type": "T", "scheduledAt": null}', "SM_UNKNOWN_FIELD"],
  ["an out-of-range number in an unknown field", '{"type": "T", "priority": 1e131071}', "SM_NUMBER_RANGE", 422],
];

for (const [what, element, code, status = 400] of ELEMENTS) {
  test(`batch · ${what} is rejected at each index: ${code}`, async () => {
    const { sql } = project();
    for (const at of [1, 2, 3]) {
      const list = ['{"type": "A"}', '{"type": "B"}', '{"type": "C"}'].with(at - 1, element);
      const message = await assertRejected(
        sql.unsafe(`select * from messenger_dispatch_batch('[${list}]')`),
        code,
        status,
      );
      assert(message.includes(`message ${at}`), message);
      assert.equal(await stored(), 0);
    }
    await sql.begin(async (transaction) => {
      const replies = await transaction.unsafe(
        `select * from messenger_dispatch_batch('[${element}, {"type": "B"}]', false)`,
      );
      assert.deepEqual(replies.map(({ error_code }) => error_code), [code, null]);
      assert.deepEqual([replies[0].id, replies[0].status], [null, null]);
      assert(replies[0].error.length > 10);
      assert.equal((await transaction`select from messenger_messages`).length, 1);
      await transaction`truncate messenger_messages`;
    });
  });
}

test("batch · an unknown field is named", async () => {
  const { sql } = project();
  assert(
    /prioritty/.test(
      await assertRejected(
        sql`select * from messenger_dispatch_batch('[{"type": "T", "prioritty": 5}]')`,
        "SM_UNKNOWN_FIELD",
      ),
    ),
  );
});

test("batch · an empty one, one that is no list, and one of more than a thousand are rejected", async () => {
  const { sql } = project();
  for (const messages of ["[]", "{}", "5", '"x"', "null"]) {
    await assertRejected(sql.unsafe(`select * from messenger_dispatch_batch('${messages}')`), "SM_BATCH");
  }
  await assertRejected(sql`select * from messenger_dispatch_batch(null)`, "SM_BATCH");
  const messages = Array.from({ length: 1001 }, () => ({ type: "T" }));
  await assertRejected(call(sql, "messenger_dispatch_batch", { messages }), "SM_BATCH_TOO_LARGE", 413);
  await assertRejected(call(sql, "messenger_dispatch_batch", { messages, atomic: false }), "SM_BATCH_TOO_LARGE", 413);
  assert.equal(await stored(), 0);
});

test("batch · more than 8 MB is rejected", async () => {
  const { sql } = project();
  const work = sql`
    select * from messenger_dispatch_batch((
      select jsonb_agg(jsonb_build_object('type', 'T', 'payload', jsonb_build_object('a', repeat('x', 200000))))
        from generate_series(1, 50)))`;
  await assertRejected(work, "SM_BATCH_TOO_LARGE", 413);
  assert.equal(await stored(), 0);
});

test("batch · a bad last element of a thousand stores nothing", async () => {
  const { sql } = project();
  const messages = [...Array.from({ length: 999 }, () => ({ type: "T" })), { type: "T", priority: 0 }];
  assert(/message 1000/.test(await assertRejected(call(sql, "messenger_dispatch_batch", { messages }), "SM_PRIORITY")));
  assert.equal(await stored(), 0);
});

test("dispatch · arguments that Postgres itself cannot read keep its SQLSTATE", async () => {
  const { sql } = project();
  const reads: [string, string][] = [
    [`'T', '{"a": "\\u0000"}'`, "22P05"],
    [`'T', '{"a": "\\ud800"}'`, "22P02"],
    [`'T', '${"[".repeat(100_000)}'`, "54001"],
    [`'T', '{"a": '`, "22P02"],
    [`'T', priority => 5.5::text::int`, "22P02"],
    [`'T', priority => 99999999999::bigint::int`, "22003"],
  ];
  for (const [args, code] of reads) {
    assert.equal(
      (await errorOf(sql.unsafe(`select * from messenger_dispatch(${args})`))).code,
      code,
      args.slice(0, 60),
    );
  }
  assert.equal(await stored(), 0);
});

test("errors · every code has the status of shared/errors.ts", async () => {
  const rows = await project().sql<
    { code: string; status: number; hint: string }[]
  >`select * from messenger.error_codes()`;
  assert(rows.length > 20);
  for (const { code, status, hint } of rows) {
    assert.equal(ERRORS[code as keyof typeof ERRORS]?.status, status, code);
    assert(hint.length > 0, code);
  }
});

test("errors · a code that is not listed is an error, too", async () => {
  assert.equal((await errorOf(project().sql`select messenger.raise_error('SM_NONSENSE')`)).code, "P0002");
});
