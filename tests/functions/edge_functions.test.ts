// Requests that all edge functions reject in the same way: methods, paths and tokens.
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { test } from "../project.ts";
import { assertRejected, type Call, testLocally, useTarget } from "../target.ts";
import { useApiProxy } from "./api_proxy.ts";

const { target, project } = useTarget();
const MESSAGE = { message: { type: "TestNote", payload: {} } };

const METHODS: [path: string, method: string, allowed: string][] = [
  ["dispatch", "PUT", "POST"],
  ["dispatch", "GET", "POST"],
  ["dispatch", "DELETE", "POST"],
  ["dispatch/batch", "PATCH", "POST"],
  ["dispatch/0190a000-0000-7000-8000-000000000000", "POST", "GET"],
  ["worker", "GET", "POST"],
  ["worker", "DELETE", "POST"],
  ["scheduler", "GET", "POST"],
  ["monitor/status", "POST", "GET"],
  ["monitor/messages", "DELETE", "GET"],
  ["monitor/messages/0190a000-0000-7000-8000-000000000000/explain", "PUT", "GET"],
  ["monitor/openapi.json", "POST", "GET"],
  ["admin/failed/retry", "GET", "POST"],
  ["admin/failed/0190a000-0000-7000-8000-000000000000", "GET", "DELETE"],
  ["admin/messages/0190a000-0000-7000-8000-000000000000/cancel", "DELETE", "POST"],
  ["admin/schedules/nightly", "POST", "PUT"],
  ["admin/schedules/nightly", "PATCH", "DELETE"],
  ["admin/queues/supabase/default/pause", "GET", "POST"],
  ["admin/transports/mail", "DELETE", "PUT"],
  ["admin/flags/emails", "GET", "PUT"],
];
for (const [path, method, allowed] of METHODS) {
  test(`edge functions · ${method} /${path} is rejected, and the reply lists the allowed methods`, async () => {
    const reply = await target().call(path, { method });
    assertRejected(reply, 405, "SM_METHOD");
    const allow = reply.headers.get("allow")?.split(", ") ?? [];
    assert.ok(allow.includes(allowed) && !allow.includes(method), `Allow: ${allow}`);
  });
}

for (const path of ["dispatch/a/b", "dispatch/batch/x", "worker/run", "scheduler/../x", "worker/..%2f..%2fetc"]) {
  test(`edge functions · /${path} does not exist`, async () => {
    const reply = await target().call(path, { json: {} });
    // fetch resolves "..", which leads to a function that does not exist.
    if (path.includes("/../")) assert.equal(reply.status, 404);
    else assertRejected(reply, 404, "SM_NOT_FOUND");
  });
}

const IDS = ["5", "batch", "not-a-uuid", "..%2f..%2fetc%2fpasswd", "'%20or%201=1", "%00"];
for (const id of [...IDS, "0190a000-0000-7000-8000-0000", crypto.randomUUID(), "x".repeat(5_000)]) {
  test(`dispatch edge function · there is no message with the id ${id.slice(0, 40)}`, async () => {
    assertRejected(await target().call(`dispatch/${id}`), 404, "SM_NOT_FOUND");
  });
}

const SECRETS: [what: string, call: Call][] = [
  ["nothing", { as: "nobody" }],
  ["an empty bearer", { as: "nobody", headers: { authorization: "Bearer " } }],
  ["a garbled token", { as: { token: "garbled" } }],
  ["three garbled parts", { as: { token: "a.b.c" } }],
  ["a wrong secret key", { as: "nobody", headers: { apikey: "sb_secret_0123456789" } }],
  ["a wrong secret key as bearer", { as: { token: "sb_secret_0123456789" } }],
  ["basic authorisation", { as: "nobody", headers: { authorization: "Basic YTpi" } }],
  ["a good key beside a bad token", { headers: { authorization: "Bearer a.b.c" } }],
];
for (const path of ["dispatch", "dispatch/batch", "worker", "scheduler"]) {
  for (const [what, call] of SECRETS) {
    test(`edge functions · /${path} rejects ${what}`, async () => {
      const before = await target().countMessages();
      const json = path === "dispatch" ? MESSAGE : path === "dispatch/batch" ? { messages: [MESSAGE] } : {};
      assertRejected(await target().call(path, { json, ...call }), 401, "SM_UNAUTHENTICATED");
      assert.equal(await target().countMessages(), before);
    });
  }
}

test("edge functions · the publishable key alone gives no access", async () => {
  const headers = { apikey: target().publishableKey, authorization: `Bearer ${target().publishableKey}` };
  for (const path of ["dispatch", "dispatch/batch", "worker", "scheduler"]) {
    assertRejected(await target().call(path, { json: MESSAGE, as: "nobody", headers }), 401, "SM_UNAUTHENTICATED");
  }
  const reply = await target().call(`dispatch/${crypto.randomUUID()}`, { as: "nobody", headers });
  assertRejected(reply, 401, "SM_UNAUTHENTICATED");
});

test("edge functions · a user may call neither worker nor scheduler", async () => {
  const as = await target().newUser();
  assertRejected(await target().call("worker", { json: {}, as }), 403, "SM_FIELD_FORBIDDEN");
  assertRejected(await target().call("scheduler", { json: {}, as }), 403, "SM_FIELD_FORBIDDEN");
});

test("edge functions · a token without a signature is rejected, whatever it claims", async () => {
  const part = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "");
  for (const role of ["authenticated", "service_role"]) {
    const claims = part({ sub: crypto.randomUUID(), role, exp: Math.floor(Date.now() / 1_000) + 3_600 });
    for (const alg of ["none", "None", "HS256"]) {
      for (const path of ["dispatch", "worker", "scheduler"]) {
        const token = `${part({ alg, typ: "JWT" })}.${claims}.`;
        assertRejected(await target().call(path, { json: MESSAGE, as: { token } }), 401, "SM_UNAUTHENTICATED");
      }
    }
  }
});

testLocally("edge functions · expired and altered tokens, and tokens of other projects, are rejected", async () => {
  const sub = crypto.randomUUID();
  const good = await project().signUser({ sub });
  const [head, , signature] = good.split(".");
  const claims = btoa(JSON.stringify({ sub, role: "service_role", exp: 4_000_000_000 })).replaceAll("=", "");
  const foreign = await new SignJWT({ sub, role: "authenticated" }).setProtectedHeader({ alg: "HS256", kid: "a" })
    .setExpirationTime("1h").sign(new TextEncoder().encode("a secret of thirty-two characters"));
  const tokens = {
    expired: await project().signUser({ sub }, { expiresIn: -60 }),
    altered: `${head}.${claims}.${signature}`,
    foreign,
    anonymous: await project().signUser({ sub, role: "anon" }),
    invented: await project().signUser({ sub, role: "postgres" }),
    anonKey: project().anonKey,
  };
  for (const [what, token] of Object.entries(tokens)) {
    for (const path of ["dispatch", "worker"]) {
      const reply = await target().call(path, { json: MESSAGE, as: { token } });
      assert.equal(reply.status, 401, `${what} on ${path}: ${JSON.stringify(reply.body)}`);
      assertRejected(reply, 401, "SM_UNAUTHENTICATED");
    }
  }
});

testLocally(
  "edge functions · a token without an expiry is rejected everywhere, a user's and a service's",
  async () => {
    const sub = crypto.randomUUID();
    const operator = { app_metadata: { symphony_role: "operator" } };
    const paths = ["dispatch", "dispatch/batch", "worker", "scheduler", "monitor/status", "admin/failed/retry"];
    for (const role of ["authenticated", "service_role"]) {
      const token = await project().signUser({ sub, role, ...operator, exp: undefined });
      for (const path of paths) {
        const json = path.startsWith("monitor") ? undefined : MESSAGE;
        const reply = await target().call(path, { json, as: { token } });
        assert.match(assertRejected(reply, 401, "SM_UNAUTHENTICATED"), /has no exp claim, so it would never expire/);
      }
      assertRejected(await target().call(`dispatch/${sub}`, { as: { token } }), 401, "SM_UNAUTHENTICATED");
    }
  },
);

testLocally("edge functions · a subject that is no UUID is an identity: its operator role counts", async () => {
  const claims = { sub: "user_2abcDEF", app_metadata: { symphony_role: "operator" } };
  const token = await project().signUser(claims);
  assert.equal((await target().call("monitor/status", { as: { token } })).status, 200);
  const paused = await target().call("admin/queues/supabase/elsewhere/pause", { method: "POST", as: { token } });
  assert.equal(paused.status, 200, JSON.stringify(paused.body));
});

const api = useApiProxy(() => watched.project());
const watched = useTarget({ env: { SUPABASE_URL: api.url } });

testLocally(
  "edge functions · a caller without rights causes no database call, except one read of the digests per second",
  async () => {
    const { target, project } = watched;
    const user = await target().newUser();
    const calls: [method: string, path: string][] = [
      ["POST", "dispatch"],
      ["POST", "dispatch/batch"],
      ["GET", `dispatch/${user.id}`],
      ["POST", "worker"],
      ["POST", "scheduler"],
      ["GET", "monitor/status"],
      ["GET", `monitor/messages/${user.id}/explain`],
      ["GET", "monitor/metrics.prom"],
      ["POST", "admin/failed/retry"],
      ["POST", `admin/messages/${user.id}/cancel`],
    ];
    const nobodies: Call[] = [
      { as: "nobody" },
      { as: { token: "a.b.c" } },
      { as: { token: "sb_secret_0123456789" } },
      { as: { token: await project().signUser({ sub: user.id }, { expiresIn: -60 }) } },
      { as: "nobody", headers: { apikey: target().publishableKey } },
    ];
    for (const [method, path] of calls) {
      for (const as of nobodies) {
        const json = method === "GET" ? undefined : MESSAGE;
        assertRejected(await target().call(path, { method, json, ...as }), 401, "SM_UNAUTHENTICATED");
      }
      if (path.startsWith("dispatch") && path !== "dispatch/batch") continue;
      const reply = await target().call(path, { method, json: method === "GET" ? undefined : MESSAGE, as: user });
      assertRejected(reply, 403, "SM_FIELD_FORBIDDEN");
    }
    // Each isolate registers its types when it starts, whichever caller has started it.
    const callsOfRequests = () => api.calls.filter((called) => called !== "rpc/messenger_register");
    assert.deepEqual(callsOfRequests(), []);
    assertRejected(
      await target().call("worker", { json: {}, as: { token: "a-wrong-secret" } }),
      401,
      "SM_UNAUTHENTICATED",
    );
    assert.deepEqual(callsOfRequests(), ["rpc/messenger_worker_secret_digests"]);
  },
);

const settled = useTarget({ env: { SYMPHONY_JWT_ISSUER: "https://clerk.example", SYMPHONY_JWT_AUDIENCE: "orders" } });

testLocally(
  "edge functions · SYMPHONY_JWT_ISSUER and SYMPHONY_JWT_AUDIENCE apply to tokens, not to keys",
  async () => {
    const { target, project } = settled;
    const statusOf = async (claims: { iss?: string; aud?: string | string[] }) => {
      const token = await project().signUser({ sub: crypto.randomUUID(), ...claims });
      const json = { message: { type: "ExampleUser", payload: { note: "Hello" } } };
      return (await target().call("dispatch", { json, as: { token } })).status;
    };
    const iss = "https://clerk.example";
    assert.deepEqual([await statusOf({ iss, aud: "orders" }), await statusOf({ iss, aud: ["web", "orders"] })], [
      201,
      201,
    ]);
    assert.deepEqual(
      [await statusOf({ iss }), await statusOf({ iss, aud: ["web"] }), await statusOf({ aud: "orders" })],
      [401, 401, 401],
    );
    for (const key of [project().secretKey, project().serviceRoleKey]) {
      const reply = await target().call("dispatch", { json: MESSAGE, as: "nobody", headers: { apikey: key } });
      assert.equal(reply.status, 201);
    }
  },
);

testLocally("edge functions · the legacy service_role key is a service, as apikey and as bearer token", async () => {
  const { serviceRoleKey: key } = project();
  const ways: Record<string, string>[] = [{ apikey: key }, { authorization: `Bearer ${key}` }];
  for (const headers of ways) {
    const { status } = await target().call("dispatch", { json: MESSAGE, as: "nobody", headers });
    assert.equal(status, 201);
  }
});

/** Writes HTTP directly, for requests that fetch does not send. */
async function sendRaw(requestLine: string, headers: string[], body = ""): Promise<string> {
  const { hostname, port } = new URL(target().url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const lines = [requestLine, `Host: ${hostname}:${port}`, `apikey: ${target().secretKey}`, ...headers];
  const bytes = new TextEncoder().encode(`${lines.join("\r\n")}\r\nConnection: close\r\n\r\n${body}`);
  for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
  return await new Response(connection.readable).text();
}

testLocally("edge functions · a request with two lengths is rejected before it is read", async () => {
  const before = await target().countMessages();
  const body = JSON.stringify(MESSAGE);
  const headers = ["Content-Type: application/json", `Content-Length: ${body.length}`, "Content-Length: 5"];
  const reply = await sendRaw("POST /functions/v1/dispatch HTTP/1.1", headers, body);
  assert.match(reply, /^HTTP\/1\.1 400/);
  assert.equal(await target().countMessages(), before);
});

// Longer query strings never reach an edge function: servers in front of it close the connection at 64 KB.
test("edge functions · a query string of 60 KB changes nothing", async () => {
  const reply = await target().call(`dispatch/${crypto.randomUUID()}?q=${"x".repeat(60_000)}`);
  assertRejected(reply, 404, "SM_NOT_FOUND");
});

test("edge functions · an error reveals no internal details", async () => {
  const replies = [
    await target().call("dispatch", { json: { message: { type: "'; select 1", payload: {} } } }),
    await target().call("dispatch", { raw: "{", headers: { "content-type": "application/json" } }),
    await target().call("worker", { json: {}, as: { token: "wrong-wrong-wrong-wrong" } }),
  ];
  for (const { body } of replies) {
    assert.doesNotMatch(JSON.stringify(body), /\.ts|\bat \w+ \(|stack|PT\d{3}|sb_secret|wrong-w/);
  }
});

test("edge functions · an empty body in any form never causes a 500", async () => {
  const id = crypto.randomUUID();
  const paths = ["dispatch", "dispatch/batch", "worker", "scheduler", "admin/failed/retry", "admin/failed/discard"]
    .concat(`admin/failed/${id}/retry`, `admin/messages/${id}/cancel`, "admin/queues/supabase/default/resume")
    .concat("admin/schedules/nightly/pause", "admin/schedules/nightly/resume");
  const empty = () => new Blob([]).stream();
  for (const path of paths) {
    for (const raw of [undefined, "", " ", "{}", "null", "[]", empty]) {
      for (const coding of [undefined, "identity", "gzip"]) {
        const headers = { "content-type": "application/json", ...(coding && { "content-encoding": coding }) };
        const call: Call = { method: "POST", raw: typeof raw === "function" ? raw() : raw, headers };
        const { status, body } = await target().call(path, call);
        assert.ok(status < 500, `${path} ${String(raw)} ${coding}: ${status} ${JSON.stringify(body)}`);
      }
    }
  }
});
