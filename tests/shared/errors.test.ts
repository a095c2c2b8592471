// The table of errors, and what becomes of the database's own.
import assert from "node:assert/strict";
import { ERRORS, fromElement, fromPostgrest, SymphonyError, toSymphonyError } from "../../shared/errors.ts";

Deno.test("ERRORS · every code has a status a door may send and a remedy", () => {
  const statuses = new Set([400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503]);
  for (const [code, { status, remedy }] of Object.entries(ERRORS)) {
    assert.match(code, /^SM_[A-Z_]+$/);
    assert.ok(statuses.has(status), `${code} has ${status}`);
    assert.match(remedy, /^[A-Z].*\.$/, code);
  }
});

Deno.test("fromPostgrest · a refusal of ours keeps its code, sentence and hint", () => {
  const failure = {
    code: "PT409",
    message: "another worker has it",
    details: "SM_STALE_LEASE",
    hint: "undo your work",
  };
  const error = fromPostgrest(failure, 409);
  assert.deepEqual([error.code, error.status, error.message, error.hint], [
    "SM_STALE_LEASE",
    409,
    "another worker has it",
    "undo your work",
  ]);
});

Deno.test("fromPostgrest · what Postgres says while it reads arguments gets a code of ours", () => {
  const expected = {
    "22P05": "SM_NUL",
    "22P02": "SM_JSON",
    "22003": "SM_NUMBER_RANGE",
    "54001": "SM_DEPTH",
    "40P01": "SM_UNAVAILABLE",
    "40001": "SM_UNAVAILABLE",
    "53300": "SM_UNAVAILABLE",
    "57P01": "SM_UNAVAILABLE",
    "08006": "SM_UNAVAILABLE",
    PGRST002: "SM_UNAVAILABLE",
    PGRST202: "SM_UNAVAILABLE",
    PGRST301: "SM_UNAUTHENTICATED",
    "23514": "SM_INTERNAL",
  };
  for (const [code, ours] of Object.entries(expected)) {
    assert.equal(fromPostgrest({ code, message: "" }, 500).code, ours, code);
  }
});

Deno.test("fromPostgrest · what passes by itself is transient: no reply, a busy gateway, a database that is down or busy", () => {
  assert.ok(fromPostgrest({ code: "", message: "TypeError: fetch failed" }, 0).transient);
  for (const status of [429, 502, 503, 504, 520, 521, 522, 523, 524, 544, 546]) {
    assert.ok(fromPostgrest({ message: "<html>" }, status).transient, `HTTP ${status}`);
  }
  for (const code of ["40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P03", "58030", "08006"]) {
    assert.ok(fromPostgrest({ code, message: "" }, 500).transient, code);
  }
});

Deno.test("fromPostgrest · what would fail again is not transient", () => {
  for (const status of [400, 401, 403, 404, 409, 500]) {
    assert.equal(fromPostgrest({ message: "<html>" }, status).transient, false, `HTTP ${status}`);
  }
  // With a gateway's 503 too: an SQLSTATE says more than a status.
  for (const code of ["23514", "42501", "22P02", "XX000"]) {
    assert.equal(fromPostgrest({ code, message: "" }, 503).transient, false, code);
  }
});

Deno.test("fromPostgrest · no reply says to look at the URL, and a key that is not known is unauthenticated, whatever code came with it", () => {
  assert.match(fromPostgrest({ code: "", message: "TypeError: fetch failed" }, 0).hint, /URL/);
  for (const code of [undefined, "401", "UNAUTHORIZED_INVALID_API_KEY", "42501"]) {
    const error = fromPostgrest({ code, message: "Invalid API key" }, 401);
    assert.deepEqual([error.code, error.message], ["SM_UNAUTHENTICATED", "Invalid API key"]);
  }
});

Deno.test("fromElement · a batch element's code decides, an unknown one is internal", () => {
  assert.equal(fromElement("SM_PRIORITY", "no").code, "SM_PRIORITY");
  assert.equal(fromElement("XX000", "no").code, "SM_INTERNAL");
});

Deno.test("toSymphonyError · a stranger's message stays in the log", () => {
  const stranger = new Error("password is hunter2");
  const error = toSymphonyError(stranger);
  assert.equal(error.status, 500);
  assert.doesNotMatch(error.message, /hunter2/);
  assert.equal(error.cause, stranger);
  const ours = new SymphonyError("SM_RATE", "slow down");
  assert.equal(toSymphonyError(ours), ours);
});
