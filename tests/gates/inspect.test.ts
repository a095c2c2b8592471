// Supabase's own checks of a database: `supabase db lint` (plpgsql_check) and `supabase db advisors` (security and
// performance).
import assert from "node:assert/strict";
import { join } from "node:path";
import { z } from "zod";
import { findPostgres } from "../../supabase/local/binaries.ts";
import { session, useProject } from "../project.ts";
import { copyOfRepository, gate, plant } from "./gate.ts";
import { cliMissing, supabase } from "./supabase_cli.ts";

const postgres = await findPostgres();
const checkMissing = cliMissing ??
  (postgres.has("plpgsql_check")
    ? undefined
    : `PostgreSQL has no plpgsql_check. To install it: apt-get install postgresql-${postgres.version}-plpgsql-check`);

const project = useProject();

const lintReport = z.array(z.object({
  function: z.string(),
  issues: z.array(z.object({
    level: z.string(),
    message: z.string(),
    detail: z.string().optional(),
    context: z.string().optional(),
    statement: z.object({ lineNumber: z.string() }).optional(),
  })),
}));
const advice = z.array(z.object({
  name: z.string(),
  level: z.string(),
  detail: z.string(),
  metadata: z.object({ name: z.string(), schema: z.string(), type: z.string() }),
}));

/** Findings of `db lint` in the functions of our schemas, warnings included. */
async function lint(): Promise<{ clean: boolean; issues: string[] }> {
  await using admin = session(project(), "supabase_admin");
  await admin`create extension if not exists plpgsql_check with schema extensions`;
  const { code, stdout, text } = await judge("lint", ["--schema=public,messenger", "--level=warning"], "warning");
  assert.match(text, /Linting schema: public\n.*Linting schema: messenger/s);
  const report = lintReport.parse(parse(stdout));
  return {
    clean: code === 0,
    issues: report.flatMap(({ function: name, issues }) =>
      issues.map(({ level, message, detail, context, statement }) => {
        const line = statement && `line ${statement.lineNumber}`;
        return `${name}: ${[`${level}: ${message}`, detail, context, line].filter(Boolean).join("; ")}`;
      })
    ),
  };
}

/** Findings of `db advisors` in our objects, as if the API served schema messenger, too. */
async function advise(): Promise<string[]> {
  const { code, stdout, text } = await judge("advisors", ["--type=all", "--level=info"], "info");
  const report = advice.parse(parse(stdout));
  assert.equal(code !== 0, report.length > 0, text);
  return report
    // A database without any load has used no index.
    .filter(({ name }) => name !== "unused_index")
    // The local project has pg_cron in the schema of version 1.4; hosted ones do not.
    .filter(({ metadata: { type } }) => type !== "extension")
    .map(({ level, name, metadata }) => `${level} ${name}: ${metadata.schema}.${metadata.name}`).sort();
}

async function judge(command: string, args: string[], failOn: string) {
  await using repository = await copyOfRepository("supabase");
  // The CLI reads the API's schemas from here; the linter ignores all others.
  const config = join(repository.path, "supabase/config.toml");
  await plant(config, `[api]\nschemas = ["public"]`, `[api]\nschemas = ["public", "messenger"]`);
  const remote = `--remote=${project().databaseUrl()}`;
  return await supabase(repository.path, ["db", command, ...args, `--fail-on=${failOn}`, "--output=json", remote]);
}

// Without findings the CLI prints no JSON at all.
function parse(stdout: string): unknown {
  const start = stdout.indexOf("[\n");
  return start < 0 ? [] : JSON.parse(stdout.slice(start));
}

gate("supabase db lint has no error and no warning", checkMissing, async () => {
  assert.deepEqual(await lint(), { clean: true, issues: [] });
});

gate("supabase db advisors has no findings, for security or performance", cliMissing, async () => {
  assert.deepEqual(await advise(), []);
});

gate("supabase db lint finds a missing column and an unused variable", checkMissing, async () => {
  await using _ = await planted(`
    create function messenger.planted() returns uuid language plpgsql set search_path = pg_catalog, pg_temp as
    $$ begin return (select m.no_such_column from public.messenger_messages m limit 1); end $$;
    create function messenger.planted_too() returns void language plpgsql set search_path = pg_catalog, pg_temp as
    $$ declare v_forgotten int; begin return; end $$`);
  const { clean, issues } = await lint();
  assert.equal(clean, false);
  assert.deepEqual(issues.filter((issue) => issue.startsWith("messenger.planted")).sort(), [
    "messenger.planted: error: column m.no_such_column does not exist; line 1",
    'messenger.planted_too: warning: unused variable "v_forgotten"',
  ]);
});

gate("supabase db advisors finds open objects, and a table without a key", cliMissing, async () => {
  await using _ = await planted(`
    create table public.planted_table (id int primary key);
    grant select on public.planted_table to anon;
    create table messenger.planted_table (id int primary key);
    grant select on messenger.planted_table to authenticated;
    create table messenger.planted_heap (id int);
    alter table messenger.planted_heap enable row level security;
    create view public.planted_view as select * from public.messenger_messages;
    grant select on public.planted_view to anon;
    create function messenger.planted() returns int language sql as 'select 1'`);
  assert.deepEqual(await advise(), [
    "ERROR rls_disabled_in_public: messenger.planted_table",
    "ERROR rls_disabled_in_public: public.planted_table",
    "ERROR security_definer_view: public.planted_view",
    "INFO no_primary_key: messenger.planted_heap",
    "INFO rls_enabled_no_policy: messenger.planted_heap",
    "WARN function_search_path_mutable: messenger.planted",
  ]);
});

/** Creates objects named planted...; they are removed at the end of the scope. */
async function planted(sql: string): Promise<AsyncDisposable> {
  const unplant = async () => {
    await project().sql.unsafe(`
      drop view if exists public.planted_view;
      drop table if exists public.planted_table, messenger.planted_table, messenger.planted_heap;
      drop function if exists messenger.planted(), messenger.planted_too()`);
  };
  await project().sql.unsafe(sql);
  return { [Symbol.asyncDispose]: unplant };
}
