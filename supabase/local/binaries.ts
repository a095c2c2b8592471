// The PostgreSQL to run: one with pg_cron where there is one, else one whose clock the gateway must be.
import { join } from "node:path";
import { findInstallation, OLDEST } from "./installations.mjs";

export interface Postgres {
  /** Absolute path of a program of this installation; embedded ones have no psql. */
  program(name: "initdb" | "postgres" | "psql"): string;
  has(extension: string): boolean;
  version: number;
}

/** The installation in this directory of programs, by default the best there is; throws with the command that installs one. */
export function findPostgres(bin?: string): Postgres {
  const found = findInstallation(bin);
  if (!found) {
    const named = bin ?? Deno.env.get("SYMPHONY_PG_BIN");
    const what = `No PostgreSQL ${OLDEST} or newer was found${named ? ` in ${named}` : ""}.`;
    throw new Error(
      `${what} To get one: node supabase/local/install.mjs, or name its directory of programs in SYMPHONY_PG_BIN.`,
    );
  }
  return { version: found.version, has: found.has, program: (name) => join(found.bin, name) };
}
