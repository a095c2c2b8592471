// What producers may ask for: the shape of a dispatch, and the same in SQL's words.
import { z } from "zod";
import { interval } from "./db.ts";
import { type ErrorCode, SymphonyError } from "./errors.ts";
import { isObject, type JsonObject, refuseLonger } from "./json.ts";
import { parse } from "./parse.ts";
import type { NewMessage } from "./transports/sender.ts";

const MAX_PAYLOAD = 262_144; // bytes
const MAX_HEADERS = 16_384; // bytes
const MAX_BATCH = 1_000; // messages

const object = z.custom<JsonObject>(isObject, { error: "expected an object" });
const moment = z.iso.datetime({ offset: true, error: "expected an ISO 8601 date with a zone" });
const milliseconds = z.int().min(0);
/** What a dispatch does when its idempotency key already has a message. */
export type IdempotencyMode = "ignore" | "replace" | "reschedule" | "throttle" | "debounce";
const idempotencyMode = z.custom<IdempotencyMode>((value) => typeof value === "string", { error: "expected a string" });

// Exact types only: ranges and names are judged in one place, the database.
const dispatchRequest = z.strictObject({
  message: z.strictObject({ type: z.string(), payload: object, metadata: object.optional() }),
  options: z.strictObject({
    transport: z.string().optional(),
    queue: z.string().optional(),
    priority: z.int().optional(),
    scheduledAt: moment.optional(),
    delay: milliseconds.optional(),
    idempotencyKey: z.string().optional(),
    idempotencyMode: idempotencyMode.optional(),
    idempotencyWindow: milliseconds.optional(),
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

/** The elements are parsed one by one later, so that each can be refused alone. */
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
  const { idempotencyKey = header } = request.options ?? {};
  if (header !== undefined && header !== idempotencyKey) {
    throw new SymphonyError("SM_IDEMPOTENCY_KEY", "The header Idempotency-Key and options.idempotencyKey differ.");
  }
  return idempotencyKey === undefined ? request : { ...request, options: { ...request.options, idempotencyKey } };
}

/** The idempotency key of a batch's element, for its reply, before anything is known about the element. */
export function keyOf(request: unknown): string | undefined {
  const options = isObject(request) ? request.options : undefined;
  const key = isObject(options) ? options.idempotencyKey : undefined;
  return typeof key === "string" ? key : undefined;
}

/** A request as an element of messenger_dispatch_batch; refuses what is too large to send. */
export function toNewMessage({ message, options = {} }: DispatchRequest): NewMessage {
  const { delay, idempotencyWindow, headers } = options;
  const metadata = message.metadata || options.metadata ? { ...message.metadata, ...options.metadata } : undefined;
  refuseLonger(message.payload, MAX_PAYLOAD, "SM_PAYLOAD_TOO_LARGE", "payload");
  if (headers) refuseLonger(headers, MAX_HEADERS, "SM_HEADERS_TOO_LARGE", "headers object");
  if (metadata) refuseLonger(metadata, MAX_HEADERS, "SM_HEADERS_TOO_LARGE", "metadata object");
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
