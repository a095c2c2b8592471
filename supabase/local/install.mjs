// Makes a fresh Debian machine ready for the local project: npm packages, PostgreSQL, pg_cron, pgTAP; quiet when all is there.
// Plain Node without packages, because it runs before there are any.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const OLDEST_POSTGRES = 15;
const root = fileURLToPath(new URL("../../", import.meta.url));

installNpmPackages();
installPostgres();

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
  const found = findPostgres();
  if (found?.cron && found.pgtap && proves()) return;
  if (process.getuid?.() !== 0 || !onPath("apt-get")) return adviseToInstall(found);
  run("apt-get", ["update"]);
  const packages = missingPackages(found);
  console.log(`Installing PostgreSQL packages: ${packages.join(" ")}`);
  keepDebianFromMakingACluster();
  run("apt-get", ["install", "-y", "--no-install-recommends", ...packages], { DEBIAN_FRONTEND: "noninteractive" });
  if (!findPostgres()?.cron) fail("apt-get ended well, yet there is no PostgreSQL with pg_cron.");
}

function adviseToInstall(found) {
  const command = `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${
    missingPackages(found).join(" ")
  }`;
  if (found?.cron) console.warn(`pgTAP is missing; its tests cannot run. To install it:\n  ${command}`);
  else {fail(
      `PostgreSQL ${OLDEST_POSTGRES} or newer with pg_cron is needed and is not on this machine. To install it:\n  ${command}`,
    );}
}

function missingPackages(found) {
  const version = found?.version ?? debianPostgresVersion();
  return [
    ...(found ? [] : [`postgresql-${version}`]),
    ...(found?.cron ? [] : [`postgresql-${version}-cron`]),
    ...(found?.pgtap ? [] : [`postgresql-${version}-pgtap`]),
    ...(proves() ? [] : ["libtap-parser-sourcehandler-pgtap-perl"]),
  ];
}

/** The newest installation, one with pg_cron before one without. */
function findPostgres() {
  return candidateDirectories()
    .map(describePostgres)
    .filter((candidate) => candidate && candidate.version >= OLDEST_POSTGRES)
    .sort((a, b) => Number(b.cron) - Number(a.cron) || b.version - a.version)[0];
}

function candidateDirectories() {
  if (process.env.SYMPHONY_PG_BIN) return [process.env.SYMPHONY_PG_BIN];
  const base = "/usr/lib/postgresql";
  const debian = existsSync(base) ? readdirSync(base).map((version) => join(base, version, "bin")) : [];
  return [...debian, output("pg_config", ["--bindir"])].filter(Boolean);
}

function describePostgres(bin) {
  if (!existsSync(join(bin, "initdb"))) return undefined;
  const version = Number(/\d+/.exec(output(join(bin, "postgres"), ["--version"]))?.[0]);
  const share = existsSync(join(bin, "pg_config"))
    ? output(join(bin, "pg_config"), ["--sharedir"])
    : `/usr/share/postgresql/${version}`;
  const has = (extension) => existsSync(join(share, "extension", `${extension}.control`));
  return { version, cron: has("pg_cron"), pgtap: has("pgtap") };
}

function debianPostgresVersion() {
  const depends = output("apt-cache", ["depends", "postgresql"]);
  return Number(/postgresql-(\d+)/.exec(depends)?.[1] ?? OLDEST_POSTGRES);
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

function run(program, args, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: "utf8",
  });
  if (status !== 0) fail(`${program} ${args.join(" ")} failed:\n${error?.message ?? stdout + stderr}`);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

function readJson(path) {
  return JSON.parse(readFileSync(join(root, path), "utf8"));
}
