// The required form of a rejected call: SQLSTATE PT<status>, detail SM_<CODE>, and a hint with the remedy.
import assert from "node:assert/strict";
import postgres from "postgres";

/** Waits for the error of a call that must fail. */
export async function errorOf(work: PromiseLike<unknown>): Promise<postgres.PostgresError> {
  const error = await Promise.resolve(work).then(() => undefined, (error) => error);
  assert(error instanceof postgres.PostgresError, `rejected by Postgres, not ${error ?? "accepted"}`);
  return error;
}

/** Checks that a call is rejected with this code and status; returns the message. */
export async function assertRejected(work: PromiseLike<unknown>, code: string, status = 400): Promise<string> {
  const error = await errorOf(work);
  assert.deepEqual([error.code, error.detail], [`PT${status}`, code], error.message);
  assert(error.hint, "an error has a hint");
  return error.message;
}
