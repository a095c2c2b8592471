// Browsers of other origins: requests of common libraries pass the preflight, and pages can read the replies.
import assert from "node:assert/strict";
import { createClient, FunctionRegion } from "@supabase/supabase-js";
import { test } from "../project.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";

const { target, project } = useTarget();
const ORIGIN = "https://app.example.com";
// Headers that a page may send without a preflight.
const SAFELISTED = new Set(["accept", "accept-language", "content-language"]);

/** The preflight of a browser before a call that is not simple: true if the browser would send the call. */
async function passesPreflight(path: string, method: string, names: string[]): Promise<boolean> {
  const { status, headers } = await target().call(path, {
    method: "OPTIONS",
    as: "nobody",
    headers: {
      origin: ORIGIN,
      "access-control-request-method": method,
      ...(names.length > 0 && { "access-control-request-headers": names.join(",") }),
    },
  });
  const listed = (name: string) => (headers.get(name) ?? "").toLowerCase().split(",").map((part) => part.trim());
  return status === 204 && headers.get("access-control-allow-origin") === "*" &&
    headers.get("access-control-allow-credentials") === null &&
    listed("access-control-allow-methods").includes(method.toLowerCase()) &&
    names.every((name) => listed("access-control-allow-headers").includes(name));
}

const LIBRARIES: Record<string, string[]> = {
  "supabase-js": ["apikey", "authorization", "content-type", "x-client-info", "x-region", "x-retry-count"],
  "supabase-js with tracing": ["traceparent", "tracestate", "baggage"],
  "PostgREST clients": ["prefer", "accept-profile", "content-profile", "x-supabase-api-version"],
  "callers of this API": ["idempotency-key", "x-request-id", "content-encoding"],
  "OpenTelemetry's propagators": [
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "uber-trace-id",
    "x-cloud-trace-context",
  ],
  "Sentry": ["sentry-trace", "baggage"],
  "Datadog": ["x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-origin", "x-datadog-sampling-priority"],
  "New Relic": ["newrelic", "traceparent", "tracestate", "x-newrelic-id"],
  "a library of next year": ["x-not-invented-yet"],
};
for (const [library, names] of Object.entries(LIBRARIES)) {
  test(`browsers · the headers of ${library} pass the preflight of every edge function for pages`, async () => {
    for (const path of ["dispatch", "dispatch/batch", "monitor/status", "admin/failed/retry"]) {
      assert.ok(await passesPreflight(path, "POST", names), path);
      for (const name of names) assert.ok(await passesPreflight(path, "POST", [name]), `${path}: ${name}`);
    }
  });
}

test("browsers · every method passes the preflight, so that a page can read the 405 of a wrong one", async () => {
  for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
    assert.ok(await passesPreflight("admin/flags/emails", method, ["authorization"]), method);
  }
  const reply = await target().call("dispatch", { method: "PATCH", json: {}, headers: { origin: ORIGIN } });
  assertRejected(reply, 405, "SM_METHOD");
  const exposed = (reply.headers.get("access-control-expose-headers") ?? "").split(",");
  for (const name of ["allow", "retry-after", "x-request-id"]) assert.ok(exposed.includes(name), name);
});

test("browsers · a page can read an error, also one without a path or a caller", async () => {
  for (const path of ["dispatch", "dispatch/no/such/path", "monitor/status", "admin/flags/emails"]) {
    const { status, headers } = await target().call(path, { json: {}, as: "nobody", headers: { origin: ORIGIN } });
    assert.ok(status >= 400, path);
    assert.equal(headers.get("access-control-allow-origin"), "*", path);
  }
});

test("browsers · the other edge functions have no CORS headers", async () => {
  for (const path of ["worker", "scheduler"]) {
    const { headers } = await target().call(path, { method: "OPTIONS", as: "nobody", headers: { origin: ORIGIN } });
    assert.equal(headers.get("access-control-allow-origin"), null, path);
  }
});

test("browsers · requests of functions.invoke pass the preflight, with a region and a trace", async () => {
  const user = await target().newUser();
  const sent: Request[] = [];
  const supabase = createClient(target().url, target().publishableKey, {
    accessToken: () => Promise.resolve(user.token),
    global: {
      headers: { traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01`, tracestate: "vendor=1", baggage: "user=1" },
      fetch: (input, init) => {
        const request = new Request(input, init);
        sent.push(request.clone());
        return fetch(request);
      },
    },
  });
  const { data, error } = await supabase.functions.invoke("dispatch", {
    body: { message: { type: "ExampleUser", payload: { note: "from a page" } } },
    headers: { "Idempotency-Key": crypto.randomUUID() },
    region: FunctionRegion.EuCentral1,
  });
  assert.equal(error, null);
  assert.equal(data.success, true);
  const [request] = sent;
  const names = [...request.headers.keys()].filter((name) => !SAFELISTED.has(name));
  assert.ok(names.includes("x-region") && names.includes("tracestate"), names.join());
  assert.ok(await passesPreflight("dispatch", request.method, names), names.join());
});

test("browsers · a list accepts the region that functions.invoke adds to the query", async () => {
  const supabase = target().api();
  const region = FunctionRegion.EuCentral1;
  const { data, error } = await supabase.functions.invoke("monitor/messages?limit=1", { method: "GET", region });
  assert.equal(error, null, JSON.stringify(await error?.context.json?.()));
  assert.equal(data.pagination.limit, 1);
  const posted = await supabase.functions.invoke("admin/failed/retry", { body: { ids: [] }, region });
  assert.equal(posted.error, null);
  assert.equal(posted.data.retried, 0);
  assertRejected(await target().call("monitor/messages?forceRegion=eu-central-1"), 400, "SM_UNKNOWN_FIELD");
});

testLocally("browsers · tracestate is stored together with its traceparent, baggage never", async () => {
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const headersOf = async (headers: Record<string, string>, named?: Record<string, string>, as?: { token: string }) => {
    const type = as ? "ExampleUser" : "TestTraced";
    const json = { message: { type, payload: { note: "a" } }, ...(named && { options: { headers: named } }) };
    const { body } = await target().call("dispatch", { json, headers, as });
    const [row] = await project().sql`
      select headers - 'x-symphony-user' as headers from messenger_messages where id = ${String(body.messageId)}`;
    return row.headers;
  };
  const tracestate = "dd=s:1;o:rum, congo=t61rcWkgMzE";
  assert.deepEqual(await headersOf({ traceparent, tracestate, baggage: "email=ada@example.com" }), {
    traceparent,
    tracestate,
  });
  assert.deepEqual(await headersOf({ tracestate }), {}, "it has no meaning without a traceparent");
  assert.deepEqual(await headersOf({ traceparent: `${traceparent}0`, tracestate }), {}, "nor with a malformed one");
  assert.deepEqual(await headersOf({ traceparent, tracestate: "no list" }), { traceparent });
  assert.deepEqual(await headersOf({ traceparent, tracestate: `a=${"b".repeat(511)}` }), { traceparent });
  const own = { traceparent: "00-11111111111111111111111111111111-2222222222222222-01" };
  assert.deepEqual(await headersOf({ traceparent, tracestate }, own), own, "it belongs to the caller's trace only");
  const user = await target().newUser();
  assert.deepEqual(await headersOf({ traceparent, tracestate }, undefined, user), { traceparent });
});
