// Finds the PostgreSQL installation to run: 15 or newer, with pg_cron.
import { existsSync } from "node:fs";
import { join } from "node:path";

const OLDEST = 15;
const DEBIAN = "/usr/lib/postgresql";

export interface Postgres {
  /** Absolute path of a program of this installation. */
  program(name: "initdb" | "postgres" | "psql"): string;
  has(extension: string): boolean;
  version: number;
}

/** The newest installation with pg_cron; throws with the command that installs it when there is none. */
export async function findPostgres(): Promise<Postgres> {
  const found = await Promise.all((await candidateDirectories()).map(describe));
  const usable = found.filter((postgres) => postgres !== undefined)
    .filter((postgres) => postgres.version >= OLDEST && postgres.has("pg_cron"))
    .sort((a, b) => b.version - a.version);
  if (usable[0]) return usable[0];
  throw new Error(
    `No PostgreSQL ${OLDEST} or newer with pg_cron was found. To install it: node supabase/local/install.mjs (as root), ` +
      `or name its directory of programs in SYMPHONY_PG_BIN.`,
  );
}

async function candidateDirectories(): Promise<string[]> {
  const named = Deno.env.get("SYMPHONY_PG_BIN");
  if (named) return [named];
  const debian = existsSync(DEBIAN) ? [...Deno.readDirSync(DEBIAN)].map(({ name }) => join(DEBIAN, name, "bin")) : [];
  const configured = await output("pg_config", "--bindir");
  return [...new Set([...debian, ...(configured ? [configured] : [])])];
}

async function describe(bin: string): Promise<Postgres | undefined> {
  const version = Number(/\d+/.exec(await output(join(bin, "postgres"), "--version"))?.[0]);
  if (!existsSync(join(bin, "initdb")) || !version) return undefined;
  const share = await output(join(bin, "pg_config"), "--sharedir") || `/usr/share/postgresql/${version}`;
  return {
    version,
    program: (name) => join(bin, name),
    has: (extension) => existsSync(join(share, "extension", `${extension}.control`)),
  };
}

async function output(program: string, ...args: string[]): Promise<string> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : "";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
