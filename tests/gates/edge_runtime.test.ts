// The edge functions under Deno 2.1.4, the version of the hosted edge runtime, with the deployed files only: no
// package.json, no node_modules, no lock.
import assert from "node:assert/strict";
import { join } from "node:path";
import { openCollector } from "../collector.ts";
import { eventually } from "../eventually.ts";
import { useProject } from "../project.ts";
import { type EdgeFunction, openEdgeFunction } from "./edge_function.ts";
import { copyOfRepository, gate, root, run, type Scratch } from "./gate.ts";
import { npmTool, tools } from "./npm_tool.ts";

const VERSION = "2.1.4";
const { program, missing: toolMissing } = await npmTool("deno", VERSION);
const environment = {
  // The registry's settings are in the home's .npmrc, its certificate possibly in the machine's store.
  HOME: Deno.env.get("HOME") ?? "",
  DENO_TLS_CA_STORE: "system,mozilla",
  // Inside node_modules, which this repository's own `deno check .` skips.
  DENO_DIR: join(tools, `deno-${VERSION}/node_modules/.cache`),
  DENO_NO_UPDATE_CHECK: "1",
};
const apps = [...Deno.readDirSync(join(root, "functions"))].filter((entry) => entry.isDirectory)
  .map(({ name }) => name).sort();
const missing = toolMissing ?? await fetchPackages();

const project = useProject();
const collector = openCollector();
const traces = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };

gate(`the edge functions pass the type check of Deno ${VERSION}`, missing, async () => {
  await using copy = await deployed();
  const { code, text } = await check(copy.path, apps);
  assert.equal(code, 0, text);
});

gate(`under Deno ${VERSION} every edge function starts, and rejects a caller without a key`, missing, async (t) => {
  await using copy = await deployed();
  for (const app of apps) {
    await t.step(app, async () => {
      await using running = await open(copy.path, app);
      const { status, body } = await running.post({}, {});
      assert.deepEqual([status, body.error?.code], [401, "SM_UNAUTHENTICATED"]);
    });
  }
});

gate(`under Deno ${VERSION} messages of a service and of a user are dispatched and handled`, missing, async () => {
  await using copy = await deployed();
  await using dispatch = await open(copy.path, "dispatch", traces);
  await using worker = await open(copy.path, "worker", traces);
  await using scheduler = await open(copy.path, "scheduler");
  const service = { apikey: project().secretKey };
  const token = await project().signUser({ sub: crypto.randomUUID() });
  const user = { apikey: project().publishableKey, authorization: `Bearer ${token}` };

  const quick = { message: { type: "ExampleQuick", payload: {} } };
  assert.equal((await dispatch.post(quick, service)).status, 201);
  const own = { message: { type: "ExampleUser", payload: { note: "from a user" } } };
  assert.equal((await dispatch.post(own, user)).status, 201);
  assert.equal((await scheduler.post({}, service)).status, 200);
  const worked = await worker.post({}, service, "?wait=1");
  assert.deepEqual([worked.status, worked.body.stats?.completed], [200, 2]);
  const rows = await project().sql`select message_type, status from messenger_messages order by message_type`;
  assert.deepEqual([...rows], [
    { message_type: "ExampleQuick", status: "completed" },
    { message_type: "ExampleUser", status: "completed" },
  ]);
  await eventually("a span of each dispatch and of each delivery", () => collector.spans.length === 4);
  assert.deepEqual(collector.wrong, []);
});

gate(`Deno ${VERSION} rejects an edge function that uses a newer API`, missing, async () => {
  await using copy = await deployed();
  // An edge function without imports; the imports have been checked above.
  await Deno.mkdir(join(copy.path, "functions/newer"));
  const source = "console.log(new Uint8Array([1]).toHex());\n\nexport default { fetch: () => new Response() };\n";
  await Deno.writeTextFile(join(copy.path, "functions/newer/index.ts"), source);
  const { code, text } = await check(copy.path, ["newer"]);
  assert.notEqual(code, 0);
  assert.match(text, /Property 'toHex' does not exist on type 'Uint8Array'/);
  await assert.rejects(open(copy.path, "newer"), /toHex is not a function/);
  // The version is the cause: the current Deno has the API.
  const newer = await run(Deno.execPath(), ["eval", "console.log(new Uint8Array([1]).toHex())"]);
  assert.equal(newer.stdout, "01\n", newer.text);
});

/** The files of a deployment, in a folder without any other configuration above it. */
async function deployed(): Promise<Scratch> {
  return await copyOfRepository("functions", "shared", "packs", "deno.json", "supabase/local/runtime.ts");
}

function open(directory: string, app: string, variables: Record<string, string> = {}): Promise<EdgeFunction> {
  const flags = ["--quiet", "--no-prompt", "--no-check", "--config=deno.json", "--allow-all"];
  return openEdgeFunction({
    program,
    flags,
    env: { ...environment, ...variables },
    directory,
    app,
    project: project(),
  });
}

function check(directory: string, checked: string[]) {
  const entrypoints = checked.map((app) => `functions/${app}/index.ts`);
  return run(program, ["check", "--config=deno.json", ...entrypoints], {
    cwd: directory,
    env: environment,
    inherit: true,
  });
}

/**
 * Fetches the imports of each edge function separately: hosted, an edge function without a lock may get other versions
 * than the next.
 */
async function fetchPackages(): Promise<string | undefined> {
  await using copy = await deployed();
  for (const app of apps) {
    const args = ["cache", "--config=deno.json", `functions/${app}/index.ts`];
    const { code, text } = await run(program, args, { cwd: copy.path, env: environment, inherit: true });
    // Other errors of an edge function are left to the tests.
    if (code === 0 || !/npm package|error sending request/i.test(text)) continue;
    const reason = text.split("\n").find((line) => line.startsWith("error"));
    return `Deno ${VERSION} could not fetch the edge functions' packages (${reason}). ` +
      "With a way to the npm registry, run the tests again.";
  }
}
