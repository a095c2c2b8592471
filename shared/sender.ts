// The sending side of a transport: new messages in, one result each out.
import type { SymphonyError } from "./errors.ts";
import type { Json, JsonObject } from "./json.ts";

/** An element of messenger_dispatch_batch, with the names of its SQL parameters; durations are SQL intervals. */
export type NewMessage = {
  type: string;
  payload: JsonObject;
  queue?: string;
  priority?: number;
  available_at?: string;
  delay?: string;
  idempotency_key?: string;
  idempotency_mode?: string;
  idempotency_window?: string;
  ordering_key?: string;
  transport?: string;
  max_retries?: number;
  expires_at?: string;
  headers?: JsonObject;
  metadata?: JsonObject;
};

/** The stored message's values; those of the first message for a duplicate. */
export interface Sent {
  /** The id of the message, a UUID. */
  id: string;
  /** Whether an earlier message has the same idempotency key, so that nothing was stored. */
  duplicate: boolean;
  /** pending, processing, completed or failed. */
  status: string;
  /** The name of the transport. */
  transport: string;
  /** The name of the queue. */
  queue: string;
  /** When the message is due, ISO 8601; null while an ordered message waits for its predecessor. */
  available_at: string | null;
  /** The handler's result, if it ran inside the call (transport `sync`). */
  result?: Json;
}

/** The stored message, or the error of the one that was rejected. */
export type SendResult = Sent | SymphonyError;

export interface Sender {
  /**
   * Stores new messages.
   * @param atomic true: all or none, and the first bad message throws; false: the result of a bad message is its error
   * @returns one result per message, in the same order
   */
  send(messages: NewMessage[], atomic: boolean): Promise<SendResult[]>;
}
