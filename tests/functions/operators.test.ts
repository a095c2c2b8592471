// Who may look and who may act: by the role in app_metadata, or a secret key, on every path, those that are not there too.
import assert from "node:assert/strict";
import { generateKeyPair, SignJWT } from "jose";
import { type Call, type Target, testLocally, useTarget } from "../target.ts";

const { target, project } = useTarget();
const ID = "0190a000-0000-7000-8000-000000000000";

type Caller = (target: Target) => Call | Promise<Call>;
const signed = (claims: Record<string, unknown>, options?: { expiresIn: number }): Caller => async () => ({
  as: { token: await project().signUser({ sub: crypto.randomUUID(), ...claims }, options) },
});
const OPERATOR = { app_metadata: { symphony_role: "operator" } };

const CALLERS: [who: string, caller: Caller, monitor: number, admin: number][] = [
  ["nobody", () => ({ as: "nobody" }), 401, 401],
  ["a publishable key", ({ publishableKey }) => ({ as: "nobody", headers: { apikey: publishableKey } }), 401, 401],
  ["a wrong secret key", () => ({ as: "nobody", headers: { apikey: "sb_secret_0123456789" } }), 401, 401],
  ["a garbled token", () => ({ as: { token: "a.b.c" } }), 401, 401],
  ["an expired operator", signed(OPERATOR, { expiresIn: -60 }), 401, 401],
  ["an operator signed by nobody", () => ({ as: { token: unsigned() } }), 401, 401],
  ["an operator signed by somebody else", async () => ({ as: { token: await foreign() } }), 401, 401],
  ["a user", signed({}), 403, 403],
  [
    "a user who calls himself operator",
    signed({ user_metadata: { symphony_role: "operator" }, symphony_role: "operator" }),
    403,
    403,
  ],
  ["a role that is none", signed({ app_metadata: { symphony_role: "admin" } }), 403, 403],
  ["a role that is no text", signed({ app_metadata: { symphony_role: ["operator"] } }), 403, 403],
  ["metadata that is no object", signed({ app_metadata: "operator" }), 403, 403],
  ["a viewer", signed({ app_metadata: { symphony_role: "viewer" } }), 200, 403],
  ["an operator", signed(OPERATOR), 200, 200],
  ["a secret key", () => ({}), 200, 200],
];

const MONITOR = [
  "status",
  "messages",
  "failed",
  "queues",
  "metrics",
  "metrics.prom",
  "audit",
  `messages/${ID}`,
  "nothing/here",
];
const ADMIN: [method: string, path: string][] = [
  ["POST", `messages/${ID}/cancel`],
  ["DELETE", `failed/${ID}`],
  ["POST", "queues/supabase/default/resume"],
  ["DELETE", "schedules/none"],
  ["POST", "nothing/here"],
];

for (const [who, caller, monitor, admin] of CALLERS) {
  testLocally(`operators · ${who}: ${monitor} at the monitor's paths, ${admin} at the admin's`, async () => {
    const statusOf = async (path: string, method: string) => {
      const { as, headers } = await caller(target());
      const reply = await fetch(`${target().url}/functions/v1/${path}`, {
        method,
        headers: {
          ...(as === undefined && { apikey: target().secretKey }),
          ...(typeof as === "object" && { authorization: `Bearer ${as.token}` }),
          ...headers,
        },
      });
      await reply.body?.cancel();
      // Whoever passes the guard may meet a thing that is not there.
      return reply.status === 404 ? 200 : reply.status;
    };
    for (const path of MONITOR) assert.equal(await statusOf(`monitor/${path}`, "GET"), monitor, path);
    for (const [method, path] of ADMIN) {
      assert.equal(await statusOf(`admin/${path}`, method), admin, `${method} ${path}`);
    }
  });
}

testLocally("operators · the description of the API needs no key", async () => {
  const reply = await fetch(`${target().url}/functions/v1/monitor/openapi.json`);
  assert.deepEqual([reply.status, (await reply.json()).openapi], [200, "3.1.0"]);
});

testLocally("operators · refused acts change nothing", async () => {
  const { sql } = project();
  const [{ id }] = await sql`select id from messenger_dispatch('Greeting', delay => '1 hour')`;
  for (const [, caller, , admin] of CALLERS) {
    if (admin === 200) continue;
    await target().call(`admin/messages/${id}/cancel`, { method: "POST", ...await caller(target()) });
    await target().call("admin/queues/supabase/default/pause", { method: "POST", ...await caller(target()) });
  }
  const [{ status }] = await sql`select status from messenger_messages where id = ${id}`;
  assert.deepEqual([status, (await sql`select from messenger.queues`).length], ["pending", 0]);
});

const CLAIMS = { sub: crypto.randomUUID(), role: "authenticated", aud: "authenticated", ...OPERATOR };

function unsigned(): string {
  const part = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "");
  return `${part({ alg: "none", typ: "JWT" })}.${part({ ...CLAIMS, exp: Math.floor(Date.now() / 1000) + 600 })}.`;
}

async function foreign(): Promise<string> {
  const { privateKey } = await generateKeyPair("ES256");
  return await new SignJWT(CLAIMS).setProtectedHeader({ alg: "ES256", typ: "JWT", kid: "theirs" }).setExpirationTime(
    "10m",
  ).sign(privateKey);
}
