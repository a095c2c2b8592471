// JSON of callers and handlers: the accepted values, and the error of each rejected one.
import assert from "node:assert/strict";
import { parseJson, rejectLonger, toJson } from "../../shared/json.ts";
import { assertCode } from "./assert_code.ts";

Deno.test("parseJson · 64 levels are allowed, 65 are not, and brackets in strings do not count", async () => {
  const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  parseJson(nested(64));
  await assertCode(() => parseJson(nested(65)), "SM_DEPTH", 400);
  await assertCode(() => parseJson("[".repeat(4_000_000)), "SM_DEPTH", 400);
  const text = JSON.stringify({ a: '"' + "[".repeat(100) + "\\" });
  assert.deepEqual(parseJson(text), JSON.parse(text));
});

Deno.test("parseJson · numbers that JavaScript writes as it has read them are unchanged", () => {
  const numbers =
    "[0.1,-0.30000000000000004,9007199254740992,1e21,1.7976931348623157e308,5e-324,1.50,100000000000000000000]";
  assert.deepEqual(parseJson(numbers), JSON.parse(numbers));
});

Deno.test("parseJson · of two equal keys the last one counts", () => {
  assert.deepEqual(parseJson('{"a":1,"a":2}'), { a: 2 });
});

Deno.test("toJson · values without a JSON form are rejected, and undefined is null", async () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  assert.equal(toJson(undefined), null);
  assert.deepEqual(toJson({ at: new Date(0), gone: undefined }), { at: "1970-01-01T00:00:00.000Z" });
  await assertCode(() => toJson(cycle), "SM_JSON", 400);
  await assertCode(() => toJson(() => 1), "SM_JSON", 400);
  await assertCode(() => toJson({ n: 1n }), "SM_JSON", 400);
});

Deno.test("rejectLonger · counts bytes of UTF-8, not characters", async () => {
  rejectLonger("x".repeat(8), 10, "SM_PAYLOAD_TOO_LARGE", "text");
  await assertCode(
    () => rejectLonger("\u{1F600}".repeat(3), 10, "SM_PAYLOAD_TOO_LARGE", "text"),
    "SM_PAYLOAD_TOO_LARGE",
    413,
  );
});
