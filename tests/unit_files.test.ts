// The rule that selects the unit tests finds services behind direct and indirect imports.
import assert from "node:assert/strict";
import { unitTestFiles } from "./unit_files.ts";

Deno.test("unit tests · are the files whose imports reach no database, browser or service", () => {
  const files = unitTestFiles();
  for (const file of ["tests/architecture.test.ts", "tests/shared/json.test.ts", "tests/packs/url_secrets.test.ts"]) {
    assert.ok(files.includes(file), file);
  }
  // A database, a database behind a helper, a browser, an isolate, a program from npm.
  const others = [
    "supabase/delivery/claim",
    "faults/worker_killed",
    "dashboard/overview",
    "local/isolate",
    "gates/audit",
  ];
  for (const name of others) assert.ok(!files.includes(`tests/${name}.test.ts`), name);
});
