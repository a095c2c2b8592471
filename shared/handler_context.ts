// The context of a handler: the message's envelope, signal, log and database, or those of a batch.
import type { Database } from "./db.ts";
import type { Completed } from "./delivery.ts";
import type { JsonObject } from "./json.ts";
import type { Log } from "./log.ts";

/**
 * Who dispatched a message and so wrote its payload and metadata: a signed-in user, by id, or a service, which holds a
 * secret key or is code in the database.
 */
export type SentBy = { kind: "user"; id: string } | { kind: "service" };

/** The message without its payload, as the handler gets it. */
export interface Envelope {
  /** The id of the message, a UUID: the same at every delivery. */
  id: string;
  /** The name under which the message was dispatched; it may be an alias. */
  type: string;
  /** The queue that the message was claimed from. */
  queue: string;
  /** 1 to 10; 10 is claimed first. */
  priority: number;
  /** The dispatcher. Everything that a user sends is untrusted input, including the metadata. */
  sender: SentBy;
  /** Headers for the bus and its tools, such as `traceparent`. */
  headers: JsonObject;
  /** Data of the application that travels beside the payload. */
  metadata: JsonObject;
  /** Failed deliveries before this one; 0 at the first. */
  retryCount: number;
  /** Deliveries after the first one before the message becomes a dead letter. */
  maxRetries: number;
  /** When the message was stored, ISO 8601. */
  createdAt: string;
}

/** The second argument of a handler: the message's envelope and the means to work on it. */
export interface HandlerContext {
  /** The message without its payload. */
  envelope: Envelope;
  /** The fencing token, which rises with every delivery. Pass it to systems that can reject an older one. */
  fence: number;
  /** Aborts at the timeout, when the lease is lost and when cancellation is requested; its `reason` is the error. */
  signal: AbortSignal;
  /** A log whose lines carry the message's id, type and attempt. */
  log: Log;
  /** The W3C trace context of this delivery: the value of the header `traceparent` for calls and messages. */
  traceparent: string;
  /**
   * Stores a value that the sender can read while the handler runs. It travels with the next heartbeat, at most once
   * per second; of several values the last one counts.
   *
   * @param value a JSON value
   * @throws SymphonyError SM_JSON and others if the value cannot be stored as JSON
   */
  progress(value: unknown): void;
  /**
   * Runs the database function `schema.name(jsonb) returns jsonb` and completes the message in the same transaction, so
   * the effect of the function happens once, however often the message is delivered. The function's result becomes the
   * message's; a value that the handler returns or throws afterwards is not recorded.
   *
   * @param functionName the function, as `schema.name`
   * @param args a JSON value; default: `{}`
   * @returns the result, or `already` if an earlier delivery has completed the message
   * @throws FunctionFailed if the function raised an error: its effects are rolled back, and the lease is still held
   * @throws StaleLease if another worker owns the message: nothing was changed
   */
  completeWith(functionName: string, args?: unknown): Promise<Completed>;
  /** The database, with the rights of service_role. */
  db: Database;
}

/** One message of a batch, and the methods that end it by itself. */
export interface BatchItem<Payload = unknown> extends HandlerContext {
  /** The parsed payload. */
  readonly payload: Payload;
  /**
   * Completes this message while the batch continues. Of several reports the first one counts.
   *
   * @param result the result to store: JSON of at most 64 KB; default: null
   */
  complete(result?: unknown): void;
  /**
   * Ends this delivery as a handler that throws `reason` does.
   *
   * @param reason an Error, Unrecoverable, RetryAfter or Snooze
   */
  fail(reason: unknown): void;
}

/** The second argument of a batch handler. */
export interface BatchContext {
  /**
   * Aborts when the signals of all messages without a report have aborted: at the timeout, or when all leases are lost.
   */
  signal: AbortSignal;
  /** A log whose lines carry the type and the size of the batch. */
  log: Log;
  /** The database, with the rights of service_role. */
  db: Database;
}

const USER_HEADER = "x-symphony-user"; // set by messenger_user_dispatch only; any other caller's is rejected

/**
 * The sender of a message, as the database has recorded it in the message's headers.
 *
 * @param headers the headers of the stored message
 * @returns the user, or `service`
 *
 * @example
 * ```ts
 * import { senderOf } from "./shared/handler_context.ts";
 *
 * console.log(senderOf({}).kind); // service
 * ```
 */
export function senderOf(headers: JsonObject): SentBy {
  const id = headers[USER_HEADER];
  return typeof id === "string" ? { kind: "user", id } : { kind: "service" };
}
