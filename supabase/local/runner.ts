// Keeps an isolate per edge function: lazily started, replaced when it died or retired, counted, killable by tests.
import type { FunctionConfig } from "./config.ts";
import { type Isolate, type Limits, startIsolate } from "./isolate.ts";

/** What tests may see of the functions and do to them. */
export interface Functions {
  readonly names: string[];
  /** Process id of the isolate that would get the next request, if one runs. */
  pid(name: string): number | undefined;
  /** Requests handed to the function so far. */
  invocations(name: string): number;
  /** Signals every isolate of the function; after SIGKILL, waits until they are gone. */
  kill(name: string, signal?: Deno.Signal): Promise<void>;
  /** The code has changed: the next requests get isolates that have the new one, the present ones finish what they run. */
  replace(): void;
  /** Starts the function's isolate ahead of its first request. */
  warm(name: string): void;
}

export interface Runner extends Functions {
  config(name: string): FunctionConfig | undefined;
  handle(name: string, request: Request): Promise<Response>;
  stop(): Promise<void>;
}

export interface RunnerOptions {
  functions: FunctionConfig[];
  root: string;
  env: Record<string, string>;
  limits: Limits;
  log: (line: string) => void;
}

interface Door {
  config: FunctionConfig;
  /** Newest last; older ones finish what they have. */
  isolates: Isolate[];
  invocations: number;
}

export function createRunner({ functions, root, env, limits, log }: RunnerOptions): Runner {
  const doors = new Map(
    functions.map((config): [string, Door] => [config.name, { config, isolates: [], invocations: 0 }]),
  );
  let stopped = false;

  function isolateOf(door: Door): Isolate {
    const newest = door.isolates.at(-1);
    if (newest && !newest.retired) return newest;
    const isolate = startIsolate({
      config: door.config,
      root,
      env,
      limits,
      log: (line) => log(`[${door.config.name}] ${line}`),
    });
    door.isolates.push(isolate);
    isolate.ended.then(() => door.isolates.splice(door.isolates.indexOf(isolate), 1));
    return isolate;
  }

  function doorOf(name: string): Door {
    const door = doors.get(name);
    if (!door) throw new Error(`No function ${name} in config.toml`);
    return door;
  }

  return {
    names: [...doors.keys()],
    config: (name) => doors.get(name)?.config,
    async handle(name, request) {
      if (stopped) return Response.json({ code: "SHUTTING_DOWN", message: "The project is stopping" }, { status: 503 });
      const door = doorOf(name);
      door.invocations++;
      const path = new URL(request.url).pathname.slice("/functions/v1".length);
      return asHosted(await isolateOf(door).handle(path, request), request);
    },
    pid: (name) => doorOf(name).isolates.at(-1)?.pid,
    invocations: (name) => doorOf(name).invocations,
    async kill(name, signal = "SIGKILL") {
      const { isolates } = doorOf(name);
      const ends = isolates.map((isolate) => isolate.ended);
      for (const isolate of isolates) isolate.kill(signal);
      if (signal === "SIGKILL") await Promise.all(ends);
    },
    replace() {
      for (const { isolates } of doors.values()) isolates.forEach((isolate) => isolate.replace());
    },
    warm(name) {
      isolateOf(doorOf(name));
    },
    async stop() {
      stopped = true;
      await Promise.all([...doors.values()].flatMap(({ isolates }) => isolates.map((isolate) => isolate.stop())));
    },
  };
}

// On the shared domain Supabase turns a GET's HTML into plain text, so that functions cannot serve pages.
function asHosted(response: Response, request: Request): Response {
  if (request.method === "GET" && response.headers.get("content-type")?.startsWith("text/html")) {
    response.headers.set("content-type", "text/plain");
  }
  return response;
}
