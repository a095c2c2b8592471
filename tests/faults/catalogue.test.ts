// The catalogue of faults names existing tests for every fault.
import assert from "node:assert/strict";
import { FAULTS } from "./catalogue.ts";

const root = new URL("../", import.meta.url);

Deno.test("catalogue · F1 to F18 and F21 are listed, each with tests", () => {
  // F19 is the soak; F20, an upgrade under load, is tests/supabase/manifest/upgrade.test.ts.
  assert.deepEqual(FAULTS.map(({ id }) => id), [...Array.from({ length: 18 }, (_, n) => `F${n + 1}`), "F21"]);
  for (const { id, tests } of FAULTS) assert.ok(Object.values(tests).flat().length > 0, id);
});

Deno.test("catalogue · every named test exists in the named file", () => {
  for (const { id, tests } of FAULTS) {
    for (const [file, names] of Object.entries(tests)) {
      const source = Deno.readTextFileSync(new URL(file, root));
      for (const name of names) assert.ok(source.includes(`"${name}"`), `${id}: ${file} has no test "${name}"`);
    }
  }
});
