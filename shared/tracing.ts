// W3C trace context: each delivery is a span of its own, a child of whatever dispatched the message.
import type { Middleware } from "./middleware.ts";

/** The header `traceparent`: version, trace id, parent span id, flags. */
export const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

const NOTHING = /^0+$/;
const SAMPLED = "01";

/** Puts `trace_id` and `span_id` into the delivery's log lines and its own `traceparent` into the context; without a parent it starts a trace. */
export const tracing: Middleware = (ctx, next) => {
  const { trace, flags } = parentOf(ctx.envelope.headers.traceparent) ?? { trace: randomHex(16), flags: SAMPLED };
  const span = randomHex(8);
  ctx.traceparent = `00-${trace}-${span}-${flags}`;
  ctx.log = ctx.log.with({ trace_id: trace, span_id: span });
  return next();
};

function parentOf(header: unknown): { trace: string; flags: string } | undefined {
  const [, version, trace, span, flags] = typeof header === "string" ? header.match(TRACEPARENT) ?? [] : [];
  const isInvalid = version === undefined || version === "ff" || NOTHING.test(trace) || NOTHING.test(span);
  return isInvalid ? undefined : { trace, flags };
}

function randomHex(bytes: number): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}
