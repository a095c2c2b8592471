// Every planted bug of `npm run mutants` can still be planted, and this run has none.
import assert from "node:assert/strict";
import { ensureTemplate, test, useProject } from "../project.ts";
import { plant, plantInFile } from "./mutant.ts";
import { infect, MUTANTS } from "./mutants.ts";
import { copyTree } from "./tree.ts";
import { TYPESCRIPT_MUTANTS } from "./typescript/mutants.ts";

const project = useProject();
const tests = new URL("../", import.meta.url);
const repository = new URL("../../", import.meta.url);

Deno.test("mutants · an ordinary run has none", () => {
  assert.equal(Deno.env.get("SYMPHONY_MUTANT"), undefined);
});

Deno.test("mutants · each has a unique name, a broken promise and existing test files", () => {
  const all = [...MUTANTS, ...TYPESCRIPT_MUTANTS];
  assert.ok(MUTANTS.length >= 30 && TYPESCRIPT_MUTANTS.length >= 100);
  assert.equal(new Set(all.map(({ name }) => name)).size, all.length);
  for (const { name, breaks, noticedBy } of all) {
    assert.match(breaks, /\S.*\.$/, name);
    assert.ok(noticedBy.length > 0, name);
    for (const file of noticedBy) assert.ok(Deno.statSync(new URL(file, tests)).isFile, file);
  }
});

test("mutants · each in SQL can be planted in the current schemas, and Postgres accepts it", async () => {
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

Deno.test("mutants · each in TypeScript can be planted in its current file", () => {
  for (const mutant of TYPESCRIPT_MUTANTS) {
    const sound = Deno.readTextFileSync(new URL(mutant.file, repository));
    assert.notEqual(plantInFile(mutant, sound), sound, mutant.name);
  }
});

Deno.test("mutants · one in TypeScript is planted in a copy, never in the working tree", async () => {
  const [mutant] = TYPESCRIPT_MUTANTS;
  const sound = await Deno.readTextFile(new URL(mutant.file, repository));
  const tree = await copyTree(await ensureTemplate());
  const read = () => Deno.readTextFile(`${tree.root}/${mutant.file}`);
  const planted = tree.withPlanted(mutant, async () => {
    assert.equal(await read(), plantInFile(mutant, sound));
    assert.equal(await Deno.readTextFile(new URL(mutant.file, repository)), sound);
    throw new Error("the trial ends");
  });
  await assert.rejects(planted, /the trial ends/);
  assert.equal(await read(), sound);
  await tree[Symbol.asyncDispose]();
  await assert.rejects(read(), Deno.errors.NotFound);
});

Deno.test("mutants · one in TypeScript whose text is missing, or occurs twice, is rejected", () => {
  const mutant = { ...TYPESCRIPT_MUTANTS[0], file: "a.ts", find: "x", replace: "y" };
  assert.equal(plantInFile(mutant, "let x;"), "let y;");
  assert.throws(() => plantInFile(mutant, "let z;"), /stands 0 times in a\.ts/);
  assert.throws(() => plantInFile(mutant, "x = x;"), /stands 2 times in a\.ts/);
  assert.throws(() => plantInFile({ ...mutant, replace: "x" }, "x"), /changes nothing/);
});

Deno.test("mutants · one in SQL whose text is missing, or occurs twice, is rejected", () => {
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
