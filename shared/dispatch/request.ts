// What producers may ask for: the shape of a dispatch, and the same in SQL's words.
import { z } from "zod";
import { interval } from "../db.ts";
import { type ErrorCode, SymphonyError } from "../errors.ts";
import { milliseconds, moment } from "../fields.ts";
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

const object = z.custom<JsonObject>(isObject, { error: "expected an object" });
/** What a dispatch does when its idempotency key already has a message. */
export type IdempotencyMode = "ignore" | "replace" | "reschedule" | "throttle" | "debounce";
const idempotencyMode = z.custom<IdempotencyMode>((value) => typeof value === "string", { error: "expected a string" });

// Exact types, and ranges where a wider value could not reach the database; all else is judged there, in one place.
const dispatchRequest = z.strictObject({
  message: z.strictObject({ type: z.string(), payload: object, metadata: object.optional() }),
  options: z.strictObject({
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
  }).optional(),
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
export type DispatchOptions = NonNullable<DispatchRequest["options"]>;

export function parseDispatch(value: unknown): DispatchRequest {
  return parse(dispatchRequest, value, CODES);
}

/** The elements are parsed one by one later, so that each can be rejected alone. */
export function parseBatch(value: unknown): z.output<typeof batchRequest> {
  const batch = parse(batchRequest, value, { messages: "SM_BATCH" });
  if (batch.messages.length <= MAX_BATCH) return batch;
  throw new SymphonyError(
    "SM_BATCH_TOO_LARGE",
    `The batch has ${batch.messages.length} messages, ${MAX_BATCH} are allowed.`,
  );
}

/** The request with the key of the Idempotency-Key header, which may repeat the body's but not differ from it. */
export function withKey(request: DispatchRequest, header: string | undefined): DispatchRequest {
  const key = header === undefined ? undefined : unquoted(header);
  const { idempotencyKey = key } = request.options ?? {};
  if (key !== undefined && key !== idempotencyKey) {
    throw new SymphonyError("SM_IDEMPOTENCY_KEY", "The header Idempotency-Key and options.idempotencyKey differ.", {
      hint: "Send the key once, or the same key in both places.",
    });
  }
  return idempotencyKey === undefined ? request : { ...request, options: { ...request.options, idempotencyKey } };
}

/** The IETF draft of the header wants a string of RFC 8941, `"abc"`; most callers send the bare key. Both mean abc. */
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

/** The idempotency key of a batch's element, for its reply, before anything is known about the element. */
export function keyOf(request: unknown): string | undefined {
  const options = isObject(request) ? request.options : undefined;
  const key = isObject(options) ? options.idempotencyKey : undefined;
  return typeof key === "string" ? key : undefined;
}

/** A request as an element of messenger_dispatch_batch; rejects what is too large to send, or contradicts itself. */
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

/** What the database rejects under a code that also means something else, so that each cause gets its own sentence. */
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
