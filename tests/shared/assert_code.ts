// An assertion for tests of input: the SymphonyError with which a call ends.
import assert from "node:assert/strict";
import { SymphonyError } from "../../shared/errors.ts";

export async function assertCode(act: () => unknown, code: string, status: number): Promise<void> {
  await assert.rejects(async () => await act(), (error) => {
    assert.ok(error instanceof SymphonyError, String(error));
    assert.equal(error.code, code);
    assert.equal(error.status, status);
    return true;
  });
}
