// Where an isolate's spans go: to the collector that the environment names, until the isolate ends.
import type { Clock } from "../clock.ts";
import type { TraceSettings } from "../env.ts";
import type { Log } from "../log.ts";
import { encodeSpans, postSpans } from "./otlp.ts";
import type { Attributes, Tracer } from "./span.ts";
import { SpanExporter } from "./exporter.ts";

/**
 * @param resource describes the isolate; what the environment says about it comes first
 * @returns undefined where no traces are wanted, or where what is said about them is wrong, which is logged
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
