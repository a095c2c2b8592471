// Gives a new cluster the state of a hosted project before its first migration: roles, schemas, grants, stand-ins.
import type { Sql } from "postgres";

export type DefaultPrivileges = "legacy" | "revoked";

const FILES = [
  "10_roles.sql",
  "20_extensions.sql",
  "30_auth.sql",
  "40_vault.sql",
  "50_net.sql",
  "60_installed.sql",
  "70_migrations.sql",
  "default_privileges_legacy.sql",
];

/**
 * Runs `sql/*.sql` as supabase_admin in one transaction, once per cluster.
 * @returns false if it was run before
 */
export async function bootstrap(admin: Sql, password: string, privileges: DefaultPrivileges): Promise<boolean> {
  const [{ done }] = await admin<
    { done: boolean }[]
  >`select to_regnamespace('supabase_migrations') is not null as done`;
  if (done) return false;
  const files = privileges === "revoked" ? [...FILES, "default_privileges_revoked.sql"] : FILES;
  const scripts = await Promise.all(files.map(readScript));
  await admin.begin(async (transaction) => {
    for (const script of scripts) await transaction.unsafe(script).simple();
    for (const role of ["postgres", "authenticator"]) {
      // The password is generated and has url-safe characters only: nothing to escape.
      await transaction.unsafe(`alter role ${role} password '${password}'`);
    }
  });
  return true;
}

function readScript(name: string): Promise<string> {
  return Deno.readTextFile(new URL(`./sql/${name}`, import.meta.url));
}
