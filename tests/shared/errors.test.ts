// The table of errors.
import assert from "node:assert/strict";
import { ERRORS, SymphonyError, toSymphonyError } from "../../shared/errors.ts";

Deno.test("ERRORS · every code has a remedy and a status that an edge function may send", () => {
  const statuses = new Set([400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503]);
  for (const [code, { status, remedy }] of Object.entries(ERRORS)) {
    assert.match(code, /^SM_[A-Z_]+$/);
    assert.ok(statuses.has(status), `${code} has ${status}`);
    assert.match(remedy, /^[A-Z].*\.$/, code);
  }
});

Deno.test("toSymphonyError · a caller's message is only logged", () => {
  const unexpected = new Error("password is hunter2");
  const error = toSymphonyError(unexpected);
  assert.equal(error.status, 500);
  assert.doesNotMatch(error.message, /hunter2/);
  assert.equal(error.cause, unexpected);
  const ours = new SymphonyError("SM_RATE", "slow down");
  assert.equal(toSymphonyError(ours), ours);
});
