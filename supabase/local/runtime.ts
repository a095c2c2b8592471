// Runs inside the subprocess of an isolate: emulates Supabase's edge runtime for the entrypoint, and serves it.
// Protocol with the parent, by lines: stdout gets the port once, stdin the commands "unload <reason>" and "retire".
type Handler = (request: Request, info: Deno.ServeHandlerInfo) => Response | Promise<Response>;

const GRACE_MS = 1_000;
const [entrypoint] = Deno.args;
const background = new Set<Promise<unknown>>();
const serve = Deno.serve;
let handler: Handler | undefined;

// Deno itself needs them; a hosted function does not have them.
for (const name of ["HOME", "PATH", "DENO_DIR", "XDG_CACHE_HOME", "DENO_NO_UPDATE_CHECK", "NO_COLOR"]) {
  Deno.env.delete(name);
}

Object.assign(globalThis, {
  EdgeRuntime: {
    waitUntil(work: Promise<unknown>) {
      const settled = Promise.resolve(work).catch((error) => console.error("background task failed:", error));
      background.add(settled);
      settled.finally(() => background.delete(settled));
      return work;
    },
  },
});

// A function that calls Deno.serve gets this port, whatever port it requests, as on the hosted runtime.
Object.defineProperty(Deno, "serve", {
  value(...args: [Deno.ServeOptions | Handler | { handler: Handler }, Handler?]) {
    handler = args.find((arg) => typeof arg === "function") ??
      args.map((arg) => arg && "handler" in arg ? arg.handler : undefined).find((found) => found !== undefined);
    const noop = () => {};
    return { finished: new Promise(noop), shutdown: () => Promise.resolve(), ref: noop, unref: noop };
  },
});

const module: { default?: { fetch?: Handler } } = await import(entrypoint);
if (module.default?.fetch) handler = module.default.fetch.bind(module.default);
if (!handler) throw new TypeError("The function must export default { fetch } or call Deno.serve");
const serving = handler;

serve({ hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(`\0listening ${port}`) }, serving);
await obeyParent();

async function obeyParent() {
  for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    for (const line of chunk.split("\n")) {
      const [command, reason] = line.split(" ");
      if (command === "unload") announceEnd(reason);
      // There are no requests by now; the isolate ends with its background tasks.
      if (command === "retire") whenIdle().then(() => end("early_drop"));
    }
  }
  announceEnd("termination");
  await Promise.race([whenIdle(), new Promise((resolve) => setTimeout(resolve, GRACE_MS))]);
  Deno.exit(0);
}

async function whenIdle() {
  while (background.size > 0) await Promise.all(background);
}

function end(reason: string) {
  announceEnd(reason);
  setTimeout(() => Deno.exit(0));
}

function announceEnd(reason: string) {
  globalThis.dispatchEvent(new CustomEvent("beforeunload", { detail: { reason } }));
}
