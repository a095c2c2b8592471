// A span: one dispatch or one delivery, from its start to its end.
import { redact } from "../log.ts";
import { formatTraceparent, isSampled, type TraceContext } from "./trace_context.ts";

const LONGEST_ERROR = 200; // characters: enough to recognise an error, too few for a payload
const LONGEST_NAME = 128; // characters of any other text; a rejected type may be as long as a body
// Wall clock and monotonic clock are read together once, so that spans of an isolate keep their order below 1 ms.
const origin = Date.now() - performance.now();

export type Attributes = Record<string, string | number | boolean | undefined>;

/** A span that has ended; times are Unix milliseconds with fractions. */
export interface SpanData {
  name: string;
  kind: "producer" | "consumer";
  context: TraceContext;
  /** The parent span, in another process. */
  parent?: TraceContext;
  start: number;
  end: number;
  attributes: Attributes;
  error?: SpanError;
}

export interface SpanError {
  /** The class of a handler's error, or the code of a SymphonyError. */
  type: string;
  message: string;
}

/** Receives ended spans; never throws. */
export interface Tracer {
  record(span: SpanData): void;
}

/** A span that has started. */
export class Span {
  readonly #start = unixNow();

  constructor(
    readonly tracer: Tracer | undefined,
    readonly opening: Pick<SpanData, "name" | "kind" | "context" | "parent" | "attributes">,
  ) {}

  /** The header that makes other spans its children. */
  get traceparent(): string {
    return formatTraceparent(this.opening.context);
  }

  /** Ends the span; it is recorded if it is sampled. */
  end(attributes: Attributes, error?: SpanError): void {
    const { opening, tracer } = this;
    if (!tracer || !isSampled(opening.context)) return;
    const texts = Object.entries({ ...opening.attributes, ...attributes }).map(([key, value]) =>
      [key, typeof value === "string" ? cut(value, LONGEST_NAME) : value] as const
    );
    tracer.record({
      ...opening,
      name: cut(opening.name, LONGEST_NAME),
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

/**
 * Half a surrogate pair would make a collector reject the whole request. Middleware may pass a value that is no text.
 */
function cut(text: unknown, length: number): string {
  return redact(String(text)).slice(0, length).toWellFormed();
}
