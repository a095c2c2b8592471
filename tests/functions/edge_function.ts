// One edge function in an isolate, with a script as its data API, so that these tests need no database.
import { resolve } from "node:path";
import { readConfig } from "../../supabase/local/config.ts";
import { startIsolate } from "../../supabase/local/isolate.ts";
import { REPOSITORY } from "../../supabase/local/paths.ts";
import type { ClaimRequest, Outcome } from "../../shared/delivery.ts";
import { MemoryReceiver } from "../shared/worker/memory_receiver.ts";

export const SECRET_KEY = "sb_secret_of_a_script";

type Args = Record<string, unknown>;

export interface Scripted {
  /** Environment of the function, in addition to the required variables. */
  env?: Record<string, string>;
  /**
   * Results of the data API's functions by name, in place of the script's defaults; a Response is returned unchanged.
   */
  api?: Record<string, (args: Args) => unknown>;
  /** A module to run in place of the function, from the root of the repository. */
  entrypoint?: string;
}

export interface EdgeFunction extends AsyncDisposable {
  /** Database functions that were called, oldest first. */
  readonly calls: { name: string; args: Args }[];
  /** Delivers messages to a worker, and accepts its outcomes. */
  readonly receiver: MemoryReceiver;
  /** Log lines of the function. */
  readonly lines: string[];
  post(path: string, json: unknown, headers?: Record<string, string>): Promise<{ status: number; body: Args }>;
}

/** Starts a function of supabase/config.toml. */
export async function openEdgeFunction(name: string, { env, api = {}, entrypoint }: Scripted): Promise<EdgeFunction> {
  const calls: EdgeFunction["calls"] = [];
  const lines: string[] = [];
  const receiver = new MemoryReceiver();
  const script: NonNullable<Scripted["api"]> = {
    messenger_exchange: ({ outcomes, batch, ...request }) =>
      receiver.exchange(outcomes as Outcome[], { ...request, batch } as ClaimRequest),
    messenger_settle: ({ outcomes }) => receiver.settle(outcomes as Outcome[]),
    ...api,
  };
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const called = new URL(request.url).pathname.match(/\/rpc\/(\w+)$/)?.[1];
    if (!called) return Response.json([{ name: "supabase", type: "supabase" }]); // messenger_transports
    const args = await request.json();
    calls.push({ name: called, args });
    const result = await script[called]?.(args);
    return result instanceof Response ? result : Response.json(result ?? []);
  });
  const { functions } = await readConfig(REPOSITORY);
  const config = functions.find((config) => config.name === name);
  if (!config) throw new Error(`supabase/config.toml has no function ${name}`);
  const isolate = startIsolate({
    config: entrypoint === undefined ? config : { ...config, entrypoint: resolve(REPOSITORY, entrypoint) },
    root: REPOSITORY,
    env: {
      SUPABASE_URL: `http://127.0.0.1:${server.addr.port}`,
      SUPABASE_SECRET_KEYS: JSON.stringify({ default: SECRET_KEY }),
      SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: "sb_publishable_of_a_script" }),
      ...env,
    },
    limits: { wallClock: 150_000, memory: 256 },
    log: (line) => lines.push(line),
  });
  return {
    calls,
    lines,
    receiver,
    async post(path, json, headers = { apikey: SECRET_KEY }) {
      const request = new Request(`http://127.0.0.1/functions/v1/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(json),
      });
      const [, target] = request.url.split("/functions/v1");
      const response = await isolate.handle(target.split("?")[0], request);
      return { status: response.status, body: await response.json() };
    },
    async [Symbol.asyncDispose]() {
      await isolate.stop();
      await server.shutdown();
    },
  };
}
