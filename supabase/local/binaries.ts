// The PostgreSQL to run: one with pg_cron if it is installed, otherwise one for which the gateway is the ticker.
import { join } from "node:path";
import { findInstallation, OLDEST } from "./installations.mjs";

export interface Postgres {
  /** Absolute path of a program of this installation; embedded ones have no psql. */
  program(name: "initdb" | "postgres" | "psql"): string;
  has(extension: string): boolean;
  version: number;
}

/**
 * Finds an installation.
 * @param bin its directory of programs; default: the best one on this machine
 * @throws Error with the command that installs one
 */
export function findPostgres(bin?: string): Postgres {
  const found = findInstallation(bin);
  if (!found) {
    const named = bin ?? Deno.env.get("SYMPHONY_PG_BIN");
    const reason = `No PostgreSQL ${OLDEST} or newer was found${named ? ` in ${named}` : ""}.`;
    throw new Error(
      `${reason} Run node supabase/local/install.mjs, or set SYMPHONY_PG_BIN to its directory of programs.`,
    );
  }
  return { version: found.version, has: found.has, program: (name) => join(found.bin, name) };
}
