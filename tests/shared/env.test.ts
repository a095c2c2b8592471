// The environment: settings that guard callers, and traces in OpenTelemetry's own variables.
import assert from "node:assert/strict";
import { readEnv, type TraceSettings } from "../../shared/env.ts";

const envOf = (source: Record<string, string | undefined>) =>
  readEnv({ SUPABASE_URL: "https://project.supabase.co", ...source });

Deno.test("environment · issuer and audience of access tokens are what is set, and unset they are not checked", () => {
  assert.deepEqual(envOf({}).jwt, { issuer: undefined, audience: undefined });
  const set = { SYMPHONY_JWT_ISSUER: "https://clerk.example", SYMPHONY_JWT_AUDIENCE: "authenticated" };
  assert.deepEqual(envOf(set).jwt, { issuer: "https://clerk.example", audience: "authenticated" });
});

Deno.test("environment · an issuer or audience that is empty, blank or has spaces is rejected by name, never left out", () => {
  const wrong: [name: string, values: string[], sentence: RegExp][] = [
    [
      "SYMPHONY_JWT_ISSUER",
      ["", " ", "\t\n", " https://hunter2.example", "https://hunter2.example\n", "hunter2 b"],
      /issuer/,
    ],
    ["SYMPHONY_JWT_AUDIENCE", ["", " ", "hunter2 ", "hunter2,b", "hunter2 b"], /one audience/],
  ];
  for (const [name, values, sentence] of wrong) {
    for (const value of values) {
      assert.throws(() => envOf({ [name]: value }), (error: Error) => {
        assert.ok(error.message.startsWith(`${name} must be `) && sentence.test(error.message), error.message);
        assert.ok(!error.message.includes("hunter2"), error.message);
        return true;
      }, JSON.stringify(value));
    }
  }
});

Deno.test("environment · a worker secret that could never be accepted, an API key or a JWT, is rejected", () => {
  assert.equal(envOf({ SYMPHONY_WORKER_SECRET: "a-secret.of.its.own" }).worker.secret, "a-secret.of.its.own");
  for (const value of ["too-short", "with a space in it", "sb_secret_0123456789", "eyJhbGciOi.eyJzdWIiOiI.c2lnbmF0"]) {
    assert.throws(() => envOf({ SYMPHONY_WORKER_SECRET: value }), /^Error: SYMPHONY_WORKER_SECRET must have/, value);
  }
});

const tracesOf = (source: Record<string, string | undefined>) => envOf(source).traces;

Deno.test("traces · no endpoint, or OTEL_SDK_DISABLED, and nothing is exported", () => {
  const OTEL_EXPORTER_OTLP_ENDPOINT = "https://collector.example";
  for (
    const source of [
      {},
      { OTEL_SERVICE_NAME: "shop", OTEL_EXPORTER_OTLP_ENDPOINT: "" },
      { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SDK_DISABLED: "True" },
      { OTEL_RESOURCE_ATTRIBUTES: "garbled" },
    ]
  ) assert.equal(tracesOf(source), undefined, JSON.stringify(source));
  assert.ok(tracesOf({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SDK_DISABLED: "no" }));
});

Deno.test("traces · the general endpoint is a base, the one for traces is whole", () => {
  const endpointOf = (source: Record<string, string>) => collecting(tracesOf(source)).collector.endpoint;
  const general = { OTEL_EXPORTER_OTLP_ENDPOINT: "https://collector.example/otlp/" };
  assert.equal(endpointOf(general), "https://collector.example/otlp/v1/traces");
  const whole = { ...general, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:4318/" };
  assert.equal(endpointOf(whole), "http://127.0.0.1:4318/");
});

Deno.test("traces · headers and attributes are percent-decoded; the service has a name", () => {
  const { collector, resource } = collecting(
    tracesOf({
      OTEL_EXPORTER_OTLP_ENDPOINT: "https://collector.example",
      OTEL_EXPORTER_OTLP_HEADERS: " x-team = acme%20inc , authorization=Basic YTpi==,",
      OTEL_RESOURCE_ATTRIBUTES: "service.name=shop,deployment.environment.name=a%2Cb,empty=",
    }),
  );
  assert.deepEqual(collector.headers, { "x-team": "acme inc", authorization: "Basic YTpi==" });
  assert.deepEqual(resource, { "service.name": "shop", "deployment.environment.name": "a,b", empty: "" });
  const unnamed = tracesOf({ OTEL_EXPORTER_OTLP_ENDPOINT: "https://collector.example" });
  assert.deepEqual(collecting(unnamed).resource, { "service.name": "symphony-messenger" });
});

Deno.test("traces · a wrong variable is named, without its value, and stops traces only", () => {
  const OTEL_EXPORTER_OTLP_ENDPOINT = "https://collector.example";
  const wrong: [Record<string, string>, RegExp][] = [
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317" }, /^OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https URL$/],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "ftp://h" }, /^OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must be an http/],
    [{ OTEL_EXPORTER_OTLP_HEADERS: "hunter2" }, /^OTEL_EXPORTER_OTLP_HEADERS must be .* pairs/],
    [{ OTEL_EXPORTER_OTLP_HEADERS: "x=hunter2%0d%0a" }, /^OTEL_EXPORTER_OTLP_HEADERS must be .* pairs/],
    [{ OTEL_EXPORTER_OTLP_HEADERS: "a b=hunter2" }, /^OTEL_EXPORTER_OTLP_HEADERS must be .* pairs/],
    [{ OTEL_RESOURCE_ATTRIBUTES: "a=%hunter2" }, /^OTEL_RESOURCE_ATTRIBUTES must be .* pairs/],
    [{ OTEL_EXPORTER_OTLP_TIMEOUT: "0" }, /^OTEL_EXPORTER_OTLP_TIMEOUT must be a whole number/],
  ];
  for (const [source, expected] of wrong) {
    const traces = tracesOf({ OTEL_EXPORTER_OTLP_ENDPOINT, ...source });
    assert.ok(traces && "complaint" in traces, JSON.stringify(source));
    assert.match(traces.complaint, expected);
    assert.ok(!traces.complaint.includes("hunter2"), traces.complaint);
  }
});

function collecting(settings: TraceSettings | undefined) {
  assert.ok(settings && "collector" in settings);
  return settings;
}
