// The stand-in for the edge runtime: one process per function, the hosted environment, crashes that affect one request.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test, useProject } from "../project.ts";

const FUNCTIONS = {
  spy: `
    let calls = 0;
    const started = crypto.randomUUID();
    const attempt = async (work) => { try { return await work(); } catch (error) { return error.name; } };
    Deno.serve(async (request) => {
      const path = new URL(request.url).pathname;
      if (path === "/spy/env") return Response.json(Deno.env.toObject());
      if (path === "/spy/hang") await new Promise(() => {});
      if (path === "/spy/crash") Deno.exit(7);
      if (path === "/spy/background") {
        EdgeRuntime.waitUntil(new Promise((resolve) => setTimeout(resolve, 200)).then(() => calls = 1000));
      }
      if (path === "/spy/reach") return Response.json({
        write: await attempt(() => Deno.writeTextFile("/tmp/written-by-a-function", "")),
        run: await attempt(() => new Deno.Command("true").output().then(() => "ran")),
        read: await attempt(() => Deno.readTextFile("/etc/passwd").then(() => "read")),
      });
      return Response.json({ path, calls: calls++, started, body: await request.text(), method: request.method });
    });`,
  closed: `export default { fetch: () => new Response("in") };`,
  broken: `throw new Error("does not boot");`,
  page: `export default { fetch: () => new Response("<p>", { headers: { "content-type": "text/html" } }) };`,
};

const root = await Deno.makeTempDir({ prefix: "symphony-functions-" });
await Deno.mkdir(`${root}/supabase/migrations`, { recursive: true });
let config = "";
for (const [name, source] of Object.entries(FUNCTIONS)) {
  await Deno.mkdir(`${root}/supabase/functions/${name}`, { recursive: true });
  await Deno.writeTextFile(`${root}/supabase/functions/${name}/index.ts`, source);
  config += `[functions.${name}]\n${name === "closed" ? "" : "verify_jwt = false\n"}`;
}
await Deno.writeTextFile(`${root}/supabase/config.toml`, `[db.seed]\nenabled = false\n${config}`);
Deno.test.afterAll(() => Deno.remove(root, { recursive: true }));

const project = useProject({ functions: true, root, env: { OWN_SECRET: "mine" } });

const call = (path: string, init?: RequestInit) => fetch(`${project().url}/functions/v1/${path}`, init);
const spy = async (path = "") => await (await call(`spy${path}`)).json();

test("functions · a request reaches its function with path, method and body", async () => {
  const { path, method, body } = await (await call("spy/a/b?q=1", { method: "PUT", body: "héllo" })).json();
  assert.deepEqual([path, method, body], ["/spy/a/b", "PUT", "héllo"]);
});

test("functions · one process serves all requests of a function", async () => {
  const [first, second] = [await spy(), await spy()];
  assert.equal(first.started, second.started);
  assert.ok(second.calls > first.calls);
});

test("functions · a killed process is replaced for the next request", async () => {
  const before = await spy();
  const pid = project().functions.pid("spy");
  await project().functions.kill("spy");
  const after = await spy();
  assert.notEqual(after.started, before.started);
  assert.notEqual(project().functions.pid("spy"), pid);
});

test("functions · if it is killed during a request, the caller receives 500, others are not affected", async () => {
  await spy();
  const before = project().functions.invocations("spy");
  const hanging = call("spy/hang");
  await eventually("the request is in flight", () => project().functions.invocations("spy") > before);
  await project().functions.kill("spy");
  const reply = await hanging;
  assert.deepEqual([reply.status, (await reply.json()).code], [500, "WORKER_ERROR"]);
  assert.equal((await call("spy")).status, 200);
});

test("functions · a process that exits fails its own request only", async () => {
  assert.equal((await call("spy/crash")).status, 500);
  assert.equal((await call("spy")).status, 200);
});

test("functions · background work continues after the reply", async () => {
  await call("spy/background").then((reply) => reply.body?.cancel());
  await eventually("the background task has run", async () => (await spy()).calls >= 1_000);
});

test("functions · the environment is that of a hosted project, plus the requested variables", async () => {
  const env: Record<string, string> = await spy("/env");
  assert.deepEqual(Object.keys(env).sort(), [
    "OWN_SECRET",
    "SB_EXECUTION_ID",
    "SB_REGION",
    "SUPABASE_ANON_KEY",
    "SUPABASE_DB_URL",
    "SUPABASE_JWKS",
    "SUPABASE_PUBLISHABLE_KEYS",
    "SUPABASE_SECRET_KEYS",
    "SUPABASE_SERVICE_ROLE_KEY",
    "SUPABASE_URL",
  ]);
  assert.deepEqual(JSON.parse(env.SUPABASE_SECRET_KEYS), { default: project().secretKey });
  assert.deepEqual(JSON.parse(env.SUPABASE_PUBLISHABLE_KEYS), { default: project().publishableKey });
  assert.equal(env.SUPABASE_URL, project().url);
});

test("functions · may not write, run programs, or read outside the repository", async () => {
  const { write, run, read } = await spy("/reach");
  assert.deepEqual([write, read], ["NotCapable", "NotCapable"]);
  assert.notEqual(run, "ran");
});

test("functions · with verify_jwt only a valid token is accepted", async () => {
  const { anonKey, signUser } = project();
  const sub = crypto.randomUUID();
  const statusOf = async (authorization?: string) => {
    const reply = await call("closed", { headers: authorization ? { authorization } : {} });
    await reply.body?.cancel();
    return reply.status;
  };
  assert.equal(await statusOf(), 401);
  assert.equal(await statusOf("Bearer a.b.c"), 401);
  assert.equal(await statusOf("Basic YTpi"), 401);
  assert.equal(await statusOf(`Bearer ${await signUser({ sub }, { expiresIn: -60 })}`), 401);
  assert.equal(await statusOf(`Bearer ${await signUser({ sub })}`), 200);
  assert.equal(await statusOf(`Bearer ${anonKey}`), 200);
});

test("functions · a function that does not boot returns 503, a missing one 404", async () => {
  const broken = await call("broken");
  assert.deepEqual([broken.status, (await broken.json()).code], [503, "BOOT_ERROR"]);
  const missing = await call("missing");
  assert.deepEqual([missing.status, (await missing.json()).code], [404, "NOT_FOUND"]);
});

test("functions · pages are served as plain text, as on the shared domain", async () => {
  const reply = await call("page");
  await reply.body?.cancel();
  assert.equal(reply.headers.get("content-type"), "text/plain");
});

test("functions · calls are counted", async () => {
  const before = project().functions.invocations("spy");
  await spy();
  await spy();
  assert.equal(project().functions.invocations("spy"), before + 2);
});
