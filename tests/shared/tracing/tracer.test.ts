// The spans of an isolate that ends, and wrong settings of traces.
import assert from "node:assert/strict";
import { createLog } from "../../../shared/log.ts";
import { Span } from "../../../shared/tracing/span.ts";
import { newTrace } from "../../../shared/tracing/trace_context.ts";
import { openTracer } from "../../../shared/tracing/tracer.ts";
import { openCollector } from "../../collector.ts";
import { VirtualClock } from "../virtual_clock.ts";

const collector = openCollector();
const settings = { collector: { endpoint: `${collector.url}/v1/traces`, headers: {}, timeout: 5_000 }, resource: {} };
const lines: string[] = [];
const log = createLog({}, (line) => lines.push(line));
const given = { name: "process Test", kind: "consumer" as const, attributes: {} };

Deno.test("tracer · sends waiting spans before the isolate ends, and later ones at once", async () => {
  // The clock stands still, so no batch is sent by its timer.
  const tracer = openTracer(settings, {}, log, new VirtualClock());
  const contexts = [newTrace(), newTrace()];
  new Span(tracer, { ...given, context: contexts[0] }).end({});
  globalThis.dispatchEvent(new Event("beforeunload"));
  await collector.trace(contexts[0].traceId, 1);
  new Span(tracer, { ...given, context: contexts[1] }).end({});
  await collector.trace(contexts[1].traceId, 1);
  assert.deepEqual(collector.wrong, []);
});

Deno.test("tracer · a wrong setting is logged once and disables traces", () => {
  const tracer = openTracer({ complaint: "OTEL_SERVICE_NAME is wrong" }, {}, log, new VirtualClock());
  assert.equal(tracer, undefined);
  assert.deepEqual(lines.map((line) => JSON.parse(line)), [
    { level: "warn", message: "no traces are exported", reason: "OTEL_SERVICE_NAME is wrong" },
  ]);
});
