// Requests of a dispatch: parsed, checked, and converted to elements of messenger_dispatch_batch.
import { z } from "zod";
import { interval } from "../db.ts";
import { type ErrorCode, SymphonyError } from "../errors.ts";
import { milliseconds, moment, type Shape } from "../fields.ts";
import { isObject, type JsonObject, rejectLonger } from "../json.ts";
import { parse } from "../parse.ts";
import type { NewMessage } from "../sender.ts";

const MAX_PAYLOAD = 262_144; // bytes
const MAX_HEADERS = 16_384; // bytes
const MAX_BATCH = 1_000; // messages
// ms: 100 years and one year as Postgres compares intervals, in months of 30 days.
const MAX_DELAY = 36_000 * 86_400_000;
const MAX_WINDOW = 360 * 86_400_000;
const KEYED_MODES = new Set(["replace", "reschedule", "throttle", "debounce"]);
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/;

/** The effect of a dispatch whose idempotency key belongs to a message already. */
export type IdempotencyMode = "ignore" | "replace" | "reschedule" | "throttle" | "debounce";

/** The options of a dispatch. Durations are milliseconds, moments ISO 8601 with a zone. */
export interface DispatchOptions {
  /** The name of a row of messenger_transports; default: the type's route. */
  transport?: string;
  /** 1 to 63 lower-case letters, digits, _ or -; default: the type's route. */
  queue?: string;
  /** 1 to 10; 10 is claimed first; default: the type's route. */
  priority?: number;
  /** Not delivered before this moment; excludes `delay`. */
  scheduledAt?: string;
  /** Milliseconds before the first delivery, at most 3,110,400,000,000 (100 years); excludes `scheduledAt`. */
  delay?: number;
  /** 1 to 255 bytes: a second message with this key is not stored. */
  idempotencyKey?: string;
  /** The effect of a second message with the key; default: `ignore`. */
  idempotencyMode?: IdempotencyMode;
  /** Milliseconds for which the key is kept, at most 31,104,000,000 (360 days). */
  idempotencyWindow?: number;
  /** 1 to 255 bytes: messages with the same key are delivered one after the other. */
  orderingKey?: string;
  /** Deliveries after the first one, 0 to 100; default: the type's retry policy. */
  maxRetries?: number;
  /** A message that has not been delivered by this moment ends as Expired. */
  expiresAt?: string;
  /** Headers for the bus and its tools, such as `traceparent`; at most 16 KB. */
  headers?: JsonObject;
  /** Data of the application that travels beside the payload; at most 16 KB. */
  metadata?: JsonObject;
}

const object = z.custom<JsonObject>(isObject, { error: "expected an object" });
const idempotencyMode = z.custom<IdempotencyMode>((value) => typeof value === "string", { error: "expected a string" });

// Types are exact; ranges are limited only if a wider value could not be sent to the database, which checks the rest.
const dispatchRequest = z.strictObject({
  message: z.strictObject({ type: z.string(), payload: object, metadata: object.optional() }),
  options: z.strictObject(
    {
      transport: z.string().optional(),
      queue: z.string().optional(),
      priority: z.int().optional(),
      scheduledAt: moment.optional(),
      delay: milliseconds(MAX_DELAY).optional(),
      idempotencyKey: z.string().optional(),
      idempotencyMode: idempotencyMode.optional(),
      idempotencyWindow: milliseconds(MAX_WINDOW).optional(),
      orderingKey: z.string().optional(),
      maxRetries: z.int().optional(),
      expiresAt: moment.optional(),
      headers: object.optional(),
      metadata: object.optional(),
    } satisfies Shape<DispatchOptions>,
  ).optional(),
});

const batchRequest = z.strictObject({ messages: z.array(z.unknown()).min(1), atomic: z.boolean().default(true) });

const CODES: Record<string, ErrorCode> = {
  type: "SM_TYPE",
  payload: "SM_PAYLOAD_NOT_OBJECT",
  metadata: "SM_METADATA_NOT_OBJECT",
  headers: "SM_HEADERS_NOT_OBJECT",
  transport: "SM_TRANSPORT",
  queue: "SM_QUEUE",
  priority: "SM_PRIORITY",
  scheduledAt: "SM_AVAILABLE_AT",
  delay: "SM_DELAY",
  idempotencyKey: "SM_IDEMPOTENCY_KEY",
  idempotencyMode: "SM_IDEMPOTENCY_MODE",
  idempotencyWindow: "SM_IDEMPOTENCY_KEY",
  orderingKey: "SM_ORDERING_KEY",
  maxRetries: "SM_MAX_RETRIES",
  expiresAt: "SM_EXPIRES_AT",
};

export type DispatchRequest = z.output<typeof dispatchRequest>;

export function parseDispatch(value: unknown): DispatchRequest {
  return parse(dispatchRequest, value, CODES);
}

/** The elements are parsed one by one later, so that one bad element does not reject the others. */
export function parseBatch(value: unknown): z.output<typeof batchRequest> {
  const batch = parse(batchRequest, value, { messages: "SM_BATCH" });
  if (batch.messages.length <= MAX_BATCH) return batch;
  throw new SymphonyError(
    "SM_BATCH_TOO_LARGE",
    `The batch has ${batch.messages.length} messages, ${MAX_BATCH} are allowed.`,
  );
}

/** The request with the key of the Idempotency-Key header, which must equal the key in the body if both are sent. */
export function withKey(request: DispatchRequest, header: string | undefined): DispatchRequest {
  const key = header === undefined ? undefined : unquoted(header);
  const { idempotencyKey = key } = request.options ?? {};
  if (key !== undefined && key !== idempotencyKey) {
    throw new SymphonyError("SM_IDEMPOTENCY_KEY", "The header Idempotency-Key and options.idempotencyKey differ.", {
      hint: "Send the key once, or the same key in both.",
    });
  }
  return idempotencyKey === undefined ? request : { ...request, options: { ...request.options, idempotencyKey } };
}

/**
 * The IETF draft of the header requires a string of RFC 8941, `"abc"`; most callers send the bare key. Both mean abc.
 */
function unquoted(header: string): string {
  if (!/^[\t\x20-\x7e]*$/.test(header)) {
    throw new SymphonyError("SM_IDEMPOTENCY_KEY", "The header Idempotency-Key has characters outside ASCII.", {
      hint: "Headers have no encoding that clients agree on: send such a key in options.idempotencyKey.",
    });
  }
  if (!header.startsWith('"')) return header;
  const [, text] = header.match(QUOTED) ?? [];
  if (text !== undefined) return text.replaceAll(/\\(.)/g, "$1");
  throw new SymphonyError(
    "SM_IDEMPOTENCY_KEY",
    `The header Idempotency-Key begins with a quote, but ${header.slice(0, 60)} is not a quoted string.`,
    { hint: 'Close the quotes and escape " and \\ inside them with a backslash, or send the key without quotes.' },
  );
}

/** The idempotency key of a batch's element, for its reply; undefined if the unparsed element has no valid one. */
export function keyOf(request: unknown): string | undefined {
  const options = isObject(request) ? request.options : undefined;
  const key = isObject(options) ? options.idempotencyKey : undefined;
  return typeof key === "string" ? key : undefined;
}

/** A request as an element of messenger_dispatch_batch; rejects a request that is too large or contradicts itself. */
export function toNewMessage({ message, options = {} }: DispatchRequest): NewMessage {
  rejectContradictions(options);
  const { delay, idempotencyWindow, headers } = options;
  const metadata = message.metadata || options.metadata ? { ...message.metadata, ...options.metadata } : undefined;
  rejectLonger(message.payload, MAX_PAYLOAD, "SM_PAYLOAD_TOO_LARGE", "payload");
  if (headers) rejectLonger(headers, MAX_HEADERS, "SM_HEADERS_TOO_LARGE", "headers object");
  if (metadata) rejectLonger(metadata, MAX_HEADERS, "SM_HEADERS_TOO_LARGE", "metadata object");
  return {
    type: message.type,
    payload: message.payload,
    transport: options.transport,
    queue: options.queue,
    priority: options.priority,
    available_at: options.scheduledAt,
    delay: delay === undefined ? undefined : interval(delay),
    idempotency_key: options.idempotencyKey,
    idempotency_mode: options.idempotencyMode,
    idempotency_window: idempotencyWindow === undefined ? undefined : interval(idempotencyWindow),
    ordering_key: options.orderingKey,
    max_retries: options.maxRetries,
    expires_at: options.expiresAt,
    headers,
    metadata,
  };
}

/** The database rejects these under a code with several causes; here each cause has its own sentence. */
function rejectContradictions(options: DispatchOptions): void {
  const { delay, scheduledAt, idempotencyKey, idempotencyMode = "", idempotencyWindow, headers = {} } = options;
  if (delay !== undefined && scheduledAt !== undefined) {
    throw new SymphonyError("SM_DELAY", "options.delay and options.scheduledAt exclude each other.", {
      hint: "Send one of the two.",
    });
  }
  const isMode = KEYED_MODES.has(idempotencyMode);
  if (idempotencyKey === undefined && (isMode || idempotencyWindow !== undefined)) {
    const option = isMode ? `idempotencyMode ${idempotencyMode}` : "idempotencyWindow";
    throw new SymphonyError("SM_IDEMPOTENCY_KEY", `options.${option} needs options.idempotencyKey.`, {
      hint: `Send the key too, or leave options.${option.split(" ")[0]} out.`,
    });
  }
  if (Object.hasOwn(headers, "x-symphony-user")) {
    throw new SymphonyError("SM_FIELD_FORBIDDEN", "options.headers.x-symphony-user is set by the bus only.", {
      hint: "Leave the header out: the bus adds it to messages that a signed-in user dispatches.",
    });
  }
}
