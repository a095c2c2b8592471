// The planted bugs of `npm run mutants` can still be planted, and none is planted in this run.
import assert from "node:assert/strict";
import { test, useProject } from "../project.ts";
import { plant } from "./mutant.ts";
import { infect, MUTANTS } from "./mutants.ts";

const project = useProject();
const root = new URL("../", import.meta.url);

Deno.test("mutants · none is planted in an ordinary run", () => {
  assert.equal(Deno.env.get("SYMPHONY_MUTANT"), undefined);
});

Deno.test("mutants · each has a name of its own, says what it breaks, and names test files that exist", () => {
  assert.ok(MUTANTS.length >= 30);
  assert.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length);
  for (const { name, breaks, noticedBy } of MUTANTS) {
    assert.match(breaks, /\S.*\.$/, name);
    assert.ok(noticedBy.length > 0, name);
    for (const file of noticedBy) assert.ok(Deno.statSync(new URL(file, root)).isFile, file);
  }
});

test("mutants · each can be planted in the schemas as they stand, and Postgres takes it", async () => {
  const { sql } = project();
  for (const { name } of MUTANTS) {
    await sql.begin(async (transaction) => {
      await infect(transaction, name);
      throw new RolledBack();
    }).catch((error: unknown) => {
      if (!(error instanceof RolledBack)) throw new Error(`${name}: ${error}`, { cause: error });
    });
  }
});

Deno.test("mutants · one whose text is gone, or stands twice, is refused", () => {
  const mutant = { ...MUTANTS[0], statement: "create function a(", find: "x", replace: "y" };
  const body = (text: string) =>
    `-- before\ncreate function a() as $$ ${text};\n $$;\ncreate function b() as $$ x $$;\n`;
  assert.equal(plant(mutant, body("x")), "create function a() as $$ y;\n $$;");
  assert.throws(() => plant(mutant, body("z")), /stands 0 times/);
  assert.throws(() => plant(mutant, body("x, x")), /stands 2 times/);
  assert.throws(() => plant(mutant, "-- nothing"), /begins 0 statements/);
  assert.throws(() => plant({ ...mutant, replace: "x" }, body("x")), /changes nothing/);
});

class RolledBack extends Error {}
