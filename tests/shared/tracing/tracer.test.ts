// What an isolate does with its spans when it ends, and when the environment is wrong about them.
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

Deno.test("tracer · sends what waits before the isolate ends, and at once what comes after", async () => {
  // On a clock that stands still no batch leaves by itself.
  const tracer = openTracer(settings, {}, log, new VirtualClock());
  const contexts = [newTrace(), newTrace()];
  new Span(tracer, { ...given, context: contexts[0] }).end({});
  globalThis.dispatchEvent(new Event("beforeunload"));
  await collector.trace(contexts[0].traceId, 1);
  new Span(tracer, { ...given, context: contexts[1] }).end({});
  await collector.trace(contexts[1].traceId, 1);
  assert.deepEqual(collector.wrong, []);
});

Deno.test("tracer · a wrong setting is logged once, and there is none", () => {
  const tracer = openTracer({ complaint: "OTEL_SERVICE_NAME is wrong" }, {}, log, new VirtualClock());
  assert.equal(tracer, undefined);
  assert.deepEqual(lines.map((line) => JSON.parse(line)), [
    { level: "warn", message: "no traces are exported", reason: "OTEL_SERVICE_NAME is wrong" },
  ]);
});
