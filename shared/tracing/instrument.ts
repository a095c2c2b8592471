// Traces: one span per dispatch and, as its children, one per delivery, by OpenTelemetry's conventions for messaging.
import { SymphonyError, toSymphonyError } from "../errors.ts";
import type { HandlerContext } from "../message.ts";
import type { DeliveryResult } from "../middleware.ts";
import { type Attributes, Span, type Tracer } from "./span.ts";
import { childOf, newTrace, parseTraceparent } from "./trace_context.ts";
import type { NewMessage, Sender, SendResult } from "../sender.ts";

const TRACE_ID = /^[0-9a-f]{32}$/;

/**
 * Starts the span of a delivery, and puts its `trace_id` and `span_id` into the log lines and its `traceparent` into
 * the context. All deliveries of a message without a trace share one, whose id is the message's.
 * @returns ends the span
 */
export function traceDelivery(ctx: HandlerContext, tracer: Tracer | undefined): (result: DeliveryResult) => void {
  const { id, type, queue, headers, retryCount, maxRetries } = ctx.envelope;
  const parent = parseTraceparent(headers.traceparent);
  const context = parent ? childOf(parent) : newTrace(traceIdFrom(id));
  const span = new Span(tracer, {
    name: `process ${type}`,
    kind: "consumer",
    context,
    parent,
    attributes: {
      ...attributesOf("process", "process", type, queue),
      "messaging.message.id": id,
      "symphony.retry_count": retryCount,
      "symphony.max_retries": maxRetries,
      "symphony.fence": ctx.fence,
    },
  });
  ctx.traceparent = span.traceparent;
  ctx.log = ctx.log.with({ trace_id: context.traceId, span_id: context.spanId });
  return (result) => {
    const error = result?.outcome === "failed" ? { type: result.error_class, message: result.error } : undefined;
    span.end({ "symphony.outcome": result?.outcome ?? "stale" }, error);
  };
}

/** Gives each message a span: the parent of its deliveries, and a child of the trace that the message belongs to. */
export function traceSender(sender: Sender, tracer: Tracer | undefined): Sender {
  if (!tracer) return sender;
  return {
    async send(messages, atomic) {
      const spans = messages.map((message) => openDispatch(message, tracer));
      const traced = messages.map((message, index) => ({
        ...message,
        headers: { ...message.headers, traceparent: spans[index].traceparent },
      }));
      try {
        const results = await sender.send(traced, atomic);
        spans.forEach((span, index) => endDispatch(span, results[index]));
        return results;
      } catch (thrown) {
        const error = toSymphonyError(thrown);
        for (const span of spans) endDispatch(span, error);
        throw thrown;
      }
    },
  };
}

function openDispatch({ type, queue, headers }: NewMessage, tracer: Tracer): Span {
  const parent = parseTraceparent(headers?.traceparent);
  const context = parent ? childOf(parent) : newTrace();
  const attributes = attributesOf("dispatch", "send", type, queue);
  return new Span(tracer, { name: `dispatch ${type}`, kind: "producer", context, parent, attributes });
}

function endDispatch(span: Span, result: SendResult): void {
  if (result instanceof SymphonyError) return span.end({}, { type: result.code, message: result.message });
  span.end({
    "messaging.destination.name": result.queue,
    "messaging.message.id": result.id,
    "symphony.transport": result.transport,
    "symphony.duplicate": result.duplicate,
  });
}

function attributesOf(name: string, operation: string, type: string, queue: string | undefined): Attributes {
  return {
    "messaging.system": "symphony",
    "messaging.operation.name": name,
    "messaging.operation.type": operation,
    "messaging.destination.name": queue,
    "symphony.message_type": type,
  };
}

/** A UUID has as many bits as a trace id, and enough of them are random. */
function traceIdFrom(id: string): string | undefined {
  const hex = id.replaceAll("-", "");
  return TRACE_ID.test(hex) ? hex : undefined;
}
