// The targets of the hot path. "must" decides whether a target is met; "aim" is what the design can reach.
import type { Target } from "./line.ts";

export const GRAPHILE_WORKER = "graphile-worker";
export const GRAPHILE_WORKER_SQL = "graphile-worker SQL (lean)";
export const PG_BOSS = "pg-boss";
/** In the order of the columns. */
export const PEERS: readonly string[] = [GRAPHILE_WORKER, GRAPHILE_WORKER_SQL, PG_BOSS];

/** Bytes of write-ahead log per message of pgmq at 100 x 4, measured elsewhere: pgmq is not on npm. */
export const PGMQ_WAL = 528;

export type Batch = 1 | 10 | 100;

/** Four consumers that claim batches, completed messages deleted; the key is the batch. */
export const CLAIM_DELETED: Record<Batch, readonly Target[]> = {
  1: [
    { peer: GRAPHILE_WORKER, must: 1.1, aim: 1.3 },
    { of: "cpu", peer: GRAPHILE_WORKER_SQL, must: 1.5, aim: 1.2 },
  ],
  10: [
    { peer: GRAPHILE_WORKER, must: 1.35, aim: 1.6 },
    { of: "cpu", peer: GRAPHILE_WORKER_SQL, must: 1.4, aim: 1.1 },
  ],
  100: [
    { peer: GRAPHILE_WORKER, must: 1.4, aim: 2 },
    { of: "cpu", peer: GRAPHILE_WORKER_SQL, must: 1.3, aim: 0.9 },
    { of: "wal", must: 0.6 * PGMQ_WAL, aim: 0.5 * PGMQ_WAL },
  ],
};

/** The same with completed messages kept. */
export const CLAIM_KEPT: Record<Batch, readonly Target[]> = {
  1: [{ peer: PG_BOSS, must: 1.5, aim: 1.7 }],
  10: [{ peer: PG_BOSS, must: 1.5, aim: 1.7 }],
  100: [{ peer: PG_BOSS, must: 1.2, aim: 1.7 }],
};

export const ENQUEUE_ONE: readonly Target[] = [{ peer: GRAPHILE_WORKER_SQL, must: 1, aim: 1.2 }];
export const ENQUEUE_THOUSAND: readonly Target[] = [{ peer: GRAPHILE_WORKER_SQL, must: 0.9, aim: 1.1 }];
export const CONCURRENT_SENDS: readonly Target[] = [{ peer: PG_BOSS, must: 5, aim: 10 }];

export const DUE_BESIDE_DELAYED: readonly Target[] = [{ peer: GRAPHILE_WORKER, must: 1.2, aim: 1.4 }];
export const EMPTY_POLL_DELAYED: readonly Target[] = [{ must: 0.6, aim: 0.3 }];
export const EMPTY_POLL_QUEUES: readonly Target[] = [{ must: 5, aim: 1 }];

export const HELD_SNAPSHOT_RATE: readonly Target[] = [{ peer: GRAPHILE_WORKER, must: 6, aim: 8 }];
export const HELD_SNAPSHOT_DECLINE: readonly Target[] = [{ must: 0.95, aim: 1 }];

/** Milliseconds from a dispatch to its handler over HTTP with an active worker, by messages per second. */
export const ACTIVE_HTTP: Record<5 | 100, Record<"p50" | "p99", readonly Target[]>> = {
  100: { p50: [{ must: 4, aim: 3 }], p99: [{ must: 12, aim: 8 }] },
  5: { p50: [{ must: 5, aim: 4 }], p99: [{ must: 12, aim: 8 }] },
};
/** The same with database connections at both ends, as graphile-worker has them. */
export const ACTIVE_DIRECT: readonly Target[] = [{ peer: GRAPHILE_WORKER, must: 1, aim: 0.8 }];

export const CPU_OF_LONG_QUEUE: readonly Target[] = [{ must: 1.05, aim: 1 }];

/** Edge functions meet fresh sessions often, so a session's first calls must not be slow. */
export const FIRST_CALL: readonly Target[] = [{ must: 3 }];
/** With no active worker the message waits for a wake-up by pg_net. */
export const IDLE_HTTP: readonly Target[] = [{ must: 250, aim: 100 }];
export const SLOWEST_MONITOR_CALL: readonly Target[] = [{ must: 100, aim: 50 }];
