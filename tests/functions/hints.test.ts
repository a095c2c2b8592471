// Errors name the field, the value, the allowed range and the next step of that very field.
import assert from "node:assert/strict";
import { test } from "../project.ts";
import { assertRejected, type Call, useTarget } from "../target.ts";

const { target } = useTarget();
const DATE = /^Send an ISO 8601 date with a zone, such as 2030-01-31T09:00:00Z\.$/;

function testHint(what: string, path: string, call: Call, code: string, sentence: RegExp, hint: RegExp): void {
  test(`hints · /${path} ${what}`, async () => {
    const reply = await target().call(path, call);
    assert.match(assertRejected(reply, reply.status, code), sentence);
    assert.ok(reply.status >= 400 && reply.status < 500, String(reply.status));
    assert.match((reply.body.error as { hint: string }).hint, hint);
  });
}

const message = { type: "TestNote", payload: {} };
const OPTIONS: [options: Record<string, unknown>, code: string, sentence: RegExp, hint: RegExp][] = [
  [
    { delay: 3_110_400_000_001 },
    "SM_DELAY",
    /^options\.delay must be at most 3110400000000/,
    /^The largest value allowed is 3110400000000\.$/,
  ],
  [{ delay: -1 }, "SM_DELAY", /^options\.delay must be at least 0, not -1/, /^The smallest value allowed is 0\.$/],
  [{ delay: 1.5 }, "SM_DELAY", /^options\.delay must be a whole number, not 1\.5/, /^Send a whole number\.$/],
  [
    { delay: 1, scheduledAt: "2030-01-01T00:00:00Z" },
    "SM_DELAY",
    /delay and options\.scheduledAt exclude each other/,
    /^Send one of the two\.$/,
  ],
  [
    { scheduledAt: "tomorrow" },
    "SM_AVAILABLE_AT",
    /^options\.scheduledAt must be an ISO 8601 date.*not "tomorrow"/,
    DATE,
  ],
  [
    { scheduledAt: "2030-01-01T00:00:00+23:00" },
    "SM_AVAILABLE_AT",
    /scheduledAt must be a date.*at most 15:59/,
    /15:59/,
  ],
  [{ expiresAt: "tomorrow" }, "SM_EXPIRES_AT", /^options\.expiresAt must be an ISO 8601 date/, DATE],
  [
    { expiresAt: "2020-01-01T00:00:00Z" },
    "SM_EXPIRES_AT",
    /expires_at must be a timestamp with a zone, in the future/,
    /later than now/,
  ],
  [
    { idempotencyWindow: 31_104_000_001, idempotencyKey: "a" },
    "SM_IDEMPOTENCY_KEY",
    /^options\.idempotencyWindow must be at most/,
    /^The largest value allowed is 31104000000\.$/,
  ],
  [
    { idempotencyWindow: 1_000 },
    "SM_IDEMPOTENCY_KEY",
    /^options\.idempotencyWindow needs options\.idempotencyKey/,
    /leave options\.idempotencyWindow out/,
  ],
  [
    { idempotencyMode: "debounce" },
    "SM_IDEMPOTENCY_KEY",
    /^options\.idempotencyMode debounce needs/,
    /leave options\.idempotencyMode out/,
  ],
  [{ idempotencyMode: "never" }, "SM_IDEMPOTENCY_MODE", /mode does not exist/, /^Use ignore, replace/],
  [
    { idempotencyKey: "" },
    "SM_IDEMPOTENCY_KEY",
    /1 to 255 bytes/,
    /^An idempotency key is 1 to 255 bytes without control characters\.$/,
  ],
  [
    { idempotencyKey: 5 },
    "SM_IDEMPOTENCY_KEY",
    /^options\.idempotencyKey must be a string, not 5/,
    /^Send a string\.$/,
  ],
  [{ orderingKey: "a\nb" }, "SM_ORDERING_KEY", /the ordering key must have 1 to 255 bytes/, /^An ordering key is/],
  [{ queue: "-a" }, "SM_QUEUE", /queue name is malformed/, /the first a letter or digit/],
  [{ priority: 11 }, "SM_PRIORITY", /from 1 to 10/, /^A priority is a whole number from 1 to 10/],
  [{ maxRetries: 101 }, "SM_MAX_RETRIES", /from 0 to 100/, /from 0 to 100/],
  [{ headers: [] }, "SM_HEADERS_NOT_OBJECT", /^options\.headers must be an object/, /^Send an object\.$/],
  [
    { headers: { "x-symphony-user": "a" } },
    "SM_FIELD_FORBIDDEN",
    /headers\.x-symphony-user is set by the bus/,
    /^Leave the header out/,
  ],
  [
    { headers: { a: "x".repeat(16_384) } },
    "SM_HEADERS_TOO_LARGE",
    /^The headers object has \d+ bytes; the largest size allowed is 16384/,
    /16 KB each/,
  ],
  [
    { metadata: { a: "x".repeat(16_384) } },
    "SM_HEADERS_TOO_LARGE",
    /^The metadata object has/,
    /metadata hold at most 16 KB each/,
  ],
  [{ metadata: { a: { b: "\0" } } }, "SM_NUL", /^options\.metadata\.a\.b contains the NUL character/, /NUL/],
];
for (const [options, code, sentence, hint] of OPTIONS) {
  const shown = JSON.stringify(options).slice(0, 60);
  testHint(`names the option of ${shown}`, "dispatch", { json: { message, options } }, code, sentence, hint);
}

const DISPATCH: [what: string, path: string, call: Call, code: string, sentence: RegExp, hint: RegExp][] = [
  ["without a message", "dispatch", { json: {} }, "SM_BODY", /^message must be an object\.$/, /^Send an object\.$/],
  [
    "with a number as its type",
    "dispatch",
    { json: { message: { type: 5, payload: {} } } },
    "SM_TYPE",
    /^message\.type must be a string, not 5/,
    /^Send a string\.$/,
  ],
  [
    "with atomic as text",
    "dispatch/batch",
    { json: { messages: [{ message }], atomic: "true" } },
    "SM_BODY",
    /^atomic must be true or false, not "true"/,
    /^Send true or false\.$/,
  ],
  [
    "with a key in the header",
    "dispatch/batch",
    { json: { messages: [{ message }] }, headers: { "idempotency-key": "a" } },
    "SM_IDEMPOTENCY_KEY",
    /each message has its own key/,
    /with each message/,
  ],
  [
    "with a bad element",
    "dispatch/batch",
    { json: { messages: [{ message }, { message, options: { delay: -1 } }] } },
    "SM_DELAY",
    /^message 2: options\.delay must be at least 0/,
    /^The smallest value allowed is 0\.$/,
  ],
  [
    "with a body of 17 KB",
    "worker",
    { json: { transport: "x".repeat(17_000) } },
    "SM_PAYLOAD_TOO_LARGE",
    /larger than 16384 bytes/,
    /largest body allowed here is 16384 bytes/,
  ],
  [
    "with a body of 17 KB",
    "scheduler",
    { json: { batch: "x".repeat(17_000) } },
    "SM_PAYLOAD_TOO_LARGE",
    /larger than 16384 bytes/,
    /largest body allowed here is 16384 bytes/,
  ],
  [
    "with a limit of its own",
    "worker",
    { json: { maxConcurrency: 1_001 } },
    "SM_BODY",
    /^maxConcurrency must be at most 1000/,
    /^The largest value allowed is 1000\.$/,
  ],
];
for (const [what, ...rest] of DISPATCH) testHint(what, ...rest);

const OPERATORS: [path: string, json: unknown, code: string, sentence: RegExp, hint: RegExp][] = [
  [
    "monitor/messages?limit=201",
    undefined,
    "SM_BATCH",
    /^limit must be at most 200/,
    /^The largest value allowed is 200\.$/,
  ],
  [
    "monitor/messages?limit=x",
    undefined,
    "SM_BATCH",
    /^limit must be a whole number from 1 to 200/,
    /^Send a whole number from 1 to 200\.$/,
  ],
  ["monitor/messages?id=5", undefined, "SM_FILTER", /^id must be a UUID/, /^Send a UUID\.$/],
  [
    "monitor/messages?status=done",
    undefined,
    "SM_FILTER",
    /^status must be one of pending, processing/,
    /^Send one of pending/,
  ],
  ["monitor/messages?from=yesterday", undefined, "SM_FILTER", /^from must be an ISO 8601 date/, DATE],
  ["monitor/messages?type=a%00b", undefined, "SM_NUL", /^type contains the NUL character/, /NUL/],
  [
    "monitor/metrics?minutes=0",
    undefined,
    "SM_BATCH",
    /^minutes must be at least 1/,
    /^The smallest value allowed is 1\.$/,
  ],
  [
    "monitor/schedules/preview?cron=*%20*%20*%20*%20*&count=101",
    undefined,
    "SM_BATCH",
    /^count must be at most 100/,
    /^The largest value allowed is 100\.$/,
  ],
  [
    "monitor/schedules/preview?cron=*%20*",
    undefined,
    "SM_CRON",
    /must have 5 or 6 fields, and has 2/,
    /cron expression of 5 or 6 fields/,
  ],
  [
    "monitor/schedules/preview?cron=*%20*%20*%20*%20*&startAt=2030-01-01T00:00:00Z",
    undefined,
    "SM_SCHEDULE",
    /startAt belongs to an interval/,
    /^Leave startAt out/,
  ],
  ["admin/flags/emails", {}, "SM_BODY", /^body must be \{"percent"/, /^Send \{"percent"/],
  [
    "admin/flags/emails",
    { percent: 101 },
    "SM_BATCH",
    /^percent must be at most 100/,
    /^The largest value allowed is 100\.$/,
  ],
  [
    "admin/failed/retry",
    { filter: {}, perSecond: 0 },
    "SM_BATCH",
    /^perSecond must be at least 1/,
    /^The smallest value allowed is 1\.$/,
  ],
  ["admin/failed/retry", { ids: ["5"] }, "SM_BODY", /^ids\.0 must be a UUID/, /^Send a UUID\.$/],
  [
    "admin/failed/retry",
    { filter: { from: "0000-01-01T00:00:00Z" } },
    "SM_BODY",
    /^filter\.from must be a date from the year 1 on/,
    /year 1 on/,
  ],
  [
    "admin/schedules/a%00b",
    { type: "TestNote", cron: "* * * * *" },
    "SM_NUL",
    /^The path contains the NUL character/,
    /NUL/,
  ],
  [
    "admin/schedules/nightly",
    { type: "TestNote", interval: 1 },
    "SM_INTERVAL",
    /^interval must be at least 1000/,
    /^The smallest value allowed is 1000\.$/,
  ],
  [
    "admin/transports/mail",
    { type: "smtp" },
    "SM_TRANSPORT",
    /^type must be one of sync, supabase/,
    /^Send one of sync/,
  ],
];
for (const [path, json, code, sentence, hint] of OPERATORS) {
  const method = /^admin\/(flags|schedules|transports)/.test(path) ? "PUT" : json === undefined ? "GET" : "POST";
  const shown = json === undefined ? "names the parameter" : `names the field of ${JSON.stringify(json).slice(0, 60)}`;
  testHint(shown, path, { method, json }, code, sentence, hint);
}

test("hints · the API's ranges are those of the database", async () => {
  const widest = [{ delay: 3_110_400_000_000 }, { idempotencyKey: "widest", idempotencyWindow: 31_104_000_000 }]
    .concat([{ scheduledAt: "9999-12-31T23:59:59Z" }, { expiresAt: "9999-12-31T23:59:59.999999+15:59" }] as never[]);
  for (const options of widest) {
    const { status, body } = await target().call("dispatch", { json: { message, options } });
    assert.equal(status, 201, JSON.stringify([options, body]));
  }
  const user = await target().newUser();
  const own = { message: { type: "ExampleUser", payload: { note: "a" } }, options: { delay: 3_110_400_000_000 } };
  assert.equal((await target().call("dispatch", { json: own, as: user })).status, 201);
});
