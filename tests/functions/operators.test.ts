// Access to monitor and admin: every kind of caller at every path, also at paths that do not exist.
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { empty } from "../project.ts";
import { dispatch, messageOf } from "../supabase/bus.ts";
import { assertRejected, type Call, type Reply, testLocally, useTarget } from "../target.ts";

const { target, project } = useTarget();
const ID = "0190a000-0000-7000-8000-000000000000";
const sub = crypto.randomUUID();

const MONITOR = [
  "status",
  "queues",
  "messages?limit=1",
  "failed",
  "schedules",
  "transports",
  "workers",
  "audit",
  "metrics",
];
const ADMIN: [method: string, path: string, json: unknown, status: number, code?: string][] = [
  ["POST", `failed/${ID}/retry`, undefined, 404, "SM_NOT_FOUND"],
  ["POST", "failed/retry", { filter: {} }, 200],
  ["DELETE", `failed/${ID}`, undefined, 404, "SM_NOT_FOUND"],
  ["POST", "failed/discard", { filter: {} }, 200],
  ["POST", `messages/${ID}/cancel`, undefined, 404, "SM_NOT_FOUND"],
  ["PUT", "schedules/nightly", { type: "Digest", cron: "@daily" }, 200],
  ["POST", "schedules/nightly/pause", undefined, 200],
  ["POST", "schedules/nightly/resume", undefined, 200],
  ["DELETE", "schedules/nightly", undefined, 200],
  ["POST", "queues/supabase/default/pause", undefined, 200],
  ["POST", "queues/supabase/default/resume", undefined, 200],
  ["PUT", "transports/mail", { enabled: false }, 200],
  ["PUT", "flags/emails", { percent: 10 }, 200],
];
const UNKNOWN = ["monitor", "monitor/none", "monitor/status/none", "admin", "admin/none", `admin/failed/${ID}/none`];

const user = (claims: Record<string, unknown>, options?: { expiresIn: number }) =>
  project().signUser({ sub, ...claims }, options);
const part = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "");
const bearer = async (token: Promise<string>): Promise<Call> => ({ as: { token: await token } });
const OPERATOR = { app_metadata: { symphony_role: "operator" } };
const CLAIMS = { sub, role: "authenticated", exp: 4_000_000_000, ...OPERATOR };

const NOBODIES: Record<string, () => Call | Promise<Call>> = {
  "nobody": () => ({ as: "nobody" }),
  "an empty bearer": () => ({ as: "nobody", headers: { authorization: "Bearer " } }),
  "a garbled token": () => ({ as: { token: "a.b.c" } }),
  "the publishable key": () => ({ as: "nobody", headers: { apikey: target().publishableKey } }),
  "the publishable key as bearer": () => ({ as: { token: target().publishableKey } }),
  "a wrong secret key": () => ({ as: "nobody", headers: { apikey: "sb_secret_0123456789" } }),
  "an expired operator": () => bearer(user(OPERATOR, { expiresIn: -60 })),
  "an operator without signature": () => ({ as: { token: `${part({ alg: "none", typ: "JWT" })}.${part(CLAIMS)}.` } }),
  "an operator of another project": () =>
    bearer(
      new SignJWT(CLAIMS).setProtectedHeader({ alg: "HS256", kid: "a" })
        .sign(new TextEncoder().encode("a secret of thirty-two characters")),
    ),
  "an operator's token with other claims": async () => {
    const [head, , signature] = (await user({})).split(".");
    return { as: { token: `${head}.${part(CLAIMS)}.${signature}` } };
  },
  "an operator beside a good key, expired": async () => ({
    headers: { authorization: `Bearer ${await user(OPERATOR, { expiresIn: -60 })}` },
  }),
  "an anonymous token with the role operator": () => bearer(user({ role: "anon", ...OPERATOR })),
};
const USERS: Record<string, Record<string, unknown>> = {
  "a user without claim": {},
  "a user with the role operator in user_metadata": { user_metadata: { symphony_role: "operator" } },
  "a user with the role operator in another claim": { symphony_role: "operator", role_metadata: OPERATOR },
  "a user of an unknown role": { app_metadata: { symphony_role: "admin" } },
  "a user of no role": { app_metadata: { symphony_role: null } },
  "a user of two roles": { app_metadata: { symphony_role: ["operator"] } },
  "a user of a role in capitals": { app_metadata: { symphony_role: "OPERATOR" } },
  "a user whose metadata is a text": { app_metadata: "operator" },
};

Deno.test.beforeEach(() => empty(project().sql));

const getMonitor = (path: string, as: Call) => target().call(`monitor/${path}`, as);
const callAdmin = ([method, path, json]: typeof ADMIN[number], as: Call) =>
  target().call(`admin/${path}`, { method, json, ...as });

/** Makes every call; each must be rejected, and nothing may change. */
async function assertRejectedEverywhere(as: Call, status: number, code: string) {
  const { sql } = project();
  await dispatch(sql);
  for (const path of MONITOR) assertRejected(await getMonitor(path, as), status, code);
  assertRejected(await getMonitor("metrics.prom", as), status, code);
  assertRejected(await getMonitor(`messages/${ID}/explain`, as), status, code);
  for (const each of ADMIN) assertRejected(await callAdmin(each, as), status, code);
  // A caller without access must not find out which paths exist.
  for (const path of UNKNOWN) assertRejected(await target().call(path, as), status, code);
  const [left] = await sql`
    select (select count(*) from messenger_schedules)::int as schedules,
      (select count(*) from messenger.queues)::int as queues, (select count(*) from messenger.flags)::int as flags,
      (select count(*) from messenger_transports)::int as transports`;
  assert.deepEqual({ ...left }, { schedules: 0, queues: 0, flags: 0, transports: 2 });
}

for (const [who, as] of Object.entries(NOBODIES)) {
  testLocally(`operators · both edge functions are closed to ${who}`, async () => {
    await assertRejectedEverywhere(await as(), 401, "SM_UNAUTHENTICATED");
  });
}

for (const [who, claims] of Object.entries(USERS)) {
  testLocally(`operators · both edge functions are closed to ${who}`, async () => {
    await assertRejectedEverywhere(await bearer(user(claims)), 403, "SM_FIELD_FORBIDDEN");
  });
}

const VIEWERS: Record<string, () => Call | Promise<Call>> = {
  "a viewer": () => bearer(user({ app_metadata: { symphony_role: "viewer" } })),
  "an operator": () => bearer(user(OPERATOR)),
  "the secret key": () => ({}),
  "the secret key as bearer": () => ({ as: "nobody", headers: { authorization: `Bearer ${target().secretKey}` } }),
};

/** The call reached its handler: status and error come from the database. */
function assertReplied(reply: Reply, status: number, code: string | undefined, what: string) {
  if (code) assertRejected(reply, status, code);
  else assert.equal(reply.status, status, `${what}: ${JSON.stringify(reply.body)}`);
}

for (const [who, as] of Object.entries(VIEWERS)) {
  testLocally(`operators · ${who} may make all calls of monitor`, async () => {
    const call = await as();
    for (const path of MONITOR) assertReplied(await getMonitor(path, call), 200, undefined, path);
    assertReplied(await getMonitor("health", call), 503, undefined, "health: nothing ticks in this project");
    for (const path of UNKNOWN.filter((path) => path.startsWith("monitor"))) {
      assertRejected(await target().call(path, call), 404, "SM_NOT_FOUND");
    }
  });
}

for (const [who, as] of Object.entries(VIEWERS).filter(([who]) => who !== "a viewer")) {
  testLocally(`operators · ${who} may make all calls of admin`, async () => {
    const call = await as();
    for (const each of ADMIN) assertReplied(await callAdmin(each, call), each[3], each[4], each[1]);
    for (const path of UNKNOWN.filter((path) => path.startsWith("admin"))) {
      assertRejected(await target().call(path, call), 404, "SM_NOT_FOUND");
    }
  });
}

testLocally("operators · a viewer may make no call of admin, and the error names the role that may", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  const call = await bearer(user({ app_metadata: { symphony_role: "viewer" } }));
  for (const each of ADMIN) assertRejected(await callAdmin(each, call), 403, "SM_FIELD_FORBIDDEN");
  for (const path of ["admin", "admin/none"]) {
    assertRejected(await target().call(path, call), 403, "SM_FIELD_FORBIDDEN");
  }
  const reply = await target().call(`admin/messages/${id}/cancel`, { method: "POST", ...call });
  assert.match(assertRejected(reply, 403, "SM_FIELD_FORBIDDEN"), /symphony_role operator/);
  assert.equal((await messageOf(sql, id)).status, "pending");
});

testLocally("operators · a caller is rejected before its query and body are read", async () => {
  const call: Call = { method: "POST", raw: "{", headers: { "content-type": "application/json" } };
  assertRejected(await target().call("admin/failed/retry", { ...call, as: "nobody" }), 401, "SM_UNAUTHENTICATED");
  assertRejected(await target().call("monitor/messages?limit=ten", { as: "nobody" }), 401, "SM_UNAUTHENTICATED");
});

testLocally("operators · the OpenAPI document needs no token, and a wrong one does no harm", async () => {
  for (const as of [{ as: "nobody" as const }, { as: { token: "a.b.c" } }, {}]) {
    const reply = await getMonitor("openapi.json", as);
    assert.deepEqual([reply.status, reply.body.openapi], [200, "3.1.0"]);
  }
});
