// Rejected schedules: code, status, remedy, and nothing stored or changed.
import assert from "node:assert/strict";
import { ERRORS } from "../../../shared/errors.ts";
import { empty, test, useProject } from "../../project.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => empty(project().sql));

const cron = (expression: string) => `'n', 'T', '${JSON.stringify({ cron: expression })}'`;
const every = (interval: unknown) => `'n', 'T', '${JSON.stringify({ interval })}'`;
const minutely = (options: string) => `'n', 'T', '{"cron": "* * * * *"}', options => '${options}'`;
const inZone = (timezone: string) => `'n', 'T', '{"cron": "* * * * *"}', timezone => '${timezone}'`;

// The fault, the arguments in SQL, the code and, if it is not 400, the status.
const CALLS: [what: string, args: string, code: string, status?: number][] = [
  ["numbers out of range", cron("99 99 * * *"), "SM_CRON"],
  ["four fields", cron("* * * *"), "SM_CRON"],
  ["seven fields", cron("0 0 0 1 1 ? 2030"), "SM_CRON"],
  ["an empty expression", cron(""), "SM_CRON"],
  ["a space", cron(" "), "SM_CRON"],
  ["@reboot", cron("@reboot"), "SM_CRON"],
  ["@every", cron("@every 5m"), "SM_CRON"],
  ["a step of zero", cron("*/0 * * * *"), "SM_CRON"],
  ["a range backwards", cron("0 5-1 * * *"), "SM_CRON"],
  ["an unknown name", cron("0 0 * foo *"), "SM_CRON"],
  ["a name in a field without names", cron("mon 0 * * *"), "SM_CRON"],
  ["a value twice", cron("5,5 * * * *"), "SM_CRON"],
  ["Sunday twice", cron("0 0 * * 0,7"), "SM_CRON"],
  ["day 0", cron("0 0 0 * *"), "SM_CRON"],
  ["month 13", cron("0 0 1 13 *"), "SM_CRON"],
  ["weekday 8", cron("0 0 * * 8"), "SM_CRON"],
  ["the sixth Friday", cron("0 0 * * 5#6"), "SM_CRON"],
  ["L in the hours", cron("0 L * * *"), "SM_CRON"],
  ["L alone as a weekday", cron("0 0 * * L"), "SM_CRON"],
  ["an empty item in a list", cron("0 0 * * ,5L"), "SM_CRON"],
  ["a fraction", cron("1.5 * * * *"), "SM_CRON"],
  ["a negative number", cron("-5 * * * *"), "SM_CRON"],
  ["1,025 characters", cron("0 ".repeat(512) + "0"), "SM_CRON"],
  ["cron that is a number", `'n', 'T', '{"cron": 5}'`, "SM_CRON"],
  ["cron that is null", `'n', 'T', '{"cron": null}'`, "SM_CRON"],
  ["the 31st of February", cron("0 0 31 2 *"), "SM_CRON_NEVER"],
  ["the 31st of short months", cron("0 0 31 4,6,9,11 *"), "SM_CRON_NEVER"],
  [
    "a time that exists only in a gap, and gaps are skipped",
    `'n', 'T', '{"cron": "30 2 * 3 0L"}', timezone => 'Europe/Berlin', options => '{"dst_gap": "skip"}'`,
    "SM_CRON_NEVER",
  ],
  ["interval 0", every(0), "SM_INTERVAL"],
  ["interval -1", every(-1), "SM_INTERVAL"],
  ["interval 1 ms", every(1), "SM_INTERVAL"],
  ["interval 999 ms", every(999), "SM_INTERVAL"],
  ["interval 10^12 ms", every(1e12), "SM_INTERVAL"],
  ["interval 1500.5 ms", every(1500.5), "SM_INTERVAL"],
  ["an interval as text", every("60000"), "SM_INTERVAL"],
  ["an interval of null", every(null), "SM_INTERVAL"],
  ["an interval out of the printable range", `'n', 'T', '{"interval": 1e131071}'`, "SM_INTERVAL"],
  ["startAt without a zone", `'n', 'T', '{"interval": 60000, "startAt": "2030-01-01T00:00:00"}'`, "SM_SCHEDULE"],
  ["at without a zone", `'n', 'T', '{"at": "2030-01-01T00:00:00"}'`, "SM_SCHEDULE"],
  ["at in the year 20000", `'n', 'T', '{"at": "20000-01-01T00:00:00Z"}'`, "SM_SCHEDULE"],
  ["at infinity", `'n', 'T', '{"at": "infinity"}'`, "SM_SCHEDULE"],
  ["at tomorrow", `'n', 'T', '{"at": "tomorrow"}'`, "SM_SCHEDULE"],
  ["at as a number", `'n', 'T', '{"at": 1893456000}'`, "SM_SCHEDULE"],
  [
    "a past time with the policy skip",
    `'n', 'T', '{"at": "2001-01-01T00:00:00Z"}', options => '{"misfire": "skip"}'`,
    "SM_SCHEDULE",
  ],
  ["no kind", `'n', 'T', '{}'`, "SM_SCHEDULE"],
  ["two kinds", `'n', 'T', '{"cron": "* * * * *", "interval": 60000}'`, "SM_SCHEDULE"],
  ["startAt beside cron", `'n', 'T', '{"cron": "* * * * *", "startAt": "2030-01-01T00:00:00Z"}'`, "SM_SCHEDULE"],
  ["an unknown field", `'n', 'T', '{"cron": "* * * * *", "second": 5}'`, "SM_SCHEDULE"],
  ["a schedule that is a string", `'n', 'T', '"* * * * *"'`, "SM_SCHEDULE"],
  ["no schedule", `'n', 'T', null`, "SM_SCHEDULE"],
  ["a zone by POSIX", inZone("Foo+99"), "SM_TIMEZONE"],
  ["a zone with an offset", inZone("EST5EDT4"), "SM_TIMEZONE"],
  ["an empty zone", inZone(""), "SM_TIMEZONE"],
  ["an abbreviation with a fixed offset", inZone("EST"), "SM_TIMEZONE"],
  ["an abbreviation of summer", inZone("CEST"), "SM_TIMEZONE"],
  ["an unknown zone", inZone("Europe/Atlantis"), "SM_TIMEZONE"],
  ["an unknown zone with an offset", inZone("Europe/Atlantis+3"), "SM_TIMEZONE"],
  ["a zone of a file", inZone("posix/Europe/Berlin"), "SM_TIMEZONE"],
  ["an offset", inZone("+02:00"), "SM_TIMEZONE"],
  ["max_runs 0", minutely('{"max_runs": 0}'), "SM_SCHEDULE"],
  ["max_runs of text", minutely('{"max_runs": "5"}'), "SM_SCHEDULE"],
  ["jitter longer than the period", minutely('{"jitter_ms": 60001}'), "SM_SCHEDULE"],
  [
    "jitter longer than the interval",
    `'n', 'T', '{"interval": 1000}', options => '{"jitter_ms": 1001}'`,
    "SM_SCHEDULE",
  ],
  ["negative jitter", minutely('{"jitter_ms": -1}'), "SM_SCHEDULE"],
  ["a grace of a fraction", minutely('{"misfire_grace_ms": 0.5}'), "SM_SCHEDULE"],
  ["catch_up_limit 0", minutely('{"catch_up_limit": 0}'), "SM_SCHEDULE"],
  ["catch_up_limit 1001", minutely('{"catch_up_limit": 1001}'), "SM_SCHEDULE"],
  ["an unknown misfire policy", minutely('{"misfire": "panic"}'), "SM_SCHEDULE"],
  ["an unknown policy of gaps", minutely('{"dst_gap": "run_before"}'), "SM_SCHEDULE"],
  ["an unknown policy of overlaps", minutely('{"dst_overlap": "none"}'), "SM_SCHEDULE"],
  ["an unknown overlap policy", minutely('{"overlap": "queue"}'), "SM_SCHEDULE"],
  ["a policy of null", minutely('{"misfire": null}'), "SM_SCHEDULE"],
  ["starts_at without a zone", minutely('{"starts_at": "2030-01-01"}'), "SM_SCHEDULE"],
  [
    "an end before the start",
    minutely('{"starts_at": "2030-01-02T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"}'),
    "SM_SCHEDULE",
  ],
  ["an end in the past", minutely('{"ends_at": "2001-01-01T00:00:00Z"}'), "SM_SCHEDULE"],
  ["an unknown option", minutely('{"jitter": 5}'), "SM_SCHEDULE"],
  ["an option that the bus sets itself", minutely('{"next_run_at": "2030-01-01T00:00:00Z"}'), "SM_SCHEDULE"],
  ["options that are an array", minutely("[]"), "SM_SCHEDULE"],
  ["an empty name", `'', 'T', '{"interval": 60000}'`, "SM_SCHEDULE"],
  ["no name", `null, 'T', '{"interval": 60000}'`, "SM_SCHEDULE"],
  ["a name with a slash", `'a/b', 'T', '{"interval": 60000}'`, "SM_SCHEDULE"],
  ["a name of 129 characters", `repeat('a', 129), 'T', '{"interval": 60000}'`, "SM_SCHEDULE"],
  ["a name with a line break at its end", `E'a\\n', 'T', '{"interval": 60000}'`, "SM_SCHEDULE"],
  ["a type with a space", `'n', 'Two words', '{"interval": 60000}'`, "SM_TYPE"],
  ["no type", `'n', null, '{"interval": 60000}'`, "SM_TYPE"],
  ["a payload that is an array", `'n', 'T', '{"interval": 60000}', '[]'`, "SM_PAYLOAD_NOT_OBJECT"],
  ["a payload that is JSON null", `'n', 'T', '{"interval": 60000}', 'null'`, "SM_PAYLOAD_NOT_OBJECT"],
  [
    "a payload over 256 KB",
    `'n', 'T', '{"interval": 60000}', jsonb_build_object('a', repeat('x', 262144))`,
    "SM_PAYLOAD_TOO_LARGE",
    413,
  ],
  ["a number that no double can represent", `'n', 'T', '{"interval": 60000}', '{"a": 1e400}'`, "SM_NUMBER_RANGE", 422],
  [
    "a payload of 65 levels",
    `'n', 'T', '{"interval": 60000}', '${'{"abcdef":'.repeat(65)}1${"}".repeat(65)}'`,
    "SM_DEPTH",
  ],
  ["headers that are an array", minutely('{"headers": []}'), "SM_HEADERS_NOT_OBJECT"],
  ["an unknown transport", minutely('{"transport_name": "pigeon"}'), "SM_TRANSPORT"],
  ["a malformed queue", minutely('{"queue_name": "A/B"}'), "SM_QUEUE"],
];

test("schedule · malformed input is rejected with its code and a remedy, and nothing is stored", async () => {
  const { sql } = project();
  for (const [what, args, code, status = 400] of CALLS) {
    const error = await errorOf(sql.unsafe(`select messenger_schedule(${args})`)).catch((error) => {
      throw new Error(`${what}: ${error.message}`);
    });
    assert.deepEqual([what, error.code, error.detail], [what, `PT${status}`, code]);
    assert(error.hint, what);
    assert(Object.hasOwn(ERRORS, code), code);
  }
  assert.equal((await sql`select from messenger_schedules`).length, 0);
});

test("schedule · the error names the wrong part", async () => {
  const messageOfRejection = async (args: string) =>
    (await errorOf(project().sql.unsafe(`select messenger_schedule(${args})`))).message;
  assert.match(await messageOfRejection(cron("0 99 * * *")), /^hour "99"/);
  assert.match(await messageOfRejection(cron("0 0 * foo *")), /^month "FOO"/);
  assert.match(await messageOfRejection(cron("* * * *")), /^4 fields/);
  assert.match(await messageOfRejection(cron("@reboot")), /@reboot/);
  assert.match(await messageOfRejection(cron("5,5 * * * *")), /^minute "5,5" names a value twice/);
  assert.match(await messageOfRejection(minutely('{"jitter": 5}')), /^unknown option "jitter"/);
  assert.match(await messageOfRejection(inZone("EST")), /^"EST"/);
});

test("schedule · a NUL is rejected by Postgres when it reads the payload", async () => {
  const error = await errorOf(
    project().sql`select messenger_schedule('n', 'T', '{"interval": 60000}', ${'{"a": "\\u0000"}'}::text::jsonb)`,
  );
  assert.equal(error.code, "22P05");
});

test("schedule · a rejected save does not change the schedule of that name", async () => {
  const { sql } = project();
  await sql`select messenger_schedule('kept', 'T', '{"interval": 60000}')`;
  const before = await sql`select * from messenger_schedules`;
  await assertRejected(sql`select messenger_schedule('kept', 'T', '{"interval": 1}')`, "SM_INTERVAL");
  await assertRejected(
    sql`select messenger_schedule('kept', 'T', '{"interval": 90000}', '[]')`,
    "SM_PAYLOAD_NOT_OBJECT",
  );
  assert.deepEqual(await sql`select * from messenger_schedules`, before);
  await sql`select messenger_unschedule('kept')`;
});

test("preview · rejects the same input as saving, and a count out of range", async () => {
  const { sql } = project();
  const preview = (args: string) => sql.unsafe(`select * from messenger_schedule_preview(${args})`);
  await assertRejected(preview(`'{"cron": "* * * *"}'`), "SM_CRON");
  await assertRejected(preview(`'{"cron": "0 0 31 2 *"}'`), "SM_CRON_NEVER");
  await assertRejected(preview(`'{"interval": 5}'`), "SM_INTERVAL");
  await assertRejected(preview(`'{"cron": "* * * * *"}', 'EST'`), "SM_TIMEZONE");
  await assertRejected(preview(`'{"cron": "* * * * *"}', options => '{"x": 1}'`), "SM_SCHEDULE");
  for (const count of [0, -1, 1001]) {
    await assertRejected(preview(`'{"cron": "* * * * *"}', count => ${count}`), "SM_SCHEDULE");
  }
});

test("pause, resume · a missing name is rejected; unschedule returns false", async () => {
  const { sql } = project();
  await assertRejected(sql`select messenger_pause_schedule('nobody')`, "SM_NOT_FOUND", 404);
  await assertRejected(sql`select messenger_resume_schedule('nobody')`, "SM_NOT_FOUND", 404);
  assert.deepEqual({ ...(await sql`select messenger_unschedule('nobody') as gone`)[0] }, { gone: false });
});
