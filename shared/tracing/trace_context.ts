// W3C trace context: the header `traceparent`, taken apart and put together, and its companion `tracestate`.

/** Version, trace id, span id, flags. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Vendors' own positions in the trace, `vendor=value` between commas; W3C asks to pass on at least 512 characters. */
const TRACESTATE = /^(?=.*=)[\x20-\x7e\t]{1,512}$/;

const NOTHING = /^0+$/;
const SAMPLED = 1;

/** A span's place in its trace, in lower-case hexadecimal. */
export interface TraceContext {
  traceId: string;
  spanId: string;
  flags: string;
}

export function isTracestate(header: string | undefined): header is string {
  return header !== undefined && TRACESTATE.test(header);
}

/** Undefined for anything but a valid header. */
export function parseTraceparent(header: unknown): TraceContext | undefined {
  const [, version, traceId, spanId, flags] = typeof header === "string" ? header.match(TRACEPARENT) ?? [] : [];
  const isInvalid = version === undefined || version === "ff" || NOTHING.test(traceId) || NOTHING.test(spanId);
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
