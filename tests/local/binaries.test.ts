// SYMPHONY_PG_BIN: the named directory of PostgreSQL's programs is used, and no other if it is wrong.
import assert from "node:assert/strict";
import { join } from "node:path";

const folder = await Deno.makeTempDir({ prefix: "symphony-binaries-" });
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

/** A directory whose programs report this version of PostgreSQL. */
async function installation(version: number): Promise<string> {
  const bin = join(folder, String(version));
  await Deno.mkdir(bin);
  for (const program of ["initdb", "postgres"]) {
    await Deno.writeTextFile(join(bin, program), `#!/bin/sh\necho "${program} (PostgreSQL) ${version}.1"\n`, {
      mode: 0o755,
    });
  }
  return bin;
}

/** The installation that a process with this environment finds, or its error. */
async function found(SYMPHONY_PG_BIN: string): Promise<string> {
  const module = new URL("../../supabase/local/binaries.ts", import.meta.url);
  const script = `
    const { findPostgres } = await import('${module}');
    try {
      const { version, program, has } = findPostgres();
      console.log([version, program("initdb"), has("pg_cron")].join(" "));
    } catch (error) {
      console.log(error.message);
    }`;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", script], env: { SYMPHONY_PG_BIN } })
    .output();
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("SYMPHONY_PG_BIN · the named PostgreSQL is used", async () => {
  const bin = await installation(97);
  assert.match(await found(bin), new RegExp(`^97 ${bin}/initdb (true|false)$`));
});

Deno.test("SYMPHONY_PG_BIN · an error names a directory without PostgreSQL, or with an old one", async () => {
  for (const bin of [join(folder, "nowhere"), await installation(14)]) {
    assert.equal(
      await found(bin),
      `No PostgreSQL 15 or newer was found in ${bin}. ` +
        "Run node supabase/local/install.mjs, or set SYMPHONY_PG_BIN to its directory of programs.",
    );
  }
});
