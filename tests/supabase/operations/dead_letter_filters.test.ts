// The right to select dead letters, the dead letters that a filter selects, and every wrong filter: rejected with a
// code, without changes.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { type Row, setClock } from "../bus.ts";
import { assertSound, discard, makeDeadLetter, retry } from "./make_dead_letters.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));
Deno.test.afterEach(() => assertSound(project().sql));

const HOUR = 3_600_000;
const START = Date.now();
const hours = (count: number) => new Date(START + count * HOUR).toISOString();

/** Four dead letters, an hour apart, each of another type, error, queue and transport. */
async function four(): Promise<Row[]> {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type) values ('email', 'supabase')`;
  const deadLetters: Row[] = [];
  for (
    const [fields, failure] of [
      [{ type: "Invoice" }, {}],
      [{}, { error_class: "Timeout" }],
      [{ queue: "slow" }, {}],
      [{ transport: "email" }, {}],
    ]
  ) {
    await setClock(sql, `${deadLetters.length} hours 30 minutes`);
    deadLetters.push(await makeDeadLetter(sql, fields, failure));
  }
  return deadLetters;
}

const filters: [name: string, filter: Row, means: number[]][] = [
  ["nothing", {}, [0, 1, 2, 3]],
  ["type", { type: "Invoice" }, [0]],
  ["error_class", { error_class: "Timeout" }, [1]],
  ["queue", { queue: "slow" }, [2]],
  ["transport", { transport: "email" }, [3]],
  ["from, which is inclusive", { from: hours(2) }, [2, 3]],
  ["to, which is exclusive", { to: hours(2) }, [0, 1]],
  ["from and to", { from: hours(1), to: hours(3) }, [1, 2]],
  ["several conditions, which must all hold", { type: "Greeting", queue: "dead", to: hours(3) }, [1]],
  ["a value that no dead letter has", { type: "Nothing", queue: "A queue; drop table" }, []],
];

for (const [name, filter, means] of filters) {
  test(`filter · by ${name}, for retry and discard alike`, async () => {
    const { sql } = project();
    const deadLetters = await four();
    const expected = means.map((n) => ({
      id: deadLetters[n].deadLetter,
      message_id: deadLetters[n].id,
      outcome: "retried",
    }));
    const undo = new Error("undo");
    await sql.begin(async (tx) => {
      assert.equal(await discard(tx, { filter }), means.length);
      throw undo;
    }).catch((error) => assert.equal(error, undo));
    assert.deepEqual(await retry(sql, { filter }), expected);
    assert.deepEqual(await retry(sql, { filter }), [], "resolved dead letters match no filter");
  });
}

test("max · the oldest dead letters are resolved first, and at most max of them", async () => {
  const { sql } = project();
  const deadLetters = await four();
  const ids = async (max: number) => (await retry(sql, { filter: {}, max })).map(({ id }) => id);
  assert.deepEqual(await ids(1), [deadLetters[0].deadLetter]);
  assert.equal(await discard(sql, { filter: {}, max: 2 }), 2);
  assert.deepEqual(await ids(10_000), [deadLetters[3].deadLetter]);
});

const ID = "00000000-0000-7000-8000-000000000000";
const badNames: [name: string, args: Row, code: string, message: RegExp, status?: number][] = [
  ["neither ids nor filter", {}, "SM_FILTER", /either by ids or by a filter/],
  ["both ids and filter", { ids: [ID], filter: {} }, "SM_FILTER", /either/],
  ["a filter that is an array", { filter: [] }, "SM_FILTER", /JSON object/],
  ["an unknown key", { filter: { type: "T", colour: "red" } }, "SM_UNKNOWN_FIELD", /filter\.colour/],
  ["a key of another case", { filter: { Type: "T" } }, "SM_UNKNOWN_FIELD", /filter\.Type/],
  ["a number for transport", { filter: { transport: 1 } }, "SM_FILTER", /filter\.transport/],
  ["a null for queue", { filter: { queue: null } }, "SM_FILTER", /filter\.queue/],
  ["a list for type", { filter: { type: ["T"] } }, "SM_FILTER", /filter\.type/],
  ["an object for error_class", { filter: { error_class: {} } }, "SM_FILTER", /filter\.error_class/],
  ["a number for from", { filter: { from: 1_700_000_000 } }, "SM_FILTER", /filter\.from/],
  ["no date for from", { filter: { from: "yesterday-ish" } }, "SM_FILTER", /filter\.from/],
  ["infinity for to", { filter: { to: "infinity" } }, "SM_FILTER", /filter\.to/],
  ["an infinite date for to", { filter: { to: "20000-01-01T00:00:00Z" } }, "SM_FILTER", /filter\.to/],
  ["a to that is not after from", { filter: { from: hours(2), to: hours(2) } }, "SM_FILTER", /filter\.to/],
  ["max 0", { filter: {}, max: 0 }, "SM_BATCH", /max/],
  ["max below zero", { filter: {}, max: -1 }, "SM_BATCH", /max/],
  ["max over ten thousand", { filter: {}, max: 10_001 }, "SM_BATCH", /max/],
  ["more ids than max", { ids: [ID, ID, ID], max: 2 }, "SM_BATCH_TOO_LARGE", /more ids than max/, 413],
];

for (const [name, args, code, message, status] of badNames) {
  test(`rejected · ${name}`, async () => {
    const { sql } = project();
    await makeDeadLetter(sql);
    assert.match(await assertRejected(retry(sql, args), code, status), message);
    assert.match(await assertRejected(discard(sql, args), code, status), message);
    await nothingChanged();
  });
}

const deep = JSON.parse(`${'{"a":'.repeat(65)}1${"}".repeat(65)}`);
const badRetries: [name: string, args: Row, code: string, status?: number][] = [
  ["a payload for a filter", { filter: {}, payload: {} }, "SM_FILTER"],
  ["a payload for two ids", { ids: [ID, ID], payload: {} }, "SM_FILTER"],
  ["a payload that is an array", { payload: [] }, "SM_PAYLOAD_NOT_OBJECT"],
  ["a payload over 256 KB", { payload: { text: "x".repeat(262_144) } }, "SM_PAYLOAD_TOO_LARGE", 413],
  ["a payload deeper than 64", { payload: deep }, "SM_DEPTH"],
  ["per_second 0", { per_second: 0 }, "SM_BATCH"],
  ["per_second below zero", { per_second: -5 }, "SM_BATCH"],
  ["per_second over a thousand", { per_second: 1001 }, "SM_BATCH"],
];

for (const [name, args, code, status] of badRetries) {
  test(`rejected · ${name}`, async () => {
    const { sql } = project();
    const { deadLetter } = await makeDeadLetter(sql);
    await assertRejected(retry(sql, "filter" in args ? args : { ids: [deadLetter], ...args }), code, status);
    await nothingChanged();
  });
}

const badTexts: [name: string, payload: string, code: string][] = [
  ["a number outside the range of a double", `{"a": 1e400}`, "PT422"],
  ["a payload that is JSON null", `null`, "PT400"],
  ["a NUL", `{"a": "\\u0000"}`, "22P05"],
  ["no JSON", `{"a":`, "22P02"],
];

for (const [name, payload, code] of badTexts) {
  test(`rejected · ${name} in an edited payload`, async () => {
    const { sql } = project();
    const { deadLetter } = await makeDeadLetter(sql);
    const error = await errorOf(
      sql.unsafe("select * from messenger_retry_failed(array[$1]::uuid[], payload => $2::text::jsonb)", [
        deadLetter,
        payload,
      ]),
    );
    assert.equal(error.code, code);
    await nothingChanged();
  });
}

test("rejected · a null among the ids", async () => {
  const { sql } = project();
  const { deadLetter } = await makeDeadLetter(sql);
  await assertRejected(sql`select * from messenger_retry_failed(array[${deadLetter}, null]::uuid[])`, "SM_FILTER");
  await nothingChanged();
});

test("rights · service_role may, users may not", async () => {
  const { sql } = project();
  const [one, two] = [await makeDeadLetter(sql, { idempotency_key: "k" }), await makeDeadLetter(sql)];
  for (const role of ["anon", "authenticated"] as const) {
    await assert.rejects(asRole(sql, role, (tx) => retry(tx, { filter: {} })), { code: "42501" });
    await assert.rejects(asRole(sql, role, (tx) => discard(tx, { filter: {} })), { code: "42501" });
  }
  await sql`delete from messenger_messages where id = ${one.id}`;
  await asRole(sql, "service_role", async (tx) => {
    assert.equal((await retry(tx, { ids: [one.deadLetter], per_second: 5 }))[0].outcome, "retried");
    assert.equal(await discard(tx, { ids: [two.deadLetter] }), 1);
    assert.equal((await tx`select * from messenger.replay_report()`).length, 1);
  });
  await assertRejected(asRole(sql, "service_role", (tx) => retry(tx, {})), "SM_FILTER");
});

async function nothingChanged() {
  const { sql } = project();
  const messages = await sql`select distinct status, error_class, body from messenger_messages`;
  assert.deepEqual([...messages], [{ status: "failed", error_class: "Error", body: {} }]);
  assert.equal((await sql`select from messenger_failed_messages where resolved_at is not null`).length, 0);
  assert.equal((await sql`select from messenger.replays`).length, 0);
}
