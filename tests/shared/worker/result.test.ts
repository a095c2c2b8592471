// Results of handlers: their storage, and the marker for those that cannot be stored.
import assert from "node:assert/strict";
import { createLog } from "../../../shared/log.ts";
import { storableResult } from "../../../shared/worker/result.ts";

const log = createLog({}, () => {});
const cycle: Record<string, unknown> = {};
cycle.self = cycle;
const deep = (levels: number): unknown => levels === 0 ? 1 : { a: deep(levels - 1) };
const throwing = (thrown: unknown) => ({
  toJSON() {
    throw thrown;
  },
});
const UNSTORABLE: [what: string, result: unknown, reason: RegExp][] = [
  ["a bigint", { n: 1n }, /BigInt/],
  ["a function", () => 1, /is a function/],
  ["a symbol", Symbol("s"), /is a symbol/],
  ["a NUL character", { a: ["x\0y"] }, /^a\.0 contains the NUL character/],
  ["a NUL character in a key", { "a\0": 1 }, /NUL/],
  ["half of a surrogate pair", "\ud800", /half of a surrogate pair/],
  ["a cycle", cycle, /circular/],
  ["65 levels", deep(65), /deeper than 64/],
  ["100,000 levels", Array.from({ length: 100_000 }).reduce((inner) => [inner], 1), /./],
  ["toJSON that throws an error", throwing(new Error("no \0 JSON \ud800")), /no \u2400 JSON \ufffd/],
  ["toJSON that throws a text", { a: throwing("sorry") }, /sorry/],
  ["toJSON that throws a symbol", throwing(Symbol("odd")), /odd/],
  [
    "toJSON that throws an error without a message",
    throwing(Object.assign(new Error(), { message: Symbol("m") })),
    /m/,
  ],
  ["toJSON that throws a value without a text", throwing(Object.create(null)), /./],
  ["more than 64 KB", "x".repeat(65_535), /^larger than 64 KB$/],
  ["more than 64 KB of UTF-8", "\u00e9".repeat(32_768), /^larger than 64 KB$/],
];
for (const [what, result, reason] of UNSTORABLE) {
  Deno.test(`result · ${what} is replaced by a marker with the reason`, () => {
    const { symphony_dropped } = storableResult(result, log) as Record<string, string>;
    assert.match(symphony_dropped, reason);
    assert.doesNotMatch(symphony_dropped, /\0/);
    assert.ok(symphony_dropped.isWellFormed() && symphony_dropped.length <= 500);
  });
}

Deno.test("result · 64 KB, 64 levels, and values with toJSON are stored; undefined is null", () => {
  for (const result of ["x".repeat(65_534), deep(64), { toJSON: () => "as told" }, new Date(0)]) {
    assert.deepEqual(storableResult(result, log), JSON.parse(JSON.stringify(result)));
  }
  assert.equal(storableResult(undefined, log), null);
});
