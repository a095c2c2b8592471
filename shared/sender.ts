// The sending side of a transport: new messages in, one result each out.
import type { SymphonyError } from "./errors.ts";
import type { Json, JsonObject } from "./json.ts";

/** An element of messenger_dispatch_batch: SQL's parameter names, intervals as SQL writes them. */
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

/** The stored message's values, also for a duplicate. */
export interface Sent {
  id: string;
  duplicate: boolean;
  status: string;
  transport: string;
  queue: string;
  /** Null while an ordered message waits for its predecessor. */
  available_at: string | null;
  /** What the handler returned, where it ran inside the call. */
  result?: Json;
}

export type SendResult = Sent | SymphonyError;

export interface Sender {
  /**
   * @param atomic all or none: the first bad message throws; otherwise its place holds the error
   * @returns one result a message, in the same order
   */
  send(messages: NewMessage[], atomic: boolean): Promise<SendResult[]>;
}
