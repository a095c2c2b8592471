// What app developers use to send: typed by the message's schema, batched without being asked, errors with a remedy.
import type { z } from "zod";
import { Batcher } from "./batcher.ts";
import { connect, type Connection, type Database } from "./db.ts";
import { type DispatchOptions, type IdempotencyMode, toNewMessage } from "./dispatch_request.ts";
import { SymphonyError } from "./errors.ts";
import { isObject, toJson } from "./json.ts";
import type { MessageType, PayloadSchema } from "./message.ts";
import { checkPayload } from "./payload.ts";
import { attemptEach, sendAccepted } from "./refusals.ts";
import type { NewMessage, SendResult, Sent } from "./transports/sender.ts";
import { supabaseSender } from "./transports/supabase.ts";

export type { DispatchOptions, IdempotencyMode, Sent };

/** One element of a batch. */
export interface Dispatch<S extends PayloadSchema = PayloadSchema> {
  messageType: MessageType<string, S>;
  payload: z.input<S>;
  options?: DispatchOptions;
}

export interface Symphony {
  /**
   * Stores a message; delays and windows are milliseconds, dates ISO 8601 with a zone.
   * Never sends twice by itself: after SM_UNAVAILABLE, send again with the same idempotencyKey.
   * @throws SymphonyError
   */
  dispatch<S extends PayloadSchema>(
    messageType: MessageType<string, S>,
    payload: z.input<S>,
    options?: DispatchOptions,
  ): Promise<Sent>;
  /**
   * Stores up to 1000 messages in one call, in order; none for an empty list.
   * @param options.atomic all or none (the default): the first bad one throws; otherwise its place holds a SymphonyError
   */
  dispatchBatch(dispatches: readonly Dispatch[], options?: { atomic?: boolean }): Promise<SendResult[]>;
}

/** @param connection the project's URL and a secret key, or a database that is open already */
export function createSymphony(connection: Connection | Database): Symphony {
  const db = "call" in connection ? connection : connect(connection);
  const sender = supabaseSender(db);
  const batcher = new Batcher(sender);
  return {
    async dispatch(messageType, payload, options) {
      const message = await prepare(messageType, payload, options);
      return await batcher.send(message, JSON.stringify(message).length);
    },
    async dispatchBatch(dispatches, { atomic = true } = {}) {
      const prepared = await attemptEach(
        dispatches,
        (one) => prepare(one.messageType, one.payload, one.options),
        atomic,
      );
      return await sendAccepted(prepared, (messages) => sender.send(messages, atomic));
    },
  };
}

/** The payload is checked, then stored as it was given: the handler parses it again. */
async function prepare(messageType: MessageType, payload: unknown, options: DispatchOptions = {}): Promise<NewMessage> {
  const stored = toJson(payload);
  if (!isObject(stored)) throw new SymphonyError("SM_PAYLOAD_NOT_OBJECT", "The payload is not an object.");
  await checkPayload(messageType, stored);
  return toNewMessage({ message: { type: messageType.type, payload: stored }, options });
}
