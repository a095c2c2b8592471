// Numbers that a double cannot represent: their detection, and their search in JSON.
import assert from "node:assert/strict";
import { findInexactNumbers, isExact, quoteInexactNumbers } from "../../shared/exact_numbers.ts";

const EXACT = ["0", "-0", "0.0", "0e999999", "1", "-1.5", "1.10", "100.00", "0.1", "0.30000000000000004", "5e-324"]
  .concat("9007199254740992", "-9007199254740992", "9007199254740994", "123456789.12345678", "1e21", "1E+21", "1e-7")
  .concat("100000000000000000000", "1.7976931348623157e308", "1152921504606847000", `1${"0".repeat(300)}`);
const INEXACT = [
  "9007199254740993",
  "-9007199254740993",
  "9007199254740993.0",
  "9.007199254740993e15",
  "1e400",
  "-1e400",
]
  .concat("1145678901234567891", "1e-400", "0.1234567890123456789", "3.14159265358979323846", "12345678901234567890.5")
  .concat("1.0000000000000000001", "18446744073709551615", `1${"0".repeat(400)}`, `0.${"0".repeat(400)}1`);

Deno.test("exact numbers · a number is exact if JavaScript writes the number that it has read", () => {
  for (const token of EXACT) assert.equal(isExact(token), true, token);
  for (const token of INEXACT) assert.equal(isExact(token), false, token);
});

Deno.test("exact numbers · inexact ones are found at any depth, with their path, and strings are not numbers", () => {
  const inexact = "1145678901234567891";
  const cases: [json: string, paths: string[]][] = [
    [`${inexact}`, [""]],
    [`{"a":${inexact}}`, ["a"]],
    [`{"a": [1, {"b": ${inexact}}, -${inexact}]}`, ["a.1.b", "a.2"]],
    [`[[],[[${inexact}]],{"x":{}},${inexact}]`, ["1.0.0", "3"]],
    [`{"a":"${inexact}","${inexact}":1,"b":"\\" : ${inexact}, ${inexact}"}`, []],
    [`{"a\\"b":{"10":1e400,"9":1e-400}}`, ['a\\"b.10', 'a\\"b.9']],
    [`{"a":true,"b":null,"c":1e5,"d":[false,${inexact}]}`, ["d.1"]],
    [`{"id":"0192e4c0-5e12-7000-8000-000000000001","at":"2026-11-28T11:24:09.123456+00:00"}`, []],
  ];
  for (const [json, paths] of cases) {
    assert.deepEqual([...findInexactNumbers(json)].map(({ path }) => path.join(".")), paths, json);
  }
});

Deno.test("exact numbers · an inexact number is found at any position of the text", () => {
  for (let before = 0; before < 40; before++) {
    const json = `{"a":"${"x".repeat(before)}","body":9007199254740993}`;
    assert.equal([...findInexactNumbers(json)].length, 1, `${before}`);
    assert.equal(JSON.parse(quoteInexactNumbers(json)).body, "9007199254740993", `${before}`);
  }
});

Deno.test("exact numbers · they become strings in a project's own data; figures of the bus stay numbers", () => {
  const reply =
    `{"average": 0.33333333333333333333, "claimed": [{"fence": 3, "body": {"user": 1145678901234567891, "n": 1},
    "headers": {}, "metadata": {"deep": [{"x": 0.12345678901234567890}]}, "result": 18446744073709551615,
    "rate": 0.1428571428571428571428}]}`;
  assert.deepEqual(JSON.parse(quoteInexactNumbers(reply)), {
    average: 1 / 3,
    claimed: [{
      fence: 3,
      body: { user: "1145678901234567891", n: 1 },
      headers: {},
      metadata: { deep: [{ x: "0.12345678901234567890" }] },
      result: "18446744073709551615",
      rate: 1 / 7,
    }],
  });
});
