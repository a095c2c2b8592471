// The receiving side of a transport: leases on messages, and the outcomes of deliveries.
import type { Returns } from "./db.ts";
import type { Json } from "./json.ts";

/** A claimed message; this worker owns it until its lease ends. */
export type Delivery = Returns<"messenger_claim">[number];

/** The outcome that a worker reports for a delivery. It is recorded only while `fence` is the newest of the message. */
export type Outcome =
  & {
    /** The id of the message. */
    id: string;
    /** The fencing token of the delivery. */
    fence: number;
    /** Milliseconds that the handler took. */
    duration_ms?: number;
  }
  & (
    | { outcome: "completed"; result: Json }
    | ({ outcome: "failed" } & Failure)
    | { outcome: "snoozed"; delay_ms: number }
    | { outcome: "released" }
  );

/** The failure of a delivery. */
export type Failure = {
  /** The error's message, at most 8 KB. */
  error: string;
  /** The error's class or code, at most 128 characters. */
  error_class: string;
  /** The stack of the error and of its causes, at most 8 KB. */
  error_trace?: string;
  /** False: the message becomes a dead letter at once. */
  retryable: boolean;
  /** Milliseconds before the retry; default: by the type's retry policy. */
  delay_ms?: number;
};

/**
 * The database's reply to an outcome: completed, retry, dead, snoozed, released, already, stale, unknown or cancelled.
 * `locked` and `error: <SQLSTATE> <message>`: the row could not be written, and the outcome must be sent again.
 */
export type Settled = { id: string; outcome: string; available_at: string | null };

/** A lease to be extended, with the handler's progress if there is any to report. */
export type Lease = { id: string; fence: number; progress?: Json };

/** The reply for one lease. `stale` and `unknown`: the lease is lost; `locked` and `error: …`: it is still held. */
export type Beat = Returns<"messenger_heartbeat">[number];

/** The messages to claim; default: those of every enabled, unpaused transport and queue. */
export interface Selection {
  transport?: string;
  queues?: string[];
}

export interface ClaimRequest extends Selection {
  worker: string;
  batch: number;
  /** Length of the lease in milliseconds. */
  lease: number;
  types: readonly string[];
  /**
   * Milliseconds, at most 1,000, that an exchange without outcomes may wait for a message; default: 0. An exchange that
   * cannot wait returns at once, and the next one with the same wait may.
   */
  wait?: number;
}

export interface Receiver {
  /** Settles and claims in one round trip and one commit. */
  exchange(outcomes: Outcome[], request: ClaimRequest): Promise<{ settled: Settled[]; claimed: Delivery[] }>;
  settle(outcomes: Outcome[]): Promise<Settled[]>;
  /** Extends the leases by `lease` milliseconds from now. */
  heartbeat(leases: Lease[], lease: number): Promise<Beat[]>;
}

/**
 * The result of `completeWith`. `already`: an earlier call has completed the message; the function did not run again.
 */
export type Completed = { outcome: "completed"; result: Json } | { outcome: "already" };
