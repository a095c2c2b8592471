// Settings of traces: OpenTelemetry's own variables. A wrong one disables traces, not the bus.
import assert from "node:assert/strict";
import { readEnv, type TraceSettings } from "../../shared/env.ts";

const tracesOf = (source: Record<string, string | undefined>) =>
  readEnv({ SUPABASE_URL: "https://project.supabase.co", ...source }).traces;

Deno.test("traces · without an endpoint, or with OTEL_SDK_DISABLED, nothing is exported", () => {
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

Deno.test("traces · the general endpoint is a base URL, the one for traces is complete", () => {
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

Deno.test("traces · a wrong variable is named, without its value, and disables traces only", () => {
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
