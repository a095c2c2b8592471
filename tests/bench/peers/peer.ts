// The interface through which the bench drives every message bus.

export interface Plan {
  /** Messages to handle before the drain ends. */
  messages: number;
  consumers: number;
  /** Messages per claim. */
  batch: number;
  /** Milliseconds after which the drain ends in any case. */
  within: number;
  /** Called with the number of messages that were just handled. */
  onHandled?(count: number): void;
}

export interface Drained {
  handled: number;
  /** From the first claim to the last recorded outcome. */
  ms: number;
}

export interface Peer {
  /** The column of the results. */
  readonly name: string;
  /** The name in the progress output, where two of one column are measured in turn; default: `name`. */
  readonly title?: string;
  /** Deletes every message. */
  empty(): Promise<void>;
  /** Stores messages with the bus's own batch function; delayed messages become due after a day. */
  stock(messages: number, delayed?: boolean): Promise<void>;
  /** One message, one call, one commit; n is in its payload. */
  enqueue(n?: number): Promise<void>;
  /** Many messages, one call, one commit. */
  enqueueBatch(messages: number): Promise<void>;
  /** Claims and completes with handlers that do nothing. */
  drain(plan: Plan): Promise<Drained>;
  /** Milliseconds of each of the given number of polls that find nothing due. */
  emptyPolls(polls: number): Promise<number[]>;
  close(): Promise<void>;
}

/** The payload of every message, on every bus. */
export function payloadOf(n: number): { user: string; template: string; n: number } {
  return { user: "0197f2a0-5d3c-7e11-9c55-d2f1a4b0c001", template: "order-receipt", n };
}

export const DAY = 86_400_000; // ms
