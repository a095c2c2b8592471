// Request bodies: the accepted ones, and the error of each rejected one.
import assert from "node:assert/strict";
import { SymphonyError } from "../../../shared/errors.ts";
import { readJsonBody } from "../../../shared/http/body.ts";
import { assertCode } from "../assert_code.ts";

const LIMIT = { bytes: 1_000, code: "SM_PAYLOAD_TOO_LARGE" } as const;

function post(body: BodyInit | null, contentType: string | null = "application/json"): Request {
  const request = new Request("http://localhost/", { method: "POST", body });
  request.headers.delete("content-type");
  if (contentType !== null) request.headers.set("content-type", contentType);
  return request;
}

Deno.test("readJsonBody · an object with nested values arrives unchanged", async () => {
  const body = { a: [1, "two", null, { b: true }], "\u00e9": "\u{1F600}" };
  assert.deepEqual(await readJsonBody(post(JSON.stringify(body), "application/json; charset=utf-8"), LIMIT), body);
});

Deno.test("readJsonBody · every kind of bad body is rejected with its own code", async (t) => {
  const cases: [string, Request, string, number][] = [
    ["no content type", post("{}", null), "SM_CONTENT_TYPE", 415],
    ["text", post("{}", "text/plain"), "SM_CONTENT_TYPE", 415],
    ["UTF-16", post("{}", "application/json; charset=utf-16"), "SM_CONTENT_TYPE", 415],
    ["Latin-1", post("{}", 'application/json; odata=verbose; charset="ISO-8859-1"'), "SM_CONTENT_TYPE", 415],
    ["an empty charset", post("{}", "application/json; charset="), "SM_CONTENT_TYPE", 415],
    ["two types", post("{}", "application/json, text/plain"), "SM_CONTENT_TYPE", 415],
    ["an empty type", post("{}", ""), "SM_CONTENT_TYPE", 415],
    ["almost json", post("{}", "application/jsonp"), "SM_CONTENT_TYPE", 415],
    ["empty", post(""), "SM_BODY", 400],
    ["blank", post(" \n "), "SM_BODY", 400],
    ["a byte order mark alone", post("\ufeff"), "SM_BODY", 400],
    ["bytes of UTF-16", post(new Uint8Array([0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00])), "SM_JSON", 400],
    ["array", post("[]"), "SM_BODY", 400],
    ["null", post("null"), "SM_BODY", 400],
    ["string", post('"text"'), "SM_BODY", 400],
    ["cut off", post('{"a":'), "SM_JSON", 400],
    ["not UTF-8", post(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), "SM_JSON", 400],
    ["__proto__", post('{"a":{"__proto__":{"admin":true}}}'), "SM_JSON", 400],
    ["NUL in a value", post('{"a":["x\\u0000y"]}'), "SM_NUL", 422],
    ["NUL in a key", post('{"a\\u0000":1}'), "SM_NUL", 422],
    ["lone surrogate", post('{"a":"\\ud800"}'), "SM_JSON", 400],
    ["lone surrogate in a key", post('{"\\udc00":1}'), "SM_JSON", 400],
    ["huge number", post('{"a":1e400}'), "SM_NUMBER_RANGE", 422],
    ["hugely negative number", post('{"a":[-1e131071]}'), "SM_NUMBER_RANGE", 422],
    ["number too close to zero", post('{"a":1e-400}'), "SM_NUMBER_RANGE", 422],
    ["64-bit id", post('{"a":1145678901234567891}'), "SM_NUMBER_RANGE", 422],
    ["long fraction", post('{"a":0.1234567890123456789}'), "SM_NUMBER_RANGE", 422],
    ["too long", post(JSON.stringify({ a: "x".repeat(1_000) })), "SM_PAYLOAD_TOO_LARGE", 413],
  ];
  for (const [name, request, code, status] of cases) {
    await t.step(name, () => assertCode(() => readJsonBody(request, LIMIT), code, status));
  }
});

Deno.test("readJsonBody · UTF-8 may be named in any spelling, and a byte order mark is skipped", async () => {
  const types = ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf8"']
    .concat("application/json; charset=us-ascii", "application/json; odata=verbose");
  for (const type of types) assert.deepEqual(await readJsonBody(post('\ufeff{"a":1}', type), LIMIT), { a: 1 }, type);
});

Deno.test("readJsonBody · an error names the field, and its hint fits that field and cause", async () => {
  const cases: [body: BodyInit, message: RegExp, hint: RegExp][] = [
    ['{"a":{"b":["x","\\u0000"]}}', /^a\.b\.1 contains the NUL character \\u0000\.$/, /NUL/],
    ['{"a":{"\\u0000":1}}', /^A key of a contains the NUL/, /NUL/],
    ['{"\\u0000":1}', /^A key of the body contains the NUL/, /NUL/],
    ['{"a":[1,{"b":"\\ud800"}]}', /^a\.1\.b contains half of a surrogate pair/, /between the two halves/],
    ['{"a":{"__proto__":1}}', /^a has a key named __proto__/, /^Rename the key/],
    [
      '{"a":[0,1e999]}',
      /^a\.1 is 1e999, but a double cannot hold that number: JavaScript would have no number for it\.$/,
      /^Send it as a string: "1e999"\.$/,
    ],
    [
      '{"a":{"10":1,"9":1145678901234567891}}',
      /^a\.9 is 1145678901234567891, but a double cannot hold .* would change it to 1145678901234568000\.$/,
      /^Send it as a string: "1145678901234567891"\.$/,
    ],
    [`{"a":1${"0".repeat(400)}}`, /^a is 1000000000000000000000000000000000000000\.\.\., but/, /as a string/],
    ['{"a":1,}', /^The body is not valid JSON: .*position 7/, /^Send valid JSON/],
    [new Uint8Array([0x7b, 0xff, 0x7d]), /not valid UTF-8/, /UTF-8/],
    ["[1]", /^The body is an array; it must be a JSON object/, /JSON object/],
    ["null", /^The body is null; it must be/, /JSON object/],
    [" ", /^The body is empty/, /at least \{\}/],
    [`{"a":"${"x".repeat(1_000)}"}`, /larger than 1000 bytes/, /1000 bytes/],
  ];
  for (const [body, message, hint] of cases) {
    await assert.rejects(readJsonBody(post(body), LIMIT), (error) => {
      assert.ok(error instanceof SymphonyError);
      assert.match(error.message, message);
      assert.match(error.hint, hint, error.message);
      return true;
    });
  }
  await assert.rejects(readJsonBody(post("{}", "application/json; charset=utf-16"), LIMIT), {
    message: "The content type has the charset utf-16.",
    hint: /UTF-8/,
  });
});

Deno.test("readJsonBody · a body without a length is cut off while it streams", async () => {
  let pulled = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled++;
      controller.enqueue(new Uint8Array(400).fill(0x20));
    },
  });
  await assertCode(() => readJsonBody(post(endless), LIMIT), "SM_PAYLOAD_TOO_LARGE", 413);
  assert.ok(pulled < 10, `read ${pulled} chunks`);
});

Deno.test("readJsonBody · a declared length that is too large is rejected without reading a byte", async () => {
  const unread = new ReadableStream({ pull: () => assert.fail("it was read") }, { highWaterMark: 0 });
  const request = post(unread);
  request.headers.set("content-length", "1001");
  await assertCode(() => readJsonBody(request, LIMIT), "SM_PAYLOAD_TOO_LARGE", 413);
});

Deno.test("readJsonBody · an optional body may be missing but not wrong", async () => {
  const limit = { ...LIMIT, optional: true };
  assert.deepEqual(await readJsonBody(new Request("http://localhost/", { method: "POST" }), limit), {});
  assert.deepEqual(await readJsonBody(post(""), limit), {});
  await assertCode(() => readJsonBody(post("{}", null), limit), "SM_CONTENT_TYPE", 415);
  await assertCode(() => readJsonBody(post("[]"), limit), "SM_BODY", 400);
});
