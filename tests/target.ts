// The target of HTTP tests: a local project, or the hosted project named by SUPABASE_URL and its keys.
import assert from "node:assert/strict";
import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import type { Project } from "../supabase/local/project.ts";
import { test, type TestProjectOptions, useProject } from "./project.ts";

const [url, secretKey, publishableKey] = ["SUPABASE_URL", "SUPABASE_SECRET_KEY", "SUPABASE_PUBLISHABLE_KEY"]
  .map((name) => Deno.env.get(name));
const hosted = url && secretKey && publishableKey ? { url, secretKey, publishableKey } : undefined;

export interface Reply {
  status: number;
  headers: Headers;
  /** The JSON object of the reply; empty if there was none. */
  body: Record<string, unknown>;
}

export interface Call {
  method?: string;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent unchanged. */
  raw?: BodyInit;
  headers?: Record<string, string>;
  /** Default: the call carries the secret key. */
  as?: "nobody" | { token: string };
}

export interface User {
  id: string;
  token: string;
}

export interface Target {
  readonly url: string;
  readonly secretKey: string;
  readonly publishableKey: string;
  /** Calls an edge function such as `dispatch/batch`. The method is POST if there is a body. */
  call(path: string, call?: Call): Promise<Reply>;
  newUser(): Promise<User>;
  /** The data API as service_role, or as a user. */
  api(user?: User): SupabaseClient;
  countMessages(): Promise<number>;
}

/** The file's target, and its project for tests that need SQL (see `testLocally`). */
export function useTarget(options: TestProjectOptions = {}): { target: () => Target; project: () => Project } {
  if (hosted) {
    const target = openTarget(hosted, () => signUp(hosted));
    return {
      target: () => target,
      project: () => assert.fail("SQL is not available for a hosted project: use testLocally"),
    };
  }
  const project = useProject({ functions: true, ...options });
  const newUser = async () => {
    const id = crypto.randomUUID();
    return { id, token: await project().signUser({ sub: id }) };
  };
  return { target: () => openTarget(project(), newUser), project };
}

/** A test that needs SQL or the machine; skipped with a hosted project. */
export function testLocally(name: string, fn: (t: Deno.TestContext) => Promise<void>): void {
  if (hosted) Deno.test.ignore(name, fn);
  else test(name, fn);
}

function openTarget(keys: { url: string; secretKey: string; publishableKey: string }, newUser: () => Promise<User>) {
  const { url, secretKey, publishableKey } = keys;
  const target: Target = {
    url,
    secretKey,
    publishableKey,
    newUser,
    async call(path, { method, json, raw, headers, as } = {}) {
      const body = raw ?? (json === undefined ? undefined : JSON.stringify(json));
      const response = await fetch(`${url}/functions/v1/${path}`, {
        method: method ?? (body === undefined ? "GET" : "POST"),
        body,
        headers: {
          ...(json !== undefined && { "content-type": "application/json" }),
          ...(as === undefined && { apikey: secretKey }),
          ...(typeof as === "object" && { apikey: publishableKey, authorization: `Bearer ${as.token}` }),
          ...headers,
        },
      });
      const text = await response.text();
      return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : {} };
    },
    api: (user) =>
      createClient(url, user ? publishableKey : secretKey, {
        accessToken: () => Promise.resolve(user?.token ?? secretKey),
      }),
    async countMessages() {
      const { count, error } = await target.api().from("messenger_messages").select("id", { count: "exact" }).limit(1);
      assert.equal(error, null);
      return count ?? assert.fail("no count");
    },
  };
  return target;
}

async function signUp({ url, secretKey, publishableKey }: { url: string; secretKey: string; publishableKey: string }) {
  const auth = { persistSession: false, autoRefreshToken: false };
  const account = { email: `${crypto.randomUUID()}@example.com`, password: crypto.randomUUID() };
  const { data, error } = await createClient(url, secretKey, { auth }).auth.admin
    .createUser({ ...account, email_confirm: true });
  if (error) throw error;
  const session = await createClient(url, publishableKey, { auth }).auth.signInWithPassword(account);
  if (session.error) throw session.error;
  return { id: data.user.id, token: session.data.session.access_token };
}

/** Checks that a reply is an error of the documented shape, and returns its message. */
export function assertRejected({ status, headers, body }: Reply, expected: number, code: string): string {
  const error = body.error as Record<string, unknown> | undefined;
  assert.deepEqual([status, error?.code], [expected, code], JSON.stringify(body));
  assert.deepEqual(Object.keys(body), ["error"]);
  assert.deepEqual(Object.keys(error ?? {}).sort(), ["code", "hint", "message", "request_id"]);
  assert.ok(error && typeof error.message === "string" && error.message, "a message");
  assert.ok(typeof error.hint === "string" && error.hint, "a hint");
  assert.ok(error.request_id && error.request_id === headers.get("x-request-id"), "the request id");
  return error.message;
}
