// W3C trace context: parses and formats the header `traceparent`, and checks `tracestate`.

/** Version, trace id, span id, flags. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Vendors' data about the trace, `vendor=value` between commas; W3C requires to pass on at least 512 characters. */
const TRACESTATE = /^(?=.*=)[\x20-\x7e\t]{1,512}$/;

const ALL_ZEROS = /^0+$/;
const SAMPLED = 1;

/** The identity of a span, in lower-case hexadecimal. */
export interface TraceContext {
  traceId: string;
  spanId: string;
  flags: string;
}

export function isTracestate(header: string | undefined): header is string {
  return header !== undefined && TRACESTATE.test(header);
}

/** Undefined if the header is not valid. */
export function parseTraceparent(header: unknown): TraceContext | undefined {
  const [, version, traceId, spanId, flags] = typeof header === "string" ? header.match(TRACEPARENT) ?? [] : [];
  const isInvalid = version === undefined || version === "ff" || ALL_ZEROS.test(traceId) || ALL_ZEROS.test(spanId);
  return isInvalid ? undefined : { traceId, spanId, flags };
}

export function formatTraceparent({ traceId, spanId, flags }: TraceContext): string {
  return `00-${traceId}-${spanId}-${flags}`;
}

/** A new span of the same trace, sampled if its parent is. */
export function childOf({ traceId, flags }: TraceContext): TraceContext {
  return { traceId, spanId: randomHex(8), flags };
}

/** The first span of a trace. */
export function newTrace(traceId = randomHex(16)): TraceContext {
  return { traceId, spanId: randomHex(8), flags: "01" };
}

export function isSampled({ flags }: TraceContext): boolean {
  return (parseInt(flags, 16) & SAMPLED) === SAMPLED;
}

function randomHex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
