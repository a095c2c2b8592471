// Untrusted objects against schemas: the error names field, value and range, and the hint is that field's own.
import assert from "node:assert/strict";
import { z } from "zod";
import { SymphonyError } from "../../shared/errors.ts";
import { milliseconds, moment } from "../../shared/fields.ts";
import { parse } from "../../shared/parse.ts";

const schema = z.strictObject({
  count: z.int().min(1).max(200),
  ratio: z.number().max(1).optional(),
  name: z.string().min(1).max(5).optional(),
  mode: z.enum(["fast", "slow"]).optional(),
  isOpen: z.boolean().optional(),
  ids: z.array(z.string()).max(2).optional(),
  inner: z.object({ at: moment.optional(), wait: milliseconds(1_000).optional() }).optional(),
  id: z.uuid().optional(),
  odd: z.string().regex(/^x$/, { error: "expected an x" }).optional(),
  other: z.string().regex(/^x$/, { error: "no x" }).optional(),
});
const CODES = { count: "SM_BATCH", at: "SM_AVAILABLE_AT", wait: "SM_DELAY" } as const;

const cases: [fields: Record<string, unknown>, code: string, message: string, hint: string][] = [
  [{ count: 201 }, "SM_BATCH", "count must be at most 200, not 201.", "The largest value allowed is 200."],
  [{ count: 0 }, "SM_BATCH", "count must be at least 1, not 0.", "The smallest value allowed is 1."],
  [{ count: "5" }, "SM_BATCH", 'count must be a number, not "5".', "Send a number."],
  [{ count: 5.5 }, "SM_BATCH", "count must be a whole number, not 5.5.", "Send a whole number."],
  [{ count: null }, "SM_BATCH", "count must be a number, not null.", "Send a number."],
  [{ count: undefined }, "SM_BATCH", "count must be a number.", "Send a number."],
  [{ ratio: 2 }, "SM_BODY", "ratio must be at most 1, not 2.", "The largest value allowed is 1."],
  [
    { name: "" },
    "SM_BODY",
    'name must be a text of at least 1 characters, not "".',
    "Send a text of at least 1 characters.",
  ],
  [
    { name: "abcdef" },
    "SM_BODY",
    'name must be a text of at most 5 characters, not "abcdef".',
    "Send a text of at most 5 characters.",
  ],
  [{ mode: "slower" }, "SM_BODY", 'mode must be one of fast, slow, not "slower".', "Send one of fast, slow."],
  [{ isOpen: "true" }, "SM_BODY", 'isOpen must be true or false, not "true".', "Send true or false."],
  [{ ids: {} }, "SM_BODY", "ids must be an array.", "Send an array."],
  [
    { ids: ["a", "b", "c"] },
    "SM_BODY",
    "ids must be a list of at most 2 elements.",
    "Send a list of at most 2 elements.",
  ],
  [{ ids: [5] }, "SM_BODY", "ids.0 must be a string, not 5.", "Send a string."],
  [{ inner: 5 }, "SM_BODY", "inner must be an object, not 5.", "Send an object."],
  [
    { inner: { wait: 1_001 } },
    "SM_DELAY",
    "inner.wait must be at most 1000, not 1001.",
    "The largest value allowed is 1000.",
  ],
  [{ id: "5" }, "SM_BODY", 'id must be a UUID, not "5".', "Send a UUID."],
  [{ odd: "y" }, "SM_BODY", 'odd must be an x, not "y".', "Send an x."],
  [{ other: "y" }, "SM_BODY", "other: no x", "Send one JSON object with the documented fields."],
  [{ more: 1 }, "SM_UNKNOWN_FIELD", "Unknown field: more", "Remove the field or correct its spelling."],
  [
    { name: "x".repeat(500) },
    "SM_BODY",
    `name must be a text of at most 5 characters, not "${"x".repeat(59)}.`,
    "Send a text of at most 5 characters.",
  ],
];

for (const [fields, code, message, hint] of cases) {
  Deno.test(`parse · ${JSON.stringify(fields).slice(0, 60)}: ${message.slice(0, 60)}`, () => {
    assert.throws(() => parse(schema, { count: 1, ...fields }, CODES), { code, message, hint });
  });
}

Deno.test("parse · the object itself is called the body", () => {
  for (const value of [5, null, [], "text", undefined]) {
    assert.throws(() => parse(schema, value, CODES), (error) => {
      assert.ok(error instanceof SymphonyError);
      assert.match(error.message, /^body must be an object/);
      return error.code === "SM_BODY" && error.hint === "Send an object.";
    });
  }
});

Deno.test("fields · a timestamp is one that Postgres can read: with a zone, from the year 1 on", () => {
  const good = [
    "2030-01-31T09:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "2030-01-31T09:00:00+15:59",
  ]
    .concat("2030-01-31T09:00:00-15:59", "2028-02-29T00:00:00-00:00", "2030-01-31T09:00:00.123456789Z");
  for (const text of good) assert.equal(moment.parse(text), text);
  const bad = ["2030-01-31T09:00:00", "2030-01-31", "0000-01-01T00:00:00Z", "2030-01-31T09:00:00+16:00", "infinity"]
    .concat("2030-01-31T09:00:00-23:59", "2030-02-29T00:00:00Z", "20000-01-01T00:00:00Z", "now", "")
    .concat(`2030-01-31T09:00:00.${"1".repeat(30)}Z`);
  for (const text of bad) assert.equal(moment.safeParse(text).success, false, text);
});
