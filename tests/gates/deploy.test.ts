// `supabase functions deploy` against a stand-in of the Management API: the uploaded files of each edge function.
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { z } from "zod";
import { copyOfRepository, gate, plant, root, run, type Scratch, scratch } from "./gate.ts";
import { type ManagementApi, openManagementApi } from "./management_api.ts";
import { cliMissing, supabase } from "./supabase_cli.ts";

const PROJECT = "abcdefghijklmnopqrst";
const TOKEN = `sbp_${"0123456789".repeat(4)}`;
/** Named one by one, so that an edge function that vanished with its folder is noticed. */
const EDGE_FUNCTIONS = ["dispatch", "scheduler", "worker"];

gate("supabase functions deploy uploads each edge function with exactly the files it imports", cliMissing, async () => {
  await using repository = await workingCopy();
  await leaveSecretsIn(repository.path);
  await using api = openManagementApi(PROJECT, TOKEN);
  await deploy(repository.path, api);
  assert.deepEqual(api.unknown, []);
  assert.deepEqual(api.uploads.map(({ slug }) => slug).sort(), await functionsIn(repository.path));
  assert.deepEqual(EDGE_FUNCTIONS.filter((app) => !api.uploads.some(({ slug }) => slug === app)), []);
  assert.deepEqual(await faultsOf(repository.path, api), []);
  for (const { files } of api.uploads) {
    for (const [path, text] of files) assert.equal(text, await Deno.readTextFile(join(repository.path, path)), path);
  }
});

gate("each fault planted in a deployment is found", cliMissing, async () => {
  await using repository = await workingCopy();
  const config = join(repository.path, "supabase/config.toml");
  // A wrong name, a missing entrypoint, a missing verify_jwt; and a folder in the import map, which uploads all of its
  // files.
  await plant(config, "[functions.scheduler]", "[functions.timetable]");
  await plant(config, `entrypoint = "../functions/dispatch/index.ts"\n`, "");
  const worker = `entrypoint = "../functions/worker/index.ts"`;
  await plant(config, `verify_jwt = false\n${worker}`, worker);
  await plant(join(repository.path, "deno.json"), `"imports": {`, `"imports": {\n    "local/": "./supabase/local/",`);
  await using api = openManagementApi(PROJECT, TOKEN);
  await deploy(repository.path, api);
  const found = await faultsOf(repository.path, api);
  const planted = [
    "timetable was deployed and is no edge function",
    "scheduler was not deployed",
    "dispatch was deployed from supabase/functions/dispatch/index.ts",
    "dispatch is uploaded without functions/dispatch/index.ts",
    "worker verifies JWTs",
    "worker would verify JWTs after the deployment",
    "worker uploads supabase/local/project.ts",
  ];
  assert.deepEqual(planted.filter((fault) => !found.includes(fault)), [], found.join("\n"));
});

async function deploy(repository: string, api: ManagementApi): Promise<void> {
  await using outside = await scratch();
  const profile = join(outside.path, "profile.yaml");
  const addresses = ["api_url", "dashboard_url", "docs_url"].map((name) => `${name}: ${api.url}\n`).join("");
  await Deno.writeTextFile(profile, `name: here\nproject_host: 127.0.0.1\n${addresses}`);
  const args = ["functions", "deploy", "--use-api", "--yes", `--remote=${PROJECT}`, `--profile=${profile}`];
  const { code, text } = await supabase(repository, args, { SUPABASE_ACCESS_TOKEN: TOKEN });
  // The CLI accepts even an empty edge function: faultsOf checks its uploads.
  assert.equal(code, 0, text);
}

/** The faults of a deployment, one sentence each. */
async function faultsOf(repository: string, { uploads, released }: ManagementApi): Promise<string[]> {
  const apps = await functionsIn(repository);
  const faults = uploads.filter(({ slug }) => !apps.includes(slug)).map(({ slug }) =>
    `${slug} was deployed and is no edge function`
  );
  for (const app of apps) {
    const upload = uploads.find(({ slug }) => slug === app);
    if (!upload) {
      faults.push(`${app} was not deployed`);
      continue;
    }
    const { metadata: { entrypoint_path, import_map_path, verify_jwt }, files } = upload;
    const entrypoint = `functions/${app}/index.ts`;
    if (entrypoint_path !== entrypoint) faults.push(`${app} was deployed from ${entrypoint_path}`);
    if (import_map_path !== "deno.json") faults.push(`${app} was deployed with the import map ${import_map_path}`);
    if (verify_jwt) faults.push(`${app} verifies JWTs`);
    const release = released.find(({ slug }) => slug === app);
    if (!release) faults.push(`${app} was not released`);
    if (release?.verify_jwt) faults.push(`${app} would verify JWTs after the deployment`);
    const needed = ["deno.json", ...await reachableFrom(repository, entrypoint)];
    for (const path of needed) if (!files.has(path)) faults.push(`${app} is uploaded without ${path}`);
    const expected = new RegExp(`^(deno\\.json$|shared/|packs/|functions/${app}/)`);
    for (const path of files.keys()) {
      if (!needed.includes(path) || !expected.test(path)) faults.push(`${app} uploads ${path}`);
    }
  }
  return faults;
}

async function functionsIn(repository: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(join(repository, "functions")));
  return entries.filter((entry) => entry.isDirectory).map(({ name }) => name).sort();
}

const moduleGraph = z.object({ modules: z.array(z.object({ specifier: z.string() })) });

/** Files of the repository that a module loads, type imports included, as Deno reports them. */
async function reachableFrom(repository: string, entrypoint: string): Promise<string[]> {
  const { code, stdout, text } = await run(Deno.execPath(), ["info", "--json", entrypoint], {
    cwd: repository,
    inherit: true,
  });
  assert.equal(code, 0, text);
  const base = `file://${repository}/`;
  return moduleGraph.parse(JSON.parse(stdout)).modules.map(({ specifier }) => specifier)
    .filter((specifier) => specifier.startsWith(base) && !specifier.includes("/node_modules/"))
    .map((specifier) => specifier.slice(base.length)).sort();
}

/** Files of a working copy beside its sources, which must never be uploaded. */
async function leaveSecretsIn(repository: string): Promise<void> {
  const secrets = [
    ".symphony/project/keys.json",
    ".env",
    "supabase/.env",
    "functions/.env",
    "functions/worker/.env",
    "shared/notes.ts",
  ];
  for (const path of secrets) {
    await Deno.mkdir(dirname(join(repository, path)), { recursive: true });
    await Deno.writeTextFile(join(repository, path), "SECRET=hush\n");
  }
}

async function workingCopy(): Promise<Scratch> {
  const copy = await copyOfRepository();
  await Deno.symlink(join(root, "node_modules"), join(copy.path, "node_modules"));
  return copy;
}
