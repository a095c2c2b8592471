// An assertion shared by tests of input: which SymphonyError a call ends with.
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
