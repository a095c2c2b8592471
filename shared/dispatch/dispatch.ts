// From a producer's request to a stored message: check the payload, choose the transport, send.
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

const FIRST_CHOICE = "supabase"; // the transport of whatever says nothing else, as in SQL
const USER_FIELDS = new Set(["idempotencyKey", "delay"]);

export interface DispatcherOptions extends InlineOptions {
  transportTypes: TransportTypes;
  /** For types that are not registered in code. */
  defaults: Route & { maxRetries?: number };
  /** Resolves once the database knows the code's message types. */
  ready: () => Promise<void>;
}

/** Headers of the call that travel with the message, under those that the request names itself. */
export type Trace = JsonObject;

export interface Dispatcher {
  /** Throws the error. */
  dispatch(request: DispatchRequest, trace: Trace): Promise<Sent>;
  /** @param requests not parsed yet: without `atomic` each is rejected alone */
  dispatchBatch(requests: readonly unknown[], atomic: boolean, trace: Trace): Promise<SendResult[]>;
  /** @param db the database as the user sees it */
  dispatchAsUser(request: DispatchRequest, trace: Trace, db: Database): Promise<Sent>;
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { db, registry, defaults, transportTypes, ready, tracer } = options;
  const rows = supabaseSender(db);

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
    const name = message.transport ?? registry.find(message.type)?.route?.transport ?? FIRST_CHOICE;
    const type = await transportTypes.typeOf(name) ?? FIRST_CHOICE; // one without a row is the database's to reject
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
      const places = [...factories.keys()].filter((place) => factories[place] === factory);
      const sent = await traceSender(factory(store, options), tracer).send(
        places.map((place) => messages[place]),
        atomic,
      );
      places.forEach((place, index) => results.set(place, sent[index]));
    }
    return factories.map((factory, place) => accepted(factory) ? results.get(place) ?? UNANSWERED : factory);
  };

  const sendOne = async (message: NewMessage, store: Sender): Promise<Sent> => {
    const [result] = await sendAll([message], false, store);
    if (result instanceof SymphonyError) throw result;
    return result;
  };

  return {
    dispatch: async (request, trace) => await sendOne(await prepare(request, trace), rows),

    async dispatchBatch(requests, atomic, trace) {
      const prepared = await attemptEach(requests, (request) => prepare(parseDispatch(request), trace), atomic);
      return await sendAccepted(prepared, (messages) => sendAll(messages, atomic, rows));
    },

    async dispatchAsUser(request, trace, userDb) {
      for (const field of Object.keys(request.options ?? {})) {
        if (!USER_FIELDS.has(field)) {
          throw new SymphonyError("SM_FIELD_FORBIDDEN", `Users may not set options.${field}.`);
        }
      }
      const message = toNewMessage(request);
      const messageType = registry.find(message.type);
      // Only a type that users may dispatch answers about its schema: any other must look as if it did not exist.
      if (messageType?.dispatchableBy === "user") await checkPayload(messageType, message.payload);
      const { tracestate: _, ...headers } = trace; // messenger_user_dispatch accepts traceparent and x-request-id only
      return await sendOne({ ...message, headers }, userSender(userDb));
    },
  };
}

/** A message that names its own traceparent belongs to that trace, to which the call's tracestate says nothing. */
function withTrace({ tracestate, ...trace }: Trace, headers: JsonObject = {}): JsonObject {
  const isCallers = tracestate !== undefined && !Object.hasOwn(headers, "traceparent");
  return { ...trace, ...(isCallers && { tracestate }), ...headers };
}

const UNANSWERED = new SymphonyError("SM_INTERNAL", "The transport gave no answer for the message.");
