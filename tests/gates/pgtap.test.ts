// Runs supabase/tests/*.sql with pg_prove, as `supabase test db` does, without Docker.
import assert from "node:assert/strict";
import { join } from "node:path";
import { findPostgres } from "../../supabase/local/binaries.ts";
import type { Project } from "../../supabase/local/project.ts";
import { session, useProject } from "../project.ts";
import { copyOfRepository, gate, type Outcome, plant, root, run } from "./gate.ts";

const postgres = await findPostgres();
const proves = await run("pg_prove", ["--version"]).then(({ code }) => code === 0, () => false);
const lacking = [
  ...(postgres.has("pgtap") ? [] : [`postgresql-${postgres.version}-pgtap`]),
  ...(proves ? [] : ["libtap-parser-sourcehandler-pgtap-perl"]),
];
const missing = lacking.length > 0
  ? `pgTAP is not complete. To install it: apt-get install ${lacking.join(" ")}`
  : undefined;

const projects = { legacy: useProject(), revoked: useProject({ defaultPrivileges: "revoked" }) };

/** Runs every .sql file of a folder, each in its own session as role postgres. */
async function prove(project: Project, folder: string): Promise<Outcome> {
  await using admin = session(project, "supabase_admin");
  // Hosted, role postgres may create it; here only a superuser may.
  await admin`create extension if not exists pgtap with schema extensions`;
  const args = ["--ext", ".sql", "--psql-bin", postgres.program("psql"), "--dbname", project.databaseUrl(), folder];
  return await run("pg_prove", args);
}

const files = [...Deno.readDirSync(join(root, "supabase/tests"))].map(({ name }) => name).sort();

for (const [mode, project] of Object.entries(projects)) {
  gate(`the pgTAP files pass, with ${mode} default privileges`, missing, async () => {
    const { code, text } = await prove(project(), join(root, "supabase/tests"));
    assert.equal(code, 0, text);
    assert.match(text, /Result: PASS/);
    for (const file of files) assert.ok(text.includes(file), `${file} was not run: ${text}`);
    const [{ left }] = await project().sql`select count(*)::int as left from public.messenger_messages`;
    assert.equal(left, 0, "they leave nothing behind");
  });
}

const FAULTS: [what: string, place: string, replacement: string, complaint: RegExp][] = [
  ["a missing object", "'id', 'transport_name'", "'id', 'no_such_column', 'transport_name'", /no_such_column/],
  ["a test that was not run", "select col_is_pk(", "-- select col_is_pk(", /planned \d+ tests but ran \d+/],
  ["a file that ends early", "select columns_are(", "select no_such_function(", /no_such_function|No plan found/],
];
for (const [what, place, replacement, complaint] of FAULTS) {
  gate(`pg_prove finds ${what}`, missing, async () => {
    await using copy = await copyOfRepository("supabase/tests");
    await plant(join(copy.path, "tests/01_catalog.sql"), place, replacement);
    const { code, text } = await prove(projects.legacy(), join(copy.path, "tests"));
    assert.notEqual(code, 0, text);
    assert.match(text, complaint);
    assert.match(text, /Result: FAIL/);
  });
}
