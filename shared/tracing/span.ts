// A span: one dispatch or one delivery, from start to end, as the collector of traces will see it.
import { redact } from "../log.ts";
import { formatTraceparent, isSampled, type TraceContext } from "./trace_context.ts";

const LONGEST_ERROR = 200; // characters: enough to recognise it, too few for a payload
const LONGEST_NAME = 128; // characters, of any other text: a type that is rejected may be as long as a body
// Wall clock and monotonic clock read together, once: spans of an isolate keep their order below a millisecond.
const origin = Date.now() - performance.now();

export type Attributes = Record<string, string | number | boolean | undefined>;

/** What is known of a span when it has ended; times are Unix milliseconds with fractions. */
export interface SpanData {
  name: string;
  kind: "producer" | "consumer";
  context: TraceContext;
  /** The span before it, in another process. */
  parent?: TraceContext;
  start: number;
  end: number;
  attributes: Attributes;
  error?: SpanError;
}

export interface SpanError {
  /** The class of a handler's error, the code of an error. */
  type: string;
  message: string;
}

/** Takes ended spans and never fails. */
export interface Tracer {
  record(span: SpanData): void;
}

/** One that has begun. */
export class Span {
  readonly #start = unixNow();

  constructor(
    readonly tracer: Tracer | undefined,
    readonly given: Pick<SpanData, "name" | "kind" | "context" | "parent" | "attributes">,
  ) {}

  /** What its children carry on. */
  get traceparent(): string {
    return formatTraceparent(this.given.context);
  }

  /** A span that is not sampled is not recorded. */
  end(attributes: Attributes, error?: SpanError): void {
    const { given, tracer } = this;
    if (!tracer || !isSampled(given.context)) return;
    const texts = Object.entries({ ...given.attributes, ...attributes }).map(([key, value]) =>
      [key, typeof value === "string" ? cut(value, LONGEST_NAME) : value] as const
    );
    tracer.record({
      ...given,
      name: cut(given.name, LONGEST_NAME),
      start: this.#start,
      end: unixNow(),
      attributes: Object.fromEntries(texts),
      ...(error && { error: { type: cut(error.type, LONGEST_NAME), message: cut(error.message, LONGEST_ERROR) } }),
    });
  }
}

function unixNow(): number {
  return origin + performance.now();
}

/** Half a surrogate pair would make a collector reject all spans of the request; middleware may hand over what is no text. */
function cut(text: unknown, length: number): string {
  return redact(String(text)).slice(0, length).toWellFormed();
}
