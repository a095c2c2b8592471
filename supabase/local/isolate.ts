// An isolate: one subprocess that runs one edge function until a limit of time, CPU or memory.
import { boundToThisProcess } from "./wrapping.ts";
import type { FunctionConfig } from "./config.ts";

export interface Limits {
  /**
   * Milliseconds that an isolate may live; after half of them it gets no new requests. Hosted: 150 s free, 400 s paid.
   */
  wallClock: number;
  /** Milliseconds of CPU that an isolate may use after its start; default: no limit. Hosted: 2 s per request. */
  cpu?: number;
  /** Megabytes of JavaScript heap. Hosted: 256 in all. */
  memory: number;
}

export interface IsolateOptions {
  config: FunctionConfig;
  /** The only directory tree it may read. */
  root: string;
  env: Record<string, string>;
  limits: Limits;
  log: (line: string) => void;
}

export interface Isolate {
  readonly pid: number;
  /** Whether new requests need another isolate. */
  readonly retired: boolean;
  readonly ended: Promise<void>;
  handle(path: string, request: Request): Promise<Response>;
  kill(signal: Deno.Signal): void;
  /** Its code has changed: it gets no new requests, takes on no more work, and ends when its work is done. */
  replace(): void;
  /** Ends it like a deploy or shutdown: `beforeunload` with reason termination, then a moment for background tasks. */
  stop(): Promise<void>;
}

// The share of a limit at which `beforeunload` is dispatched: the edge runtime's default.
const WARN_SHARE = 0.9;
const CPU_POLL_MS = 100;
const STOP_MS = 3_000;
const ENDING_MS = 1_000;
const CLOCK_TICK_MS = 10;

type EndReason = "wall_clock" | "cpu";

export function startIsolate(options: IsolateOptions): Isolate {
  const { config, limits, log } = options;
  const child = spawn(options);
  const commands = child.stdin.getWriter();
  const timers: ReturnType<typeof setTimeout>[] = [];
  let active = 0;
  let retired = false;
  let booted = false;
  let hasEnded = false;
  let reason: EndReason | undefined;

  const port = Promise.withResolvers<number>();
  port.promise.catch(() => {});
  const output = Promise.all([
    eachLine(child.stdout, (line) => {
      if (!line.startsWith("\0listening ")) return log(line);
      booted = true;
      port.resolve(Number(line.slice(11)));
    }),
    eachLine(child.stderr, log),
  ]);
  const exit = Promise.withResolvers<Deno.CommandStatus>();
  const ended = child.status.then(async (status) => {
    hasEnded = retired = true;
    timers.forEach(clearTimeout);
    port.reject(new Error("The isolate ended before it listened"));
    exit.resolve(status);
    await output;
    await commands.close().catch(() => {});
  });

  after(limits.wallClock / 2, retire);
  after(limits.wallClock * WARN_SHARE, () => command("unload wall_clock"));
  after(limits.wallClock, () => terminate("wall_clock"));
  if (limits.cpu) port.promise.then(() => watchCpu(limits.cpu ?? Infinity), () => {});

  function after(ms: number, act: () => void) {
    timers.push(setTimeout(act, ms));
  }

  function command(line: string) {
    if (!hasEnded) commands.write(new TextEncoder().encode(`${line}\n`)).catch(() => {});
  }

  function retire() {
    if (retired) return;
    retired = true;
    if (active === 0) command("retire");
  }

  function terminate(limit: EndReason) {
    if (hasEnded) return;
    reason = limit;
    log(`${config.name}: ${limit} limit reached, isolate ${child.pid} ended`);
    child.kill("SIGKILL");
  }

  async function responseAtEnd(): Promise<Response> {
    return endResponse(await exit.promise, reason, booted);
  }

  // The isolate did not listen, or the connection broke: if the process ends now, its end is the reason.
  async function responseToBrokenConnection(): Promise<Response> {
    const broken = Promise.withResolvers<Response>();
    const badGateway = () => errorResponse(502, "BAD_GATEWAY", "The connection broke before the response was complete");
    const timer = setTimeout(() => broken.resolve(badGateway()), ENDING_MS);
    const reply = await Promise.race([responseAtEnd(), broken.promise]);
    clearTimeout(timer);
    return reply;
  }

  function watchCpu(limit: number) {
    const base = cpuTime(child.pid);
    let warned = false;
    const timer = setInterval(() => {
      if (hasEnded) return clearInterval(timer);
      const used = cpuTime(child.pid) - base;
      if (used >= limit) return terminate("cpu");
      if (used >= limit / 2) retire();
      if (used >= limit * WARN_SHARE && !warned) {
        warned = true;
        command("unload cpu");
      }
    }, CPU_POLL_MS);
    timers.push(timer);
  }

  return {
    pid: child.pid,
    ended,
    get retired() {
      return retired;
    },
    async handle(path, request) {
      active++;
      try {
        return await Promise.race([forward(await port.promise, path, request), responseAtEnd()]);
      } catch {
        return await responseToBrokenConnection();
      } finally {
        active--;
        if (retired && active === 0) command("retire");
      }
    },
    kill(signal) {
      if (!hasEnded) child.kill(signal);
    },
    replace() {
      command("unload termination");
      retire();
    },
    async stop() {
      retired = true;
      if (!hasEnded) await commands.close().catch(() => {});
      const timer = setTimeout(() => hasEnded || child.kill("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}

function spawn({ config, root, env, limits }: IsolateOptions) {
  const [program, ...args] = [
    ...boundToThisProcess("KILL"),
    Deno.execPath(),
    "run",
    ...["--quiet", "--no-prompt", "--no-lock", "--cached-only", "--no-check"],
    ...["--allow-net", "--allow-env", "--allow-sys", `--allow-read=${root}`],
    ...[
      `--v8-flags=--max-old-space-size=${limits.memory}`,
      ...(config.importMap ? [`--config=${config.importMap}`] : []),
    ],
    new URL("./runtime.ts", import.meta.url).href,
    config.entrypoint,
  ];
  const inherited = ["HOME", "PATH", "DENO_DIR", "XDG_CACHE_HOME"].map((name) => [name, Deno.env.get(name)]);
  return new Deno.Command(program, {
    args,
    clearEnv: true,
    env: {
      ...Object.fromEntries(inherited.filter(([, value]) => value !== undefined)),
      DENO_NO_UPDATE_CHECK: "1",
      NO_COLOR: "1",
      ...env,
      SB_EXECUTION_ID: crypto.randomUUID(),
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function forward(port: number, path: string, request: Request): Promise<Response> {
  const url = new URL(request.url);
  const headers = new Headers(request.headers);
  headers.set("x-forwarded-host", url.host);
  headers.set("x-forwarded-proto", url.protocol.slice(0, -1));
  // The gateway compresses for its own client.
  headers.set("accept-encoding", "identity");
  for (const name of ["host", "connection", "keep-alive", "transfer-encoding", "upgrade"]) headers.delete(name);
  const reply = await fetch(`http://127.0.0.1:${port}${path}${url.search}`, {
    method: request.method,
    headers,
    body: request.body,
    redirect: "manual",
  });
  return new Response(reply.body, { status: reply.status, headers: reply.headers });
}

/** The response to requests that were running when their isolate ended. */
function endResponse({ code, signal }: Deno.CommandStatus, reason: EndReason | undefined, booted: boolean): Response {
  if (reason === "wall_clock") {
    return errorResponse(504, "IDLE_TIMEOUT", "There was no response within the wall clock limit");
  }
  // V8 traps or aborts when its heap is full.
  const outOfMemory = signal === "SIGTRAP" || signal === "SIGABRT" || code === 133 || code === 134;
  if (reason === "cpu" || outOfMemory) {
    return errorResponse(546, "WORKER_LIMIT", "Worker failed due to not having enough resources (please check logs)");
  }
  if (!booted && !signal) return errorResponse(503, "BOOT_ERROR", "Worker failed to boot (please check logs)");
  return errorResponse(500, "WORKER_ERROR", "Worker exited due to an error (please check logs)");
}

function errorResponse(status: number, code: string, message: string): Response {
  return Response.json({ code, message }, { status });
}

/** Milliseconds of CPU that the process has used; 0 on systems without /proc. */
function cpuTime(pid: number): number {
  try {
    const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS;
  } catch {
    return 0;
  }
}

async function eachLine(stream: ReadableStream<Uint8Array<ArrayBuffer>>, take: (line: string) => void) {
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    lines.forEach(take);
  }
  if (rest) take(rest);
}
