// The PostgreSQL installations of this machine and their extensions. Plain Node, because install.mjs uses it.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fetchedDirectories } from "./embedded_postgres.mjs";

export const OLDEST = 15;
const DEBIAN = "/usr/lib/postgresql";

/**
 * @typedef {object} Installation
 * @property {string} bin Absolute path of its directory of programs.
 * @property {number} version
 * @property {(extension: string) => boolean} has
 */

/**
 * Chooses the installation to run: the machine's own before one fetched from npm, one with pg_cron before one without,
 * then the newest. A directory that is passed or set in SYMPHONY_PG_BIN is the only candidate.
 * @param {string} [named]
 * @returns {Installation | undefined}
 */
export function findInstallation(named = process.env.SYMPHONY_PG_BIN) {
  const own = (named ? [named] : machineDirectories()).map(describe).filter((found) => found !== undefined)
    .sort((a, b) => Number(b.has("pg_cron")) - Number(a.has("pg_cron")) || b.version - a.version);
  return own[0] ?? (named ? undefined : fetchedDirectories().map(describe).find((found) => found !== undefined));
}

function machineDirectories() {
  const debian = existsSync(DEBIAN) ? readdirSync(DEBIAN).map((version) => join(DEBIAN, version, "bin")) : [];
  const configured = output("pg_config", "--bindir");
  return [...new Set([...debian, ...(configured ? [configured] : [])])];
}

/**
 * Undefined if the directory holds no PostgreSQL, or one that is too old.
 * @param {string} bin
 * @returns {Installation | undefined}
 */
function describe(bin) {
  if (!existsSync(join(bin, "initdb"))) return undefined;
  const version = Number(/\d+/.exec(output(join(bin, "postgres"), "--version"))?.[0]);
  if (!(version >= OLDEST)) return undefined;
  const beside = join(bin, "../share/postgresql");
  const share = output(join(bin, "pg_config"), "--sharedir") ||
    (existsSync(beside) ? beside : `/usr/share/postgresql/${version}`);
  return { bin, version, has: (extension) => existsSync(join(share, "extension", `${extension}.control`)) };
}

/**
 * The output of a program, trimmed; empty if it fails or does not exist.
 * @param {string} program
 * @param {string[]} args
 */
function output(program, ...args) {
  const { status, stdout } = spawnSync(program, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : "";
}
