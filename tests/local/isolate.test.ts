// One isolate of an edge function: its retirement, its limits, and the ways to stop it.
import assert from "node:assert/strict";
import { join } from "node:path";
import { type Isolate, type Limits, startIsolate } from "../../supabase/local/isolate.ts";
import { eventually } from "../eventually.ts";
import { withoutWaiting } from "../timers.ts";

const SOURCE = `
  import process from "node:process";
  const used = () => process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000;
  export default { async fetch(request) {
    const url = new URL(request.url);
    const ms = Number(url.searchParams.get("ms"));
    if (url.pathname === "/burn") for (const end = used() + ms; used() < end;);
    if (url.pathname === "/wait") await new Promise((resolve) => setTimeout(resolve, ms));
    if (url.pathname === "/hang") await new Promise(() => {});
    return new Response("done");
  } };`;

const root = await Deno.makeTempDir({ prefix: "symphony-isolate-" });
const entrypoint = join(root, "index.ts");
await Deno.writeTextFile(entrypoint, SOURCE);
Deno.test.afterAll(() => Deno.remove(root, { recursive: true }));

function start(limits: Partial<Limits> = {}): Isolate & AsyncDisposable {
  const isolate = startIsolate({
    config: { name: "test", verifyJwt: false, entrypoint },
    root,
    env: {},
    limits: { wallClock: 60_000, memory: 256, ...limits },
    log: () => {},
  });
  return Object.assign(isolate, {
    async [Symbol.asyncDispose]() {
      isolate.kill("SIGKILL");
      await isolate.ended;
    },
  });
}

/** The status of a request, and the code of its error. */
async function call(isolate: Isolate, path: string): Promise<unknown[]> {
  const url = new URL(path, "http://127.0.0.1");
  const response = await isolate.handle(url.pathname, new Request(url));
  const text = await response.text();
  return [response.status, ...response.ok ? [] : [JSON.parse(text).code]];
}

/** Like Deno.test, but without leak checks, because fetch keeps its connections beyond the test. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `isolate · ${name}`, fn, sanitizeResources: false, sanitizeOps: false });
}

test("a fresh one is not retired", async () => {
  await using isolate = start();
  assert.deepEqual([await call(isolate, "/"), isolate.retired], [[200], false]);
});

test("at half of its wall clock it retires: it finishes its open requests, and then ends", async () => {
  await withoutWaiting(30_000, async () => {
    await using isolate = start({ wallClock: 60_000 });
    const request = call(isolate, "/wait?ms=200");
    await eventually("it is retired", () => isolate.retired, 5_000);
    assert.deepEqual(await request, [200]);
    await isolate.ended;
  });
});

test("at the end of its wall clock it is killed, and its open requests get 504", async () => {
  await withoutWaiting(60_000, async () => {
    await using isolate = start({ wallClock: 60_000 });
    assert.deepEqual(await call(isolate, "/hang"), [504, "IDLE_TIMEOUT"]);
    await isolate.ended;
  });
});

test("one that uses up its CPU is killed, and its open requests get 546", async () => {
  await using isolate = start({ cpu: 300 });
  assert.deepEqual(await call(isolate, "/burn?ms=5000"), [546, "WORKER_LIMIT"]);
  await isolate.ended;
});

test("at half of its CPU it retires", async () => {
  await using isolate = start({ cpu: 1_000 });
  assert.deepEqual([await call(isolate, "/burn?ms=10"), isolate.retired], [[200], false]);
  assert.deepEqual(await call(isolate, "/burn?ms=600"), [200]);
  await eventually("it is retired", () => isolate.retired, 5_000);
});

test("one that does not react to a stop is killed after three seconds", async () => {
  await using isolate = start();
  await call(isolate, "/");
  isolate.kill("SIGSTOP"); // it reads no commands and handles no signals any more
  const hanging = call(isolate, "/");
  await withoutWaiting(3_000, () => isolate.stop());
  assert.deepEqual(await hanging, [500, "WORKER_ERROR"]);
});
