// `supabase db push` on a new project, as a hosted project gets the schema.
import assert from "node:assert/strict";
import { join } from "node:path";
import { type Project, startProject } from "../../supabase/local/project.ts";
import { copyOfRepository, gate, type Outcome, scratch } from "./gate.ts";
import { cliMissing, supabase } from "./supabase_cli.ts";

const BARE = { migrate: false, functions: false, durable: false };

for (const defaultPrivileges of ["legacy", "revoked"] as const) {
  gate(
    `supabase db push applies the migration once, ${defaultPrivileges} default privileges`,
    cliMissing,
    async (t) => {
      await using folder = await scratch();
      await using project = await startProject({ ...BARE, directory: folder.path, defaultPrivileges });
      await using repository = await copyOfRepository("supabase");
      const first = await push(repository.path, project);
      assert.equal(first.code, 0, first.text);
      assert.match(first.text, /Applying migration \d+_create_symphony_messenger_schema\.sql/);
      const catalog = await project.sql`select * from public.messenger_verify() v where v.kind <> 'operation'`;
      assert.deepEqual(catalog.map(({ object, state }) => ({ object, state })), [{ object: "all", state: "ok" }]);

      if (defaultPrivileges === "legacy") {
        await t.step("a second push finds nothing to apply", async () => {
          const second = await push(repository.path, project);
          assert.equal(second.code, 0, second.text);
          assert.match(second.text, /up to date/);
          assert.doesNotMatch(second.text, /Applying migration/);
        });
      } else {
        await t.step(
          "a broken migration fails and leaves nothing behind",
          () => assertFailsWhole(repository.path, project),
        );
      }
    },
  );
}

async function assertFailsWhole(directory: string, project: Project): Promise<void> {
  const broken = "create table public.half_made (id int);\nselect * from public.nowhere;\n";
  await Deno.writeTextFile(join(directory, "supabase/migrations/20991231000000_broken.sql"), broken);
  const outcome = await push(directory, project);
  assert.notEqual(outcome.code, 0, outcome.text);
  assert.match(outcome.text, /relation "public\.nowhere" does not exist/);
  const [state] = await project.sql<{ half: string | null; versions: string[] }[]>`
    select to_regclass('public.half_made')::text as half, array_agg(m.version) as versions
    from supabase_migrations.schema_migrations m`;
  assert.equal(state.half, null);
  assert.ok(!state.versions.includes("20991231000000"));
}

function push(directory: string, project: Project): Promise<Outcome> {
  return supabase(directory, ["db", "push", "--yes", `--remote=${project.databaseUrl()}`]);
}
