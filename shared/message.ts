// A message type: its name, payload schema, routing, retry policy and handler; and the registry of all of them.
import type { Args, Database, FunctionName, Functions, Returns, Row, TableName, Tables } from "./db.ts";
import { checkDefinitions, type DefinitionFault } from "./definitions.ts";
import type { Completed } from "./delivery.ts";
import type { BatchContext, BatchItem, Envelope, HandlerContext, SentBy } from "./handler_context.ts";
import type { Json, JsonObject } from "./json.ts";
import type { Fields, Log } from "./log.ts";
import { sha256 } from "./sha256.ts";

// Types that the signatures below name.
export type { Args, Completed, Database, DefinitionFault, Fields, FunctionName, Functions, Json, JsonObject };
export type { BatchContext, BatchItem, Envelope, HandlerContext, Log, Returns, Row, SentBy, TableName, Tables };

/**
 * A zod schema whose input is a JSON object. Only the member that inference needs is named, so schemas of zod and of
 * zod/mini fit alike.
 */
export interface PayloadSchema {
  /** Types that zod keeps for inference. */
  readonly _zod: { readonly input: Record<string, unknown>; readonly output: unknown };
}

/** The payload as it is dispatched: the input of the schema. */
export type PayloadInput<S extends PayloadSchema> = S["_zod"]["input"];

/** The payload as its handler gets it: the output of the schema. */
export type PayloadOutput<S extends PayloadSchema> = S["_zod"]["output"];

/** How failed deliveries are repeated. */
export interface RetryPolicy {
  /** Deliveries after the first one, 0 to 100; default: 3. */
  maxRetries: number;
  /** Milliseconds before the first retry; default: 1,000. */
  delay: number;
  /** Factor from one delay to the next, 1 to 100; default: 2. */
  multiplier: number;
  /** The longest delay, in milliseconds; default: 600,000. */
  maxDelay: number;
  /** Share of the delay that is random, 0 to 1; default: 0.2. */
  jitter: number;
}

/** Where messages of a type are stored if their dispatch does not name it. */
export interface Route {
  /** The name of a row of messenger_transports; default: `supabase`. */
  transport?: string;
  /** 1 to 63 lower-case letters, digits, _ or -; default: `default`. */
  queue?: string;
  /** 1 to 10; 10 is claimed first; default: 5. */
  priority?: number;
}

/** The part of a message type that describes it. */
export interface MessageDeclaration<T extends string, S extends PayloadSchema> {
  /** The name of the type: a letter, then up to 127 letters, digits, _ . : or -. */
  readonly type: T;
  /** Former names; messages that were dispatched under one of them reach this handler. */
  readonly aliases?: readonly string[];
  /** Checks the payload at dispatch and before the handler runs. */
  readonly payload: S;
  /** Transport, queue and priority of messages whose dispatch does not name them. */
  readonly route?: Route;
  /** The retry policy; default per field: the `SYMPHONY_RETRY_*` variables, then the defaults of RetryPolicy. */
  readonly retry?: Partial<RetryPolicy>;
  /** Milliseconds that a handler may take; default: 30,000. */
  readonly timeout?: number;
  /** Who may dispatch the type; services always may. Default: `service`. */
  readonly dispatchableBy?: "service" | "user";
}

/** The part of a message type that handles one message at a time. */
export interface MessageHandler<P> {
  /**
   * Handles one message.
   *
   * @param payload the parsed payload
   * @param ctx envelope, signal, log and database
   * @returns the result to store: JSON of at most 64 KB
   * @throws Unrecoverable, RetryAfter or Snooze; any other error is retried by the policy
   */
  handle(payload: P, ctx: HandlerContext): unknown;
  /** A type has either `handle` or `handleBatch`. */
  handleBatch?: undefined;
}

/** The part of a message type that handles the messages of one claim together. */
export interface MessageBatchHandler<P> {
  /**
   * Handles the messages of one claim, at most `batchSize`. When it returns, messages without a report are completed
   * without a result; when it throws, they fail with the error. A message that may have killed its worker comes alone.
   *
   * @param items the messages
   * @param ctx signal, log and database
   * @throws Unrecoverable, RetryAfter or Snooze; any other error is retried by the policy
   */
  handleBatch(items: readonly BatchItem<P>[], ctx: BatchContext): unknown;
  /** A type has either `handle` or `handleBatch`. */
  handle?: undefined;
}

/** A message type with its handler, as `defineMessage` returns it. */
export type MessageType<T extends string = string, S extends PayloadSchema = PayloadSchema> =
  & MessageDeclaration<T, S>
  & (MessageHandler<PayloadOutput<S>> | MessageBatchHandler<PayloadOutput<S>>);

/** One element of the argument of messenger_register. */
export type Registration = {
  /** The name of the type. */
  type: string;
  /** The route's transport, if the type names one. */
  transport?: string;
  /** The route's queue, if the type names one. */
  queue?: string;
  /** The route's priority, if the type names one. */
  priority?: number;
  /** Who may dispatch the type. */
  dispatchable_by: "service" | "user";
  /** The complete retry policy. */
  retry: { max_retries: number; delay_ms: number; multiplier: number; max_delay_ms: number; jitter: number };
  /** Milliseconds that a handler may take. */
  timeout_ms: number;
  /** Former names. */
  aliases: string[];
};

/** Values for the fields that a type's retry policy leaves out. */
export type RetryDefaults = { [K in keyof RetryPolicy]?: RetryPolicy[K] | undefined };

/** The message types of a deployment, by name. */
export interface Registry {
  /** Every name that a worker may claim, including aliases. */
  readonly types: readonly string[];
  /**
   * Finds a type by its name or one of its aliases.
   *
   * @param type the name
   * @returns the type, or undefined if no type has this name
   */
  find(type: string): MessageType | undefined;
  /**
   * The argument of messenger_register, in the order of the types' names.
   *
   * @param defaults values for the fields that a type's retry policy leaves out
   * @returns one element per type
   */
  registration(defaults?: RetryDefaults): Registration[];
  /**
   * A digest of the registration: equal for equal registries.
   *
   * @param defaults values for the fields that a type's retry policy leaves out
   * @returns SHA-256 in hexadecimal
   */
  hash(defaults?: RetryDefaults): Promise<string>;
}

/** Milliseconds that the handler of a type without `timeout` may take. */
export const DEFAULT_TIMEOUT = 30_000;
const DEFAULT_RETRY: RetryPolicy = { maxRetries: 3, delay: 1_000, multiplier: 2, maxDelay: 600_000, jitter: 0.2 };

/**
 * Declares a message type. The payload's type follows from the schema, in the handler and at dispatch.
 *
 * @param definition name, payload schema and handler; routing, retries and timeout are optional
 * @returns the definition, which `createRegistry` checks
 *
 * @example
 * ```ts
 * import { z } from "zod";
 * import { defineMessage } from "./shared/message.ts";
 *
 * export default defineMessage({
 *   type: "InvoicePaid",
 *   payload: z.object({ invoice: z.uuid(), cents: z.int().min(1) }),
 *   route: { queue: "billing" },
 *   retry: { maxRetries: 5, delay: 2_000 }, // milliseconds
 *   async handle({ invoice, cents }, ctx) {
 *     await ctx.completeWith("billing.book_payment", { invoice, cents });
 *   },
 * });
 * ```
 */
export function defineMessage<const T extends string, S extends PayloadSchema>(
  definition: MessageType<T, S>,
): MessageType<T, S> {
  return definition;
}

/**
 * Collects message types and checks their definitions.
 *
 * @param messageTypes the types of this deployment
 * @param onFault gets every fault. Definitions with a fault are left out of the registry; all others work.
 * @returns the registry of the valid definitions
 * @throws Error naming type and field of every fault, if there is no `onFault`
 *
 * @example
 * ```ts
 * import { z } from "zod";
 * import { createRegistry, defineMessage } from "./shared/message.ts";
 *
 * const ping = defineMessage({ type: "Ping", payload: z.object({}), handle: () => "pong" });
 * const registry = createRegistry([ping], ({ type, field, message }) => console.error(type, field, message));
 * console.log(registry.find("Ping") === ping, registry.types);
 * ```
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
  const defined = (policy: RetryDefaults = {}) =>
    Object.fromEntries(Object.entries(policy).filter(([, value]) => value !== undefined));
  const retry: RetryPolicy = { ...DEFAULT_RETRY, ...defined(defaults), ...defined(messageType.retry) };
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
