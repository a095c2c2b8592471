// The receiving side of a transport: leases on messages, and what became of them.
import type { Returns } from "./db.ts";
import type { Json } from "./json.ts";

/** A claimed message, ours until its lease ends. */
export type Delivery = Returns<"messenger_claim">[number];

/** What a delivery came to; recorded only under its fence. */
export type Outcome =
  & { id: string; fence: number; duration_ms?: number }
  & (
    | { outcome: "completed"; result: Json }
    | ({ outcome: "failed" } & Failure)
    | { outcome: "snoozed"; delay_ms: number }
    | { outcome: "released" }
  );

export type Failure = {
  error: string;
  error_class: string;
  error_trace?: string;
  retryable: boolean;
  /** Not earlier than this; without it the type's retry policy decides. */
  delay_ms?: number;
};

/**
 * What the database made of an outcome: completed, retry, dead, snoozed, released, already, stale, unknown or cancelled;
 * `locked` or `error: <SQLSTATE> <message>` when the row could not be written and the outcome is to be sent again.
 */
export type Settled = { id: string; outcome: string; available_at: string | null };

export type Lease = { id: string; fence: number; progress?: Json };

/** The reply for one lease: `stale` or `unknown` means it is no longer ours, `locked` or `error: …` that it still is. */
export type Beat = Returns<"messenger_heartbeat">[number];

/** Which messages to ask for; nothing named means every enabled, unpaused transport and queue. */
export interface Selection {
  transport?: string;
  queues?: string[];
}

export interface ClaimRequest extends Selection {
  worker: string;
  batch: number;
  /** Milliseconds. */
  lease: number;
  types: readonly string[];
}

export interface Receiver {
  /** Settles and claims in one round trip and one commit. */
  exchange(outcomes: Outcome[], request: ClaimRequest): Promise<{ settled: Settled[]; claimed: Delivery[] }>;
  settle(outcomes: Outcome[]): Promise<Settled[]>;
  /** Extends the leases by `lease` milliseconds from now. */
  heartbeat(leases: Lease[], lease: number): Promise<Beat[]>;
}

/** `already`: this delivery was completed before and the reply was lost; nothing ran again. */
export type Completed = { outcome: "completed"; result: Json } | { outcome: "already" };
