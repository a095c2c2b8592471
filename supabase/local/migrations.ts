// Applies migrations and seeds that are not recorded yet, with the records of the Supabase CLI.
import { existsSync } from "node:fs";
import { basename, join, relative } from "node:path";
import type { Sql } from "postgres";

/**
 * Applies `supabase/migrations/<version>_<name>.sql` below `root`, each in its own transaction.
 * @returns the names of those that were applied
 */
export async function migrate(sql: Sql, root: string): Promise<string[]> {
  const directory = join(root, "supabase/migrations");
  if (!existsSync(directory)) return [];
  const recorded = await sql<{ version: string }[]>`select version from supabase_migrations.schema_migrations`;
  const done = new Set(recorded.map(({ version }) => version));
  const files = [...Deno.readDirSync(directory)].map(({ name }) => name).filter((name) => /^\d+_.*\.sql$/.test(name));
  const pending = files.sort().filter((name) => !done.has(versionOf(name)));
  for (const name of pending) {
    await applyMigration(sql, name, await Deno.readTextFile(join(directory, name)));
  }
  return pending;
}

async function applyMigration(sql: Sql, name: string, script: string) {
  const version = versionOf(name);
  const title = basename(name, ".sql").slice(version.length + 1);
  try {
    await sql.begin(async (transaction) => {
      await transaction.unsafe(script).simple();
      await transaction`reset role`;
      await transaction`
        insert into supabase_migrations.schema_migrations (version, statements, name)
        values (${version}, ${[script]}, ${title})`;
    });
  } catch (error) {
    throw new Error(`Migration ${name} failed: ${describe(error, script)}`, { cause: error });
  }
}

/** Runs each seed file once per database. */
export async function seed(sql: Sql, root: string, paths: string[]) {
  for (const path of paths) {
    const file = join(root, "supabase", path);
    if (!existsSync(file)) continue;
    const name = relative(root, file);
    const script = await Deno.readTextFile(file);
    await sql.begin(async (transaction) => {
      const recorded = await transaction`select from supabase_migrations.seed_files where path = ${name}`;
      if (recorded.length) return;
      await transaction.unsafe(script).simple();
      await transaction`insert into supabase_migrations.seed_files (path, hash) values (${name}, md5(${script}))`;
    });
  }
}

function versionOf(name: string): string {
  return name.slice(0, name.indexOf("_"));
}

function describe(error: unknown, script: string): string {
  if (!(error instanceof Error)) return String(error);
  const position = "position" in error ? Number(error.position) : NaN;
  const line = position ? ` (line ${script.slice(0, position).split("\n").length})` : "";
  return error.message + line;
}
