// An edge function as a process of an older Deno, in the environment of the hosted edge runtime.
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Project } from "../../supabase/local/project.ts";

export interface EdgeFunction extends AsyncDisposable {
  post(body: unknown, headers: Record<string, string>, query?: string): Promise<{ status: number; body: EdgeReply }>;
}

export interface EdgeReply {
  error?: { code: string };
  stats?: { completed: number };
}

export interface EdgeOptions {
  program: string;
  /** Arguments of `run` before the script. */
  flags: string[];
  env: Record<string, string>;
  /** The folder to which the edge function was deployed, with runtime.ts, which serves it. */
  directory: string;
  app: string;
  project: Project;
}

/** Starts an edge function; throws its output if it ends before it listens. */
export async function openEdgeFunction(
  { program, flags, env, directory, app, project }: EdgeOptions,
): Promise<EdgeFunction> {
  const child = new Deno.Command(program, {
    args: ["run", ...flags, "runtime.ts", join(directory, `functions/${app}/index.ts`)],
    cwd: directory,
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "", NO_COLOR: "1", ...env, ...await functionEnvironment(project) },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const log: string[] = [];
  const port = Promise.withResolvers<number>();
  const read = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
      log.push(chunk);
      const [, listening] = log.join("").match(/\0listening (\d+)\n/) ?? [];
      if (listening) port.resolve(Number(listening));
    }
  };
  const over = Promise.all([read(child.stdout), read(child.stderr), child.status]);
  over.then(() => port.reject(new Error(log.join(""))));
  const base = `http://127.0.0.1:${await port.promise}/${app}`;
  return {
    async post(body, headers, query = "") {
      const request = { method: "POST", headers: { "content-type": "application/json", ...headers } };
      const reply = await fetch(base + query, { ...request, body: JSON.stringify(body) });
      const text = await reply.text();
      assert.match(text, /^\{/, text + log.join(""));
      return { status: reply.status, body: JSON.parse(text) };
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.stdin.close().catch(() => {});
      await over;
    },
  };
}

async function functionEnvironment(project: Project): Promise<Record<string, string>> {
  const jwks = await fetch(`${project.url}/auth/v1/.well-known/jwks.json`);
  return {
    SUPABASE_URL: project.url,
    SUPABASE_ANON_KEY: project.anonKey,
    SUPABASE_SERVICE_ROLE_KEY: project.serviceRoleKey,
    SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: project.publishableKey }),
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: project.secretKey }),
    SUPABASE_JWKS: await jwks.text(),
    SB_REGION: "local",
    SB_EXECUTION_ID: crypto.randomUUID(),
    // Without lingering a run ends when its queues are empty.
    SYMPHONY_WORKER_LINGER: "0",
  };
}
