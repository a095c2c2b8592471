// Releases as files that a test installs, upgrades and removes.
import type { Sql } from "postgres";
import { migrationPath, rollbackPath, upgradePath, upgrades } from "../../../supabase/build/release.ts";

const supabase = new URL("../../../supabase/", import.meta.url);
const releases = new URL("../../fixtures/releases/", import.meta.url);

export const install = (sql: Sql) => run(sql, new URL(migrationPath, supabase));
export const installRelease = (sql: Sql, version: string) => run(sql, new URL(`${version}/migration.sql`, releases));
export const rollBack = (sql: Sql) => run(sql, new URL(rollbackPath, supabase));

export async function upgradeFrom(sql: Sql, version: string): Promise<void> {
  const upgrade = upgrades.find(({ from }) => from === version);
  if (!upgrade) throw new Error(`There is no upgrade from ${version}.`);
  await run(sql, new URL(upgradePath(upgrade), supabase));
}

/** In one transaction, as the Supabase CLI applies a migration. */
async function run(sql: Sql, file: URL): Promise<void> {
  const script = await Deno.readTextFile(file);
  await sql.begin((transaction) => transaction.unsafe(script).simple());
}
