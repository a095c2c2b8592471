// Log lines: one JSON object each, without secrets and bodies.
import assert from "node:assert/strict";
import { createLog, type Fields } from "../../shared/log.ts";

function logged(fields: Fields, message = "said"): { line: string; entry: Record<string, unknown> } {
  const lines: string[] = [];
  createLog({ app: "test" }, (line) => lines.push(line)).error(message, fields);
  assert.equal(lines.length, 1);
  return { line: lines[0], entry: JSON.parse(lines[0]) };
}

Deno.test("log · newlines stay inside the line", () => {
  const { line, entry } = logged({ text: "a\nb" }, "one\ntwo");
  assert.doesNotMatch(line, /\n/);
  assert.deepEqual(entry, { level: "error", message: "one\ntwo", app: "test", text: "a\nb" });
});

Deno.test("log · secrets are redacted by name and by form, at any depth", () => {
  const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
  const { line } = logged({
    apikey: "plain-1",
    nested: { Authorization: "plain-2", list: [{ worker_secret: "plain-3" }] },
    text: `Bearer plain-4 and ${jwt} and sb_secret_plain-5 and postgres://me:plain-6@host/db`,
    error: new Error(`key sb_secret_plain-7 rejected`, { cause: { token: "plain-8" } }),
  });
  assert.doesNotMatch(line, /plain-\d/);
  assert.doesNotMatch(line, /eyJ/);
  assert.match(line, /postgres:\/\/me:\[redacted\]@host/);
});

Deno.test("log · secrets in the message itself are redacted, of every scheme", () => {
  const { entry } = logged(
    { text: "Basic cGxhaW4tMQ==" },
    "rejected Bearer plain-2, basic cGxhaW4tMw==, sb_publishable_4",
  );
  assert.equal(entry.text, "Basic [redacted]");
  assert.equal(entry.message, "rejected Bearer [redacted], basic [redacted], sb_publishable_[redacted]");
});

Deno.test("log · bodies, results, headers and metadata of messages never appear", () => {
  for (const name of ["body", "payload", "result", "headers", "metadata"]) {
    for (const fields of [{ [name]: { a: "private" } }, { [name]: "private" }, { delivery: { [name]: ["private"] } }]) {
      const { line } = logged(fields);
      assert.match(line, /not logged/);
      assert.doesNotMatch(line, /private/, name);
    }
  }
});

Deno.test("log · the fields of a log are on all of its lines, and redacted like any other", () => {
  const lines: string[] = [];
  const log = createLog({ app: "test" }, (line) => lines.push(line)).with({ id: 1, token: "private" });
  log.info("a");
  log.warn("b", { id: 2 });
  assert.deepEqual(lines.map((line) => JSON.parse(line)), [
    { level: "info", message: "a", app: "test", id: 1, token: "[redacted]" },
    { level: "warn", message: "b", app: "test", id: 2, token: "[redacted]" },
  ]);
});

Deno.test("log · endless and odd values still give one line", () => {
  const cycle: Record<string, unknown> = { big: 10n, huge: "x".repeat(1_000_000) };
  cycle.self = cycle;
  assert.ok(logged(cycle).line.length < 100_000);
});
