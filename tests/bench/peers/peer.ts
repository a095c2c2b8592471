// What the bench asks of every message bus it measures.

export interface Plan {
  /** Messages to handle before it ends. */
  messages: number;
  consumers: number;
  /** Messages a claim. */
  batch: number;
  /** Milliseconds after which it ends anyway. */
  within: number;
  /** Called with how many were just handled. */
  onHandled?(count: number): void;
}

export interface Drained {
  handled: number;
  /** From the first claim to the last recorded outcome. */
  ms: number;
}

export interface Peer {
  readonly name: string;
  /** Forgets every message. */
  empty(): Promise<void>;
  /** Stores messages through the bus's own function for many at once; delayed ones are not due for a day. */
  stock(messages: number, delayed?: boolean): Promise<void>;
  /** One message, one call, one commit; n is in its payload. */
  enqueue(n?: number): Promise<void>;
  /** Many messages, one call, one commit. */
  enqueueBatch(messages: number): Promise<void>;
  /** Claims and completes with handlers that do nothing. */
  drain(plan: Plan): Promise<Drained>;
  /** Milliseconds of each of so many asks that find nothing due. */
  emptyPolls(polls: number): Promise<number[]>;
  close(): Promise<void>;
}

/** What every message carries, on every bus. */
export function payloadOf(n: number): { user: string; template: string; n: number } {
  return { user: "0197f2a0-5d3c-7e11-9c55-d2f1a4b0c001", template: "order-receipt", n };
}

export const DAY = 86_400_000; // ms
