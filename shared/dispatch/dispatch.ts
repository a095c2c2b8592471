// Dispatch: checks the payload, chooses the transport, and sends the message.
import type { Database } from "../db.ts";
import { type DispatchRequest, parseDispatch, toNewMessage } from "./request.ts";
import { SymphonyError } from "../errors.ts";
import type { JsonObject } from "../json.ts";
import type { Route } from "../message.ts";
import { checkPayload } from "../payload.ts";
import { accepted, attemptEach, sendAccepted } from "./attempt_each.ts";
import { traceSender } from "../tracing/instrument.ts";
import type { TransportTypes } from "./transport_types.ts";
import { transports } from "../transports/index.ts";
import type { NewMessage, Sender, SendResult, Sent } from "../sender.ts";
import { supabaseSender } from "../transports/supabase.ts";
import type { InlineOptions } from "../transports/sync.ts";
import { userSender } from "../transports/user.ts";

const DEFAULT_TRANSPORT = "supabase"; // as in SQL
const USER_FIELDS = new Set(["idempotencyKey", "delay"]);

export interface DispatcherOptions extends InlineOptions {
  transportTypes: TransportTypes;
  /** Values for messages of types that are not registered in code. */
  defaults: Route & { maxRetries?: number };
  /** Resolves once the message types of the code are registered. */
  ready: () => Promise<void>;
}

/** Trace headers of the call that are stored with the message; headers of the request override them. */
export type Trace = JsonObject;

export interface Dispatcher {
  /** @throws SymphonyError if the message is rejected */
  dispatch(request: DispatchRequest, trace: Trace): Promise<Sent>;
  /** @param requests unparsed, so that without `atomic` each one is rejected by itself */
  dispatchBatch(requests: readonly unknown[], atomic: boolean, trace: Trace): Promise<SendResult[]>;
  /** @param db the database with the rights of the user */
  dispatchAsUser(request: DispatchRequest, trace: Trace, db: Database): Promise<Sent>;
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { db, registry, defaults, transportTypes, ready, tracer } = options;
  const serviceSender = supabaseSender(db);

  const withDefaults = (message: NewMessage): NewMessage =>
    registry.find(message.type) ? message : {
      ...message,
      transport: message.transport ?? defaults.transport,
      queue: message.queue ?? defaults.queue,
      priority: message.priority ?? defaults.priority,
      max_retries: message.max_retries ?? defaults.maxRetries,
    };

  const prepare = async (request: DispatchRequest, trace: Trace): Promise<NewMessage> => {
    const message = toNewMessage(request);
    const messageType = registry.find(message.type);
    if (messageType) await checkPayload(messageType, message.payload);
    return withDefaults({ ...message, headers: withTrace(trace, message.headers) });
  };

  const factoryOf = async (message: NewMessage) => {
    const name = message.transport ?? registry.find(message.type)?.route?.transport ?? DEFAULT_TRANSPORT;
    const type = await transportTypes.typeOf(name) ?? DEFAULT_TRANSPORT; // the database rejects one without a row
    const factory = Object.hasOwn(transports, type) ? transports[type] : undefined;
    if (factory) return factory;
    throw new SymphonyError(
      "SM_TRANSPORT",
      `The transport ${name} has the type ${type}, which is not configured here.`,
    );
  };

  const sendAll = async (messages: NewMessage[], atomic: boolean, store: Sender): Promise<SendResult[]> => {
    const [factories] = await Promise.all([attemptEach(messages, factoryOf, atomic), ready()]);
    const distinct = new Set(factories.filter(accepted));
    if (atomic && distinct.size > 1) {
      throw new SymphonyError("SM_TRANSPORT", "An atomic batch goes to one type of transport.", {
        hint: "Send one batch for each type, or set atomic to false.",
      });
    }
    const results = new Map<number, SendResult>();
    for (const factory of distinct) {
      const indexes = [...factories.keys()].filter((index) => factories[index] === factory);
      const sent = await traceSender(factory(store, options), tracer).send(
        indexes.map((index) => messages[index]),
        atomic,
      );
      indexes.forEach((index, n) => results.set(index, sent[n]));
    }
    return factories.map((factory, index) => accepted(factory) ? results.get(index) ?? missingResult() : factory);
  };

  const sendOne = async (message: NewMessage, store: Sender): Promise<Sent> => {
    const [result] = await sendAll([message], false, store);
    if (result instanceof SymphonyError) throw result;
    return result;
  };

  return {
    dispatch: async (request, trace) => await sendOne(await prepare(request, trace), serviceSender),

    async dispatchBatch(requests, atomic, trace) {
      const prepared = await attemptEach(requests, (request) => prepare(parseDispatch(request), trace), atomic);
      return await sendAccepted(prepared, (messages) => sendAll(messages, atomic, serviceSender));
    },

    async dispatchAsUser(request, trace, userDb) {
      for (const field of Object.keys(request.options ?? {})) {
        if (!USER_FIELDS.has(field)) {
          throw new SymphonyError("SM_FIELD_FORBIDDEN", `Users may not set options.${field}.`);
        }
      }
      const message = toNewMessage(request);
      const messageType = registry.find(message.type);
      // For users any other type must look as if it did not exist, so its schema is not checked.
      if (messageType?.dispatchableBy === "user") await checkPayload(messageType, message.payload);
      const { tracestate: _, ...headers } = trace; // messenger_user_dispatch accepts traceparent and x-request-id only
      return await sendOne({ ...message, headers }, userSender(userDb));
    },
  };
}

/** A message with its own traceparent belongs to another trace, so the call's tracestate is left out. */
function withTrace({ tracestate, ...trace }: Trace, headers: JsonObject = {}): JsonObject {
  const isInCallersTrace = tracestate !== undefined && !Object.hasOwn(headers, "traceparent");
  return { ...trace, ...(isInCallersTrace && { tracestate }), ...headers };
}

function missingResult(): SymphonyError {
  return new SymphonyError("SM_INTERNAL", "The transport returned no result for the message.");
}
