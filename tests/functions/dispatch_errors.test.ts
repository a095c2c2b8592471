// The dispatch edge function and bad input: each is rejected with code, status and remedy, and nothing is stored.
import assert from "node:assert/strict";
import { test } from "../project.ts";
import { assertRejected, type Call, useTarget } from "../target.ts";

const { target } = useTarget();
const JSON_TYPE = { "content-type": "application/json" };
const TYPE = "TestNote";

function testRejection(what: string, status: number, code: string, call: Call, naming?: RegExp, path = "dispatch") {
  test(`/${path} · rejects ${what}`, async () => {
    const before = await target().countMessages();
    const message = assertRejected(await target().call(path, { method: "POST", ...call }), status, code);
    if (naming) assert.match(message, naming);
    assert.equal(await target().countMessages(), before);
  });
}

const text = (raw: BodyInit): Call => ({ raw, headers: JSON_TYPE });
const payload = (json: string): Call => text(`{"message":{"type":"${TYPE}","payload":${json}}}`);
const option = (name: string, json: string): Call =>
  text(`{"message":{"type":"${TYPE}","payload":{}},"options":{"${name}":${json}}}`);
const typed = (type: unknown): Call => ({ json: { message: { type, payload: {} } } });
const batch = (json: unknown): Call => ({ json });
const nested = (depth: number) => `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`;

// Bodies
testRejection("a body that is not JSON", 400, "SM_JSON", text("{message"));
testRejection("JSON followed by text", 400, "SM_JSON", text("{}{}"));
testRejection("an empty body", 400, "SM_BODY", text(""));
testRejection("a body of spaces", 400, "SM_BODY", text(" \n "));
testRejection("no body at all", 415, "SM_CONTENT_TYPE", {});
testRejection("an array", 400, "SM_BODY", text("[]"));
for (const scalar of ["null", "5", "true", '"text"']) {
  testRejection(`the scalar ${scalar}`, 400, "SM_BODY", text(scalar));
}
testRejection("an object without a message", 400, "SM_BODY", text("{}"), /message/);
testRejection("bytes that are not UTF-8", 400, "SM_JSON", text(new Uint8Array([0x22, 0xff, 0xfe, 0x22])));
for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"]) {
  testRejection(`the content type ${type}`, 415, "SM_CONTENT_TYPE", { raw: "{}", headers: { "content-type": type } });
}
testRejection("a payload over 256 KB", 413, "SM_PAYLOAD_TOO_LARGE", payload(`{"a":"${"x".repeat(262_144)}"}`));
testRejection("256 KB counted in bytes", 413, "SM_PAYLOAD_TOO_LARGE", payload(`{"a":"${"é".repeat(131_070)}"}`));
testRejection("a megabyte of body", 413, "SM_PAYLOAD_TOO_LARGE", text("x".repeat(1_048_576)));
testRejection("a megabyte without a declared length", 413, "SM_PAYLOAD_TOO_LARGE", {
  get raw() {
    return new Blob(["x".repeat(1_048_576)]).stream();
  },
  headers: JSON_TYPE,
});
testRejection("16 KB of headers", 413, "SM_HEADERS_TOO_LARGE", option("headers", `{"a":"${"x".repeat(16_384)}"}`));
testRejection("16 KB of metadata", 413, "SM_HEADERS_TOO_LARGE", option("metadata", `{"a":"${"x".repeat(16_384)}"}`));
testRejection("nesting 65 deep", 400, "SM_DEPTH", payload(nested(64)));
testRejection("nesting 10,000 deep", 400, "SM_DEPTH", payload(nested(10_000)));
testRejection("200,000 brackets and nothing else", 400, "SM_DEPTH", text("[".repeat(200_000)));
testRejection("a key named __proto__", 400, "SM_JSON", payload('{"a":{"__proto__":{"admin":true}}}'));
testRejection("a key named __proto__ at the top", 400, "SM_JSON", text('{"__proto__":{}}'));
testRejection("NUL in a string", 422, "SM_NUL", payload('{"a":["\\u0000"]}'));
testRejection("NUL in a key", 422, "SM_NUL", payload('{"\\u0000":1}'));
testRejection("NUL in the type", 422, "SM_NUL", text('{"message":{"type":"A\\u0000","payload":{}}}'));
testRejection("NUL in an idempotency key", 422, "SM_NUL", option("idempotencyKey", '"a\\u0000"'));
testRejection("a lone surrogate", 400, "SM_JSON", payload('{"a":"\\ud800"}'));
testRejection("a lone surrogate in a key", 400, "SM_JSON", payload('{"\\udc00":1}'));
const INEXACT = ["1e400", "-1e400", "1e131071", "1e-400", "1145678901234567891", "-9007199254740993"]
  .concat("9007199254740993.0", "9.007199254740993e15", "0.1234567890123456789", "12345678901234567890.5");
for (const number of INEXACT) {
  testRejection(`the number ${number}`, 422, "SM_NUMBER_RANGE", payload(`{"a":${number}}`));
  testRejection(`the number ${number} as an option`, 422, "SM_NUMBER_RANGE", option("priority", number));
}
testRejection(
  "a 64-bit id as a number, by its path",
  422,
  "SM_NUMBER_RANGE",
  payload('{"a":{"id":[1145678901234567891]}}'),
  /^message\.payload\.a\.id\.0 is 1145678901234567891, /,
);
testRejection("a 64-bit id in the metadata", 422, "SM_NUMBER_RANGE", option("metadata", '{"id":1145678901234567891}'));
testRejection("a 64-bit id in the headers", 422, "SM_NUMBER_RANGE", option("headers", '{"id":1145678901234567891}'));
testRejection(
  "a 64-bit id in a batch",
  422,
  "SM_NUMBER_RANGE",
  text(`{"messages":[{"message":{"type":"${TYPE}","payload":{"id":1145678901234567891}}}]}`),
  /^messages\.0\.message\.payload\.id is /,
  "dispatch/batch",
);
testRejection("a payload that does not fit its type's schema", 422, "SM_PAYLOAD", {
  json: { message: { type: "ExampleSlow", payload: { ms: -1 } } },
}, /ms/);

// Unknown fields, named at every level
testRejection("an unknown field beside the message", 400, "SM_UNKNOWN_FIELD", {
  json: { message: { type: TYPE, payload: {} }, queue: "a" },
}, /Unknown field: queue$/);
testRejection("an unknown field of the message", 400, "SM_UNKNOWN_FIELD", {
  json: { message: { type: TYPE, payload: {}, body: {} } },
}, /message\.body/);
testRejection("an unknown option", 400, "SM_UNKNOWN_FIELD", option("prio", "5"), /options\.prio/);
testRejection(
  "an option in SQL's spelling",
  400,
  "SM_UNKNOWN_FIELD",
  option("max_retries", "5"),
  /options\.max_retries/,
);

// Fields
for (
  const [what, type] of Object.entries({
    "an empty type": "",
    "a type of 129 characters": "A".repeat(129),
    "a type with a space": "A B",
    "a type of SQL": "A'; drop table messenger_messages; --",
    "a type of look-alike characters": "Тest",
    "a type that starts with a digit": "1A",
    "a type that ends with a line break": "A\n",
    "a type that is a number": 5,
    "a type that is null": null,
    "a missing type": undefined,
  })
) testRejection(what, 400, "SM_TYPE", typed(type));
for (const value of ["null", "[]", '"text"', "5"]) {
  testRejection(`the payload ${value}`, 400, "SM_PAYLOAD_NOT_OBJECT", payload(value));
  testRejection(`the headers ${value}`, 400, "SM_HEADERS_NOT_OBJECT", option("headers", value));
  testRejection(`the metadata ${value}`, 400, "SM_METADATA_NOT_OBJECT", option("metadata", value));
}
testRejection("a missing payload", 400, "SM_PAYLOAD_NOT_OBJECT", { json: { message: { type: TYPE } } });
testRejection("options that are null", 400, "SM_BODY", {
  json: { message: { type: TYPE, payload: {} }, options: null },
});

const BAD_OPTIONS: Record<string, [code: string, ...values: unknown[]]> = {
  priority: ["SM_PRIORITY", "5", null, 5.5, 0, 11, -1, true, [], 1e10],
  maxRetries: ["SM_MAX_RETRIES", "3", null, 1.5, -1, 101, false],
  delay: ["SM_DELAY", "5", null, 5.5, -1, 4e15],
  queue: ["SM_QUEUE", "", "A", "a b", "-a", "a".repeat(64), "a'--", "a/b", null, 5],
  transport: ["SM_TRANSPORT", "", "nowhere", "constructor", null, 5],
  idempotencyKey: ["SM_IDEMPOTENCY_KEY", "", "x".repeat(256), "é".repeat(128), "a\nb", "a\x7f", null, 5],
  idempotencyMode: ["SM_IDEMPOTENCY_MODE", "Replace", "nonsense", "", null, 5],
  idempotencyWindow: ["SM_IDEMPOTENCY_KEY", "5", null, 5.5, -1, 1_000],
  orderingKey: ["SM_ORDERING_KEY", "", "x".repeat(256), "é".repeat(128), "a\nb", "a\x7f", null, 5, ["a"]],
};
const BAD_DATES = [
  "2031-01-01T00:00:00", // no zone
  "2031-01-01",
  "infinity",
  "-infinity",
  "now",
  "tomorrow",
  "20000-01-01T00:00:00Z",
  "2031-13-01T00:00:00Z",
  "2031-02-30T00:00:00Z",
  "",
  1924992000000,
  null,
];
BAD_OPTIONS.scheduledAt = ["SM_AVAILABLE_AT", ...BAD_DATES];
BAD_OPTIONS.expiresAt = ["SM_EXPIRES_AT", ...BAD_DATES, "2020-01-01T00:00:00Z"];

for (const [name, [code, ...values]] of Object.entries(BAD_OPTIONS)) {
  for (const value of values) {
    const shown = JSON.stringify(value);
    const what = `${name} ${shown.length > 40 ? `${shown.slice(0, 20)}… of ${shown.length} characters` : shown}`;
    testRejection(what, 400, code, option(name, shown));
  }
}
testRejection("an expiry before the message's time", 400, "SM_EXPIRES_AT", {
  json: {
    message: { type: TYPE, payload: {} },
    options: { scheduledAt: "2031-01-02T00:00:00Z", expiresAt: "2031-01-01T00:00:00Z" },
  },
});
for (const mode of ["replace", "reschedule", "throttle", "debounce"]) {
  testRejection(`the mode ${mode} without a key`, 400, "SM_IDEMPOTENCY_KEY", option("idempotencyMode", `"${mode}"`));
}
testRejection("a delay and a time together", 400, "SM_DELAY", {
  json: { message: { type: TYPE, payload: {} }, options: { delay: 5, scheduledAt: "2031-01-02T00:00:00Z" } },
});
for (const [what, key] of [["empty", ""], ["of 256 bytes", "x".repeat(256)], ["with a tab", "a\tb"]]) {
  const headers = { "Idempotency-Key": key };
  testRejection(`an Idempotency-Key header ${what}`, 400, "SM_IDEMPOTENCY_KEY", { ...typed(TYPE), headers });
}
testRejection("two different idempotency keys", 400, "SM_IDEMPOTENCY_KEY", {
  json: { message: { type: TYPE, payload: {} }, options: { idempotencyKey: "a" } },
  headers: { "Idempotency-Key": "b" },
});

// Batches
const good = { message: { type: TYPE, payload: {} } };
const rejectsBatch = (what: string, status: number, code: string, call: Call, naming?: RegExp) =>
  testRejection(what, status, code, call, naming, "dispatch/batch");
rejectsBatch("an empty batch", 400, "SM_BATCH", batch({ messages: [] }));
rejectsBatch("a batch without messages", 400, "SM_BATCH", batch({}));
rejectsBatch("messages that are not a list", 400, "SM_BATCH", batch({ messages: good }));
rejectsBatch("1,001 messages", 413, "SM_BATCH_TOO_LARGE", batch({ messages: Array(1_001).fill(good) }));
rejectsBatch("9 MB", 413, "SM_BATCH_TOO_LARGE", text("x".repeat(9 * 1_048_576)));
rejectsBatch("an unknown field", 400, "SM_UNKNOWN_FIELD", batch({ messages: [good], atom: true }), /atom/);
rejectsBatch("atomic as text", 400, "SM_BODY", batch({ messages: [good], atomic: "true" }), /atomic/);
rejectsBatch("the header Idempotency-Key", 400, "SM_IDEMPOTENCY_KEY", {
  json: { messages: [good] },
  headers: { "Idempotency-Key": "a" },
});
const BAD_ELEMENTS: [what: string, status: number, code: string, element: unknown][] = [
  ["a scalar", 400, "SM_BODY", 5],
  ["null", 400, "SM_BODY", null],
  ["a bad priority", 400, "SM_PRIORITY", { ...good, options: { priority: 11 } }],
  ["an unknown field", 400, "SM_UNKNOWN_FIELD", { ...good, options: { prio: 1 } }],
  ["a large payload", 413, "SM_PAYLOAD_TOO_LARGE", { message: { type: TYPE, payload: { a: "x".repeat(262_144) } } }],
];
for (const index of [0, 1, 2]) {
  for (const [what, status, code, element] of BAD_ELEMENTS) {
    const messages: unknown[] = Array(3).fill(good);
    messages[index] = element;
    const place = new RegExp(`^message ${index + 1}: `);
    rejectsBatch(`all for ${what} at index ${index + 1}`, status, code, batch({ messages }), place);
  }
}

test("batch edge function · a bad element of a batch that is not atomic affects only itself", async () => {
  for (const index of [0, 1, 2]) {
    for (const [what, , code, element] of BAD_ELEMENTS) {
      const before = await target().countMessages();
      const messages: unknown[] = Array(3).fill(good);
      messages[index] = element;
      const { status, body } = await target().call("dispatch/batch", { json: { messages, atomic: false } });
      const results = body.results as { success: boolean; error?: { code: string; hint: string } }[];
      assert.equal(status, 207);
      assert.deepEqual(results.map(({ success }) => success), [0, 1, 2].map((place) => place !== index), what);
      assert.equal(results[index].error?.code, code);
      assert.ok(results[index].error?.hint);
      assert.equal(await target().countMessages(), before + 2);
    }
  }
});
