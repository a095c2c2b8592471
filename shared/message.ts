// A message type: its name, payload schema, routing, retry policy and handler; and the registry of all of them.
import type { z } from "zod";
import type { Completed } from "./delivery.ts";
import type { Database } from "./db.ts";
import { checkDefinitions, type DefinitionFault } from "./definitions.ts";
import type { JsonObject } from "./json.ts";
import type { Log } from "./log.ts";
import { sha256 } from "./sha256.ts";

/** A schema whose input is a JSON object; of zod's core, because methods that libraries add to schemas are none of a message's business. */
export type PayloadSchema = z.core.$ZodType<unknown, Record<string, unknown>>;

export interface RetryPolicy {
  /** Deliveries after the first one. */
  maxRetries: number;
  /** Milliseconds before the first retry. */
  delay: number;
  /** Factor from one delay to the next. */
  multiplier: number;
  /** The longest delay, in milliseconds. */
  maxDelay: number;
  /** Share of the delay that is random, 0 to 1. */
  jitter: number;
}

/**
 * Who dispatched a message, and so who wrote its payload and metadata: a signed-in user, by id, or a service, which
 * holds a secret key or is code in the database.
 */
export type SentBy = { kind: "user"; id: string } | { kind: "service" };

/** The message as its handler sees it, without the payload. */
export interface Envelope {
  id: string;
  type: string;
  queue: string;
  priority: number;
  /** Decides what to trust: everything else that a user sends is untrusted input, the metadata too. */
  sender: SentBy;
  headers: JsonObject;
  metadata: JsonObject;
  /** Deliveries before this one that ended badly: 0 at the first. */
  retryCount: number;
  maxRetries: number;
  /** ISO 8601. */
  createdAt: string;
}

export interface HandlerContext {
  envelope: Envelope;
  /** Rises with every delivery: give it to outside systems that can reject an older number. */
  fence: number;
  /** Aborts at the timeout, when the lease is lost and when cancellation is requested; the reason tells which. */
  signal: AbortSignal;
  log: Log;
  /** This delivery's W3C trace context, to be sent as the header of that name with calls to others and in the headers of messages. */
  traceparent: string;
  /** Keeps a JSON value that the sender can read while the handler runs. */
  progress(value: unknown): void;
  /**
   * Runs the database function `schema.name(jsonb) returns jsonb` and completes the message in the same transaction, so that its effect
   * happens once however often the message is delivered. The function's result is the message's; what the handler returns or
   * throws afterwards is not recorded.
   * @param args a JSON value, `{}` unless told
   * @throws FunctionFailed when the function raised: nothing has happened, and the lease is still held
   * @throws StaleLease when another worker owns the message: nothing has happened, and nothing more can
   */
  completeWith(functionName: string, args?: unknown): Promise<Completed>;
  db: Database;
}

/** One message of a batch: what is known of it, and the way to say what became of it. */
export interface BatchItem<Payload = unknown> extends HandlerContext {
  readonly payload: Payload;
  /** Completes this message while the batch goes on. Of several reports the first one counts. */
  complete(result?: unknown): void;
  /** Ends this delivery as a handler would that throws `reason`: an error, Unrecoverable, RetryAfter or Snooze. */
  fail(reason: unknown): void;
}

export interface BatchContext {
  /** Aborts when the signals of all messages that are not reported yet have: at the timeout, or when all leases are lost. */
  signal: AbortSignal;
  log: Log;
  db: Database;
}

export interface Route {
  transport?: string;
  queue?: string;
  priority?: number;
}

interface Declaration<T extends string, S extends PayloadSchema> {
  readonly type: T;
  /** Former names whose messages this handler still takes. */
  readonly aliases?: readonly string[];
  readonly payload: S;
  readonly route?: Route;
  readonly retry?: Partial<RetryPolicy>;
  /** Milliseconds a handler may take, 30,000 unless told. */
  readonly timeout?: number;
  /** Who may dispatch it; services always may. */
  readonly dispatchableBy?: "service" | "user";
}

interface Handling<P> {
  /** Returns the result to store; throws to fail (see errors.ts for Unrecoverable, RetryAfter, Snooze). */
  handle(payload: P, ctx: HandlerContext): unknown;
  handleBatch?: undefined;
}

interface BatchHandling<P> {
  /**
   * Handles the messages of one claim together, at most `batchSize`. What is not reported by item when it returns is completed, without
   * a result; what is not reported when it throws fails with what it threw. A message that may have killed its worker comes alone.
   */
  handleBatch(items: readonly BatchItem<P>[], ctx: BatchContext): unknown;
  handle?: undefined;
}

export type MessageType<T extends string = string, S extends PayloadSchema = PayloadSchema> =
  & Declaration<T, S>
  & (Handling<z.output<S>> | BatchHandling<z.output<S>>);

/** One element of messenger_register's argument. */
export type Registration = {
  type: string;
  transport?: string;
  queue?: string;
  priority?: number;
  dispatchable_by: "service" | "user";
  retry: { max_retries: number; delay_ms: number; multiplier: number; max_delay_ms: number; jitter: number };
  timeout_ms: number;
  aliases: string[];
};

export type RetryDefaults = { [K in keyof RetryPolicy]?: RetryPolicy[K] | undefined };

export interface Registry {
  /** Every name a worker may claim, aliases included. */
  readonly types: readonly string[];
  find(type: string): MessageType | undefined;
  /** @param defaults what a type leaves unsaid in its retry policy */
  registration(defaults?: RetryDefaults): Registration[];
  /** SHA-256 of the registration in hexadecimal: equal for equal registries. */
  hash(defaults?: RetryDefaults): Promise<string>;
}

const USER_HEADER = "x-symphony-user"; // set by messenger_user_dispatch, rejected from everybody else

/** The sender, as the database has recorded it in the message's headers. */
export function senderOf(headers: JsonObject): SentBy {
  const id = headers[USER_HEADER];
  return typeof id === "string" ? { kind: "user", id } : { kind: "service" };
}

export const DEFAULT_TIMEOUT = 30_000;
const DEFAULT_RETRY: RetryPolicy = { maxRetries: 3, delay: 1_000, multiplier: 2, maxDelay: 600_000, jitter: 0.2 };

/** Declares a message type; the payload's type flows from the schema into the handler and into dispatch. */
export function defineMessage<const T extends string, S extends PayloadSchema>(
  definition: MessageType<T, S>,
): MessageType<T, S> {
  return definition;
}

/**
 * @param onFault told of every fault; the definitions at fault are left out, and all others work as they do without them
 * @throws Error naming type and field of every fault, where nobody is told of them
 */
export function createRegistry(
  messageTypes: readonly MessageType[],
  onFault?: (fault: DefinitionFault) => void,
): Registry {
  const { sound, faults } = checkDefinitions(messageTypes);
  if (faults.length > 0 && !onFault) throw new Error(faults.map(({ message }) => message).join("\n"));
  for (const fault of faults) onFault?.(fault);
  const byName = new Map<string, MessageType>();
  for (const messageType of sound) {
    for (const name of [messageType.type, ...messageType.aliases ?? []]) byName.set(name, messageType);
  }
  const sorted = [...sound].sort((a, b) => a.type < b.type ? -1 : 1);
  const registration = (defaults: RetryDefaults = {}) => sorted.map((type) => register(type, defaults));
  return {
    types: [...byName.keys()].sort(),
    find: (type) => byName.get(type),
    registration,
    hash: (defaults) => sha256(JSON.stringify(registration(defaults))),
  };
}

function register(messageType: MessageType, defaults: RetryDefaults): Registration {
  const said = (policy: RetryDefaults = {}) =>
    Object.fromEntries(Object.entries(policy).filter(([, value]) => value !== undefined));
  const retry: RetryPolicy = { ...DEFAULT_RETRY, ...said(defaults), ...said(messageType.retry) };
  return {
    type: messageType.type,
    transport: messageType.route?.transport,
    queue: messageType.route?.queue,
    priority: messageType.route?.priority,
    dispatchable_by: messageType.dispatchableBy ?? "service",
    retry: {
      max_retries: retry.maxRetries,
      delay_ms: retry.delay,
      multiplier: retry.multiplier,
      max_delay_ms: retry.maxDelay,
      jitter: retry.jitter,
    },
    timeout_ms: messageType.timeout ?? DEFAULT_TIMEOUT,
    aliases: [...messageType.aliases ?? []],
  };
}
