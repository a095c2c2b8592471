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

interface App {
  config: FunctionConfig;
  /** Newest last; older ones finish what they have. */
  isolates: Isolate[];
  invocations: number;
}

export function createRunner({ functions, root, env, limits, log }: RunnerOptions): Runner {
  const apps = new Map(
    functions.map((config): [string, App] => [config.name, { config, isolates: [], invocations: 0 }]),
  );
  let stopped = false;

  function isolateOf(app: App): Isolate {
    const newest = app.isolates.at(-1);
    if (newest && !newest.retired) return newest;
    const isolate = startIsolate({
      config: app.config,
      root,
      env,
      limits,
      log: (line) => log(`[${app.config.name}] ${line}`),
    });
    app.isolates.push(isolate);
    isolate.ended.then(() => app.isolates.splice(app.isolates.indexOf(isolate), 1));
    return isolate;
  }

  function functionOf(name: string): App {
    const app = apps.get(name);
    if (!app) throw new Error(`No function ${name} in config.toml`);
    return app;
  }

  return {
    names: [...apps.keys()],
    config: (name) => apps.get(name)?.config,
    async handle(name, request) {
      if (stopped) return Response.json({ code: "SHUTTING_DOWN", message: "The project is stopping" }, { status: 503 });
      const app = functionOf(name);
      app.invocations++;
      const path = new URL(request.url).pathname.slice("/functions/v1".length);
      return asHosted(await isolateOf(app).handle(path, request), request);
    },
    pid: (name) => functionOf(name).isolates.at(-1)?.pid,
    invocations: (name) => functionOf(name).invocations,
    async kill(name, signal = "SIGKILL") {
      const { isolates } = functionOf(name);
      const ends = isolates.map((isolate) => isolate.ended);
      for (const isolate of isolates) isolate.kill(signal);
      if (signal === "SIGKILL") await Promise.all(ends);
    },
    replace() {
      for (const { isolates } of apps.values()) isolates.forEach((isolate) => isolate.replace());
    },
    warm(name) {
      isolateOf(functionOf(name));
    },
    async stop() {
      stopped = true;
      await Promise.all([...apps.values()].flatMap(({ isolates }) => isolates.map((isolate) => isolate.stop())));
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
