// Opens the tracer of an isolate: spans are sent to the collector that the environment names.
import type { Clock } from "../clock.ts";
import type { TraceSettings } from "../env.ts";
import type { Log } from "../log.ts";
import { encodeSpans, postSpans } from "./otlp.ts";
import type { Attributes, Tracer } from "./span.ts";
import { SpanExporter } from "./exporter.ts";

/**
 * @param resource describes the isolate; attributes of the environment take precedence
 * @returns undefined if no collector is named, or if the variables are invalid, which is logged
 */
export function openTracer(
  settings: TraceSettings | undefined,
  resource: Attributes,
  log: Log,
  clock: Clock,
): Tracer | undefined {
  if (!settings) return undefined;
  if ("complaint" in settings) {
    log.warn("no traces are exported", { reason: settings.complaint });
    return undefined;
  }
  const described = { ...resource, ...settings.resource };
  const send = (spans: Parameters<typeof encodeSpans>[0]) =>
    postSpans(encodeSpans(spans, described), settings.collector);
  const exporter = new SpanExporter({ send, clock, log });
  addEventListener("beforeunload", () => exporter.hurry());
  return exporter;
}
