// A trace collector: accepts OTLP over HTTP in JSON as specified and stores the spans.
import { z } from "zod";
import { eventually } from "./eventually.ts";

const nanoseconds = z.string().regex(/^\d{19}$/);
const value = z.union([
  z.strictObject({ stringValue: z.string().refine((text) => text.isWellFormed()) }),
  z.strictObject({ intValue: z.string().regex(/^-?\d+$/) }),
  z.strictObject({ boolValue: z.boolean() }),
  z.strictObject({ doubleValue: z.number() }),
]);
const attributes = z.array(z.strictObject({ key: z.string().min(1), value })).transform((list) =>
  Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]))
);
const span = z.strictObject({
  traceId: z.string().regex(/^(?!0+$)[0-9a-f]{32}$/),
  spanId: z.string().regex(/^(?!0+$)[0-9a-f]{16}$/),
  parentSpanId: z.string().regex(/^(?!0+$)[0-9a-f]{16}$/).optional(),
  flags: z.int(),
  name: z.string(),
  kind: z.union([z.literal(4), z.literal(5)]),
  startTimeUnixNano: nanoseconds,
  endTimeUnixNano: nanoseconds,
  attributes,
  status: z.strictObject({ code: z.literal(2), message: z.string() }).optional(),
  events: z.array(z.strictObject({ name: z.string(), timeUnixNano: nanoseconds, attributes })).optional(),
});
const request = z.strictObject({
  resourceSpans: z.array(z.strictObject({
    resource: z.strictObject({ attributes }),
    scopeSpans: z.array(
      z.strictObject({ scope: z.strictObject({ name: z.literal("symphony-messenger") }), spans: z.array(span) }),
    ),
  })),
});

export type CollectedSpan = z.output<typeof span>;

export interface Collector {
  /** The value for OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  readonly spans: CollectedSpan[];
  /** The resources of the requests, one per request. */
  readonly resources: Record<string, unknown>[];
  readonly headers: Headers[];
  /** Every request body, unparsed. */
  readonly texts: string[];
  /** Violations of the protocol by requests; must be empty. */
  readonly wrong: string[];
  /** Handles requests in place of the collector while it is set; the request is not read. */
  instead: ((request: Request) => Response | Promise<Response>) | undefined;
  /** The spans of a trace by their start, as soon as there are `count` of them. */
  trace(traceId: string, count: number): Promise<CollectedSpan[]>;
  close(): Promise<void>;
}

/** Listens until the tests of the file have ended. */
export function openCollector(): Collector {
  const reply = async (incoming: Request): Promise<Response> => {
    if (collector.instead) return await collector.instead(incoming);
    const text = await incoming.text();
    const { method, url, headers } = incoming;
    const call = [method, new URL(url).pathname, headers.get("content-type")].join(" ");
    if (call !== "POST /v1/traces application/json") collector.wrong.push(call);
    const parsed = request.safeParse(JSON.parse(text));
    if (!parsed.success) {
      collector.wrong.push(z.prettifyError(parsed.error));
      return new Response(null, { status: 400 });
    }
    collector.texts.push(text);
    collector.headers.push(headers);
    for (const { resource, scopeSpans } of parsed.data.resourceSpans) {
      collector.resources.push(resource.attributes);
      for (const { spans } of scopeSpans) collector.spans.push(...spans);
    }
    return Response.json({});
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, reply);
  const close = () => server.shutdown();
  Deno.test.afterAll(close);
  const collector: Collector = {
    url: `http://127.0.0.1:${server.addr.port}`,
    spans: [],
    resources: [],
    headers: [],
    texts: [],
    wrong: [],
    instead: undefined,
    close,
    trace: (traceId, count) =>
      eventually(`${count} spans of the trace ${traceId}`, () => {
        const spans = collector.spans.filter((span) => span.traceId === traceId);
        return spans.length >= count && spans.sort((a, b) => a.startTimeUnixNano < b.startTimeUnixNano ? -1 : 1);
      }),
  };
  return collector;
}
