// Runs the edge functions: starts an isolate at the first request, replaces it when it has ended or retired.
import type { FunctionConfig } from "./config.ts";
import { type Isolate, type Limits, startIsolate } from "./isolate.ts";

/** The edge functions of a project, to be observed and disturbed by tests. */
export interface Functions {
  readonly names: string[];
  /** Process id of the isolate that gets the next request; undefined if none runs. */
  pid(name: string): number | undefined;
  /** Number of requests so far. */
  invocations(name: string): number;
  /** Sends a signal to every isolate of the function; after SIGKILL, waits until they have ended. */
  kill(name: string, signal?: Deno.Signal): Promise<void>;
  /** The code has changed: new requests get new isolates; the present ones finish their work. */
  replace(): void;
  /** Starts the function's isolate before its first request. */
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

interface FunctionState {
  config: FunctionConfig;
  /** Newest last; older ones finish their work. */
  isolates: Isolate[];
  invocations: number;
}

export function createRunner({ functions, root, env, limits, log }: RunnerOptions): Runner {
  const states = new Map(
    functions.map((config): [string, FunctionState] => [config.name, { config, isolates: [], invocations: 0 }]),
  );
  let stopped = false;

  function isolateOf({ config, isolates }: FunctionState): Isolate {
    const newest = isolates.at(-1);
    if (newest && !newest.retired) return newest;
    const isolate = startIsolate({
      config,
      root,
      env,
      limits,
      log: (line) => log(`[${config.name}] ${line}`),
    });
    isolates.push(isolate);
    isolate.ended.then(() => isolates.splice(isolates.indexOf(isolate), 1));
    return isolate;
  }

  function stateOf(name: string): FunctionState {
    const state = states.get(name);
    if (!state) throw new Error(`config.toml has no function ${name}`);
    return state;
  }

  return {
    names: [...states.keys()],
    config: (name) => states.get(name)?.config,
    async handle(name, request) {
      if (stopped) return Response.json({ code: "SHUTTING_DOWN", message: "The project is stopping" }, { status: 503 });
      const state = stateOf(name);
      state.invocations++;
      const path = new URL(request.url).pathname.slice("/functions/v1".length);
      return asHosted(await isolateOf(state).handle(path, request), request);
    },
    pid: (name) => stateOf(name).isolates.at(-1)?.pid,
    invocations: (name) => stateOf(name).invocations,
    async kill(name, signal = "SIGKILL") {
      const { isolates } = stateOf(name);
      const ends = isolates.map((isolate) => isolate.ended);
      for (const isolate of isolates) isolate.kill(signal);
      if (signal === "SIGKILL") await Promise.all(ends);
    },
    replace() {
      for (const { isolates } of states.values()) isolates.forEach((isolate) => isolate.replace());
    },
    warm(name) {
      isolateOf(stateOf(name));
    },
    async stop() {
      stopped = true;
      await Promise.all([...states.values()].flatMap(({ isolates }) => isolates.map((isolate) => isolate.stop())));
    },
  };
}

// On the shared domain Supabase serves the HTML of a GET as plain text, so that functions cannot serve pages.
function asHosted(response: Response, request: Request): Response {
  if (request.method === "GET" && response.headers.get("content-type")?.startsWith("text/html")) {
    response.headers.set("content-type", "text/plain");
  }
  return response;
}
