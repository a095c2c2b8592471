// One subprocess that runs one edge function: started, fed with requests, retired by age, ended.
import { boundToUs } from "./wrapping.ts";
import type { FunctionConfig } from "./config.ts";

export interface Limits {
  /** Milliseconds an isolate may live; at half of it, it gets no new requests. Hosted: 150 s free, 400 s paid. */
  wallClock: number;
  /** Milliseconds of CPU an isolate may use after its start; undefined is unlimited. Hosted: 2 s a request. */
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
  /** True when new requests should go to a fresh isolate. */
  readonly retired: boolean;
  readonly ended: Promise<void>;
  handle(path: string, request: Request): Promise<Response>;
  kill(signal: Deno.Signal): void;
  /** Its code has changed: it gets no new requests, is told to take on no more work, and ends when what it runs is done. */
  replace(): void;
  /** Ends it as a deploy or shutdown would: `beforeunload` with reason termination, a moment for background tasks. */
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
  let over = false;
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
    over = retired = true;
    timers.forEach(clearTimeout);
    port.reject(new Error("ended before it listened"));
    exit.resolve(status);
    await output;
    await commands.close().catch(() => {});
  });

  after(limits.wallClock / 2, retire);
  after(limits.wallClock * WARN_SHARE, () => tell("unload wall_clock"));
  after(limits.wallClock, () => terminate("wall_clock"));
  if (limits.cpu) port.promise.then(() => watchCpu(limits.cpu ?? Infinity), () => {});

  function after(ms: number, act: () => void) {
    timers.push(setTimeout(act, ms));
  }

  function tell(command: string) {
    if (!over) commands.write(new TextEncoder().encode(`${command}\n`)).catch(() => {});
  }

  function retire() {
    if (retired) return;
    retired = true;
    if (active === 0) tell("retire");
  }

  function terminate(why: EndReason) {
    if (over) return;
    reason = why;
    log(`${config.name}: ${why} limit reached, isolate ${child.pid} ended`);
    child.kill("SIGKILL");
  }

  async function lastWords(): Promise<Response> {
    return farewell(await exit.promise, reason, booted);
  }

  // The port never came or the connection broke: when the process is ending, its end tells why; else it was the caller.
  async function brokenOff(): Promise<Response> {
    const gone = Promise.withResolvers<Response>();
    const broken = () => gone.resolve(refuse(502, "BAD_GATEWAY", "The request or its answer broke off"));
    const timer = setTimeout(broken, ENDING_MS);
    const reply = await Promise.race([lastWords(), gone.promise]);
    clearTimeout(timer);
    return reply;
  }

  function watchCpu(limit: number) {
    const base = cpuTime(child.pid);
    let warned = false;
    const timer = setInterval(() => {
      if (over) return clearInterval(timer);
      const used = cpuTime(child.pid) - base;
      if (used >= limit) return terminate("cpu");
      if (used >= limit / 2) retire();
      if (used >= limit * WARN_SHARE && !warned) {
        warned = true;
        tell("unload cpu");
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
        return await Promise.race([forward(await port.promise, path, request), lastWords()]);
      } catch {
        return await brokenOff();
      } finally {
        active--;
        if (retired && active === 0) tell("retire");
      }
    },
    kill(signal) {
      if (!over) child.kill(signal);
    },
    replace() {
      tell("unload termination");
      retire();
    },
    async stop() {
      retired = true;
      if (!over) await commands.close().catch(() => {});
      const timer = setTimeout(() => over || child.kill("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}

function spawn({ config, root, env, limits }: IsolateOptions) {
  const [program, ...args] = [
    ...boundToUs("KILL"),
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

/** What requests still running get when their isolate has ended. */
function farewell({ code, signal }: Deno.CommandStatus, reason: EndReason | undefined, booted: boolean): Response {
  if (reason === "wall_clock") {
    return refuse(504, "IDLE_TIMEOUT", "The request was not answered within the wall clock limit");
  }
  // V8 traps or aborts when its heap is full.
  const outOfMemory = signal === "SIGTRAP" || signal === "SIGABRT" || code === 133 || code === 134;
  if (reason === "cpu" || outOfMemory) {
    return refuse(546, "WORKER_LIMIT", "Worker failed due to not having enough resources (please check logs)");
  }
  if (!booted && !signal) return refuse(503, "BOOT_ERROR", "Worker failed to boot (please check logs)");
  return refuse(500, "WORKER_ERROR", "Worker exited due to an error (please check logs)");
}

function refuse(status: number, code: string, message: string): Response {
  return Response.json({ code, message }, { status });
}

/** Milliseconds of CPU the process has used so far; 0 where there is no /proc. */
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
