// OTLP over HTTP in its JSON encoding: encodes ended spans and posts them to the collector.
// OpenTelemetry's exporter would add 12 packages of 28 MB to every deployed edge function, and 100 ms to its start with
// traces enabled.
import type { Collector } from "../env.ts";
import type { Attributes, SpanData } from "./span.ts";

const KINDS = { producer: 4, consumer: 5 };
const STATUS_ERROR = 2;
// Bits of a span's flags beside those of the trace: the second is valid, and the parent is in another process.
const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

/** An ExportTraceServiceRequest. */
export function encodeSpans(spans: readonly SpanData[], resource: Attributes): string {
  const scopeSpans = [{ scope: { name: "symphony-messenger" }, spans: spans.map(encodeSpan) }];
  return JSON.stringify({ resourceSpans: [{ resource: { attributes: encodeAttributes(resource) }, scopeSpans }] });
}

/**
 * Sends one request.
 * @throws Error without address and headers, since they may hold a key
 */
export async function postSpans(body: string, { endpoint, headers, timeout }: Collector): Promise<void> {
  const response = await fetch(endpoint, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body,
    redirect: "manual", // the headers are for this address only
    signal: AbortSignal.timeout(timeout),
  }).catch((error: unknown) => {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new Error(late ? `The collector did not reply within ${timeout} ms.` : "The collector cannot be reached.");
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`The collector replied with status ${response.status}.`);
}

function encodeSpan({ name, kind, context, parent, start, end, attributes, error }: SpanData) {
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    ...(parent && { parentSpanId: parent.spanId }),
    flags: parseInt(context.flags, 16) | HAS_IS_REMOTE | (parent ? IS_REMOTE : 0),
    name,
    kind: KINDS[kind],
    startTimeUnixNano: nanoseconds(start),
    endTimeUnixNano: nanoseconds(end),
    attributes: encodeAttributes({ ...attributes, "error.type": error?.type }),
    ...(error && {
      status: { code: STATUS_ERROR, message: error.message },
      events: [{
        name: "exception",
        timeUnixNano: nanoseconds(end),
        attributes: encodeAttributes({ "exception.type": error.type, "exception.message": error.message }),
      }],
    }),
  };
}

function encodeAttributes(attributes: Attributes) {
  return Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: encode(value) }]
  );
}

function encode(value: string | number | boolean) {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

/** A double is exact to the microsecond for today's time, not to the nanosecond. */
function nanoseconds(milliseconds: number): string {
  return `${Math.round(milliseconds * 1_000)}000`;
}
