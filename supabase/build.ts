// Generates from supabase/schemas: the migration, its rollback, and the manifest of the catalog they make.
// --check: fails when migration or rollback on disk differ; whether the manifest is true is for a test with a database to say.
import { startProject } from "./local/project.ts";

const root = new URL("./", import.meta.url);
const migration = "migrations/20261121000000_create_symphony_messenger_schema.sql";
const rollback = "rollback/rollback_symphony_messenger_schema.sql";

/** The function that tells a database what this release's catalog looks like stands before this file, which uses it. */
const manifestReader = "61_verify.sql";

interface Schema {
  file: string;
  sql: string;
}

function readSchemas(): Schema[] {
  const folder = new URL("schemas/", root);
  return [...Deno.readDirSync(folder)]
    .map((entry) => entry.name)
    .filter((name) => name.endsWith(".sql"))
    .sort()
    .map((file) => ({ file, sql: Deno.readTextFileSync(new URL(file, folder)).trimEnd() }));
}

/** Names the schemas create, e.g. `public.messenger_claim`, in order of creation and each once. */
function namesOf(schemas: Schema[], statement: RegExp): string[] {
  const names = schemas.flatMap(({ sql }) => [...sql.matchAll(statement)].map((match) => match[1]));
  return [...new Set(names)];
}

const inPublic = (name: string) => name.startsWith("public.");
const sqlArray = (names: string[]) => `array[\n    ${names.map((name) => `'${name}'`).join(",\n    ")}\n  ]`;

function catalogOf(schemas: Schema[]) {
  return {
    tables: namesOf(schemas, /^create (?:unlogged )?table if not exists ([\w.]+)/gm),
    views: namesOf(schemas, /^create or replace view ([\w.]+)/gm),
    functions: namesOf(schemas, /^create or replace function ([\w.]+)/gm),
  };
}

type Manifest = [kind: string, object: string, definition: string | null][];

function expectedManifestOf(manifest: Manifest): Schema {
  const rows = manifest.map((row) => JSON.stringify(row)).join(",\n");
  return {
    file: "generated from manifest.json",
    sql: `create or replace function messenger.expected_manifest()
returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $function$ select $manifest$[
${rows}
]$manifest$::jsonb $function$;
comment on function messenger.expected_manifest() is 'The catalog this release made, as [kind, object, definition]; messenger_verify compares.';
revoke all on function messenger.expected_manifest() from public, anon, authenticated, service_role;`,
  };
}

function migrationOf(sources: Schema[], manifest: Manifest): string {
  const schemas = sources.flatMap((schema) =>
    schema.file === manifestReader ? [expectedManifestOf(manifest), schema] : [schema]
  );
  const { tables, views, functions } = catalogOf(schemas);
  const body = schemas.map(({ file, sql }) => `-- ---- ${file}\n${sql}\n`).join("\n");
  return `-- Symphony Messenger. Generated from supabase/schemas by \`deno task build\`: change it there.
-- May be run again at any time: it creates what is missing and replaces functions and views.
set client_min_messages = warning;

${body}
-- ---- The migration verifies itself.
do $$
declare
  v_relations text[] := ${sqlArray([...tables, ...views])};
  v_functions text[] := ${sqlArray(functions)};
  v_wrong text;
begin
  select string_agg(n, ', ') into v_wrong from unnest(v_relations) n where to_regclass(n) is null;
  if v_wrong is not null then
    raise exception 'symphony migration: missing %', v_wrong;
  end if;
  select string_agg(n, ', ') into v_wrong from unnest(v_functions) n
  where (select count(*) from pg_catalog.pg_proc p join pg_catalog.pg_namespace s on s.oid = p.pronamespace where s.nspname || '.' || p.proname = n) <> 1;
  if v_wrong is not null then
    raise exception 'symphony migration: not there exactly once: %', v_wrong;
  end if;
  select string_agg(c.oid::regclass::text, ', ') into v_wrong
  from pg_catalog.pg_class c where c.oid = any (v_relations::regclass[]) and c.relkind = 'r' and not c.relrowsecurity;
  if v_wrong is not null then
    raise exception 'symphony migration: without row level security: %', v_wrong;
  end if;
  select string_agg(p.oid::regprocedure::text, ', ') into v_wrong
  from pg_catalog.pg_proc p join pg_catalog.pg_namespace s on s.oid = p.pronamespace
  where s.nspname || '.' || p.proname = any (v_functions)
    and (not coalesce(p.proconfig, '{}') @> array['search_path=pg_catalog, pg_temp'] or has_function_privilege('anon', p.oid, 'execute'));
  if v_wrong is not null then
    raise exception 'symphony migration: open to anon, or without a pinned search_path: %', v_wrong;
  end if;
end $$;

-- PostgREST learns of the new functions.
notify pgrst, 'reload schema';
reset client_min_messages;
`;
}

function rollbackOf(schemas: Schema[]): string {
  const { tables, views, functions } = catalogOf(schemas);
  const drops = [
    ...views.filter(inPublic).map((name) => `drop view if exists ${name};`),
    ...tables.filter(inPublic).reverse().map((name) => `drop table if exists ${name} cascade;`),
  ];
  return `-- Removes Symphony Messenger with everything in it, messages included. Generated by \`deno task build\`.
-- With the Supabase CLI, afterwards: supabase migration repair --status reverted ${migration.match(/\d+/)?.[0]}
set client_min_messages = warning;

do $$
begin
  if to_regclass('cron.job') is not null then
    delete from cron.job_run_details where command like '%messenger.tick_or_note_error%';
    perform cron.unschedule(jobid) from cron.job where jobname = 'symphony-clock';
  end if;
  if to_regclass('vault.secrets') is not null then
    delete from vault.secrets where name in ('symphony_worker_secret', 'symphony_worker_secret_next');
  end if;
end $$;

${drops.join("\n")}

do $$
declare
  v_functions text[] := ${sqlArray(functions.filter(inPublic))};
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_catalog.pg_proc p join pg_catalog.pg_namespace s on s.oid = p.pronamespace
    where s.nspname || '.' || p.proname = any (v_functions)
  loop
    execute format('drop function %s', v_function);
  end loop;
end $$;

drop schema if exists messenger cascade;

notify pgrst, 'reload schema';
reset client_min_messages;
`;
}

/** What the migration really makes, asked of a database that has just been migrated. */
async function manifestOf(sql: string): Promise<Manifest> {
  const directory = await Deno.makeTempDir();
  try {
    await using project = await startProject({ directory, migrate: false, functions: false, durable: false });
    await project.sql.unsafe(sql);
    const rows = await project.sql`select kind, object, definition from messenger.manifest() order by kind, object`;
    return rows.map(({ kind, object, definition }) => [kind, object, definition]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function formatManifest(manifest: Manifest): string {
  return `[\n${manifest.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`;
}

const schemas = readSchemas();
const manifestUrl = new URL("manifest.json", root);
if (Deno.args.includes("--check")) {
  const manifest: Manifest = JSON.parse(await Deno.readTextFile(manifestUrl));
  const expected = [{ path: migration, text: migrationOf(schemas, manifest) }, {
    path: rollback,
    text: rollbackOf(schemas),
  }];
  for (const { path, text } of expected) {
    if (await Deno.readTextFile(new URL(path, root)).catch(() => "") === text) continue;
    console.error(`supabase/${path} is not what supabase/schemas says: run deno task build and commit it.`);
    Deno.exit(1);
  }
} else {
  const manifest = await manifestOf(migrationOf(schemas, []));
  const generated = [
    { path: migration, text: migrationOf(schemas, manifest) },
    { path: rollback, text: rollbackOf(schemas) },
    { path: "manifest.json", text: formatManifest(manifest) },
  ];
  for (const { path, text } of generated) {
    const url = new URL(path, root);
    await Deno.mkdir(new URL("./", url), { recursive: true });
    await Deno.writeTextFile(url, text);
    console.log(`wrote supabase/${path}: ${text.split("\n").length} lines`);
  }
}
