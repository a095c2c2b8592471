// The sizes of the full bench and of a smoke run, which only shows that every row runs.

export interface Sizes {
  rounds: number;
  /** Rounds of the rows that take longest: those that first store a million messages, and the held snapshot. */
  heavyRounds: number;
  singles: number;
  batches: number;
  concurrentSends: number;
  /** Messages of a drain, by the batch size of a claim. */
  drains: Record<1 | 10 | 100, number>;
  delayed: number;
  due: number;
  polls: number;
  /** Queues with one delayed message each. */
  queues: number;
  /** Pending messages, and the number of them that are handled. */
  pending: { small: number; large: number; handled: number };
  /** Milliseconds for which a snapshot is held, and the length of the first and last part that are compared. */
  snapshot: { held: number; part: number };
  /** Messages per round while a worker is active, by messages per second. */
  active: Record<5 | 100, number>;
  /** Messages per round while no worker is active. */
  idle: number;
  /** Milliseconds for which a worker waits for messages. */
  waiting: number;
  /** Fresh sessions per round. */
  sessions: number;
  /** Finished messages in the database when the monitor is called. */
  kept: number;
  /** Milliseconds after which a drain ends with the messages handled so far. */
  within: number;
}

export const FULL: Sizes = {
  rounds: 3,
  heavyRounds: 3,
  singles: 2_000,
  batches: 40,
  concurrentSends: 10_000,
  drains: { 1: 2_000, 10: 10_000, 100: 30_000 },
  delayed: 1_000_000,
  due: 60_000,
  polls: 50,
  queues: 5_000,
  pending: { small: 100_000, large: 1_000_000, handled: 30_000 },
  snapshot: { held: 45_000, part: 10_000 },
  active: { 5: 100, 100: 1_000 },
  idle: 10,
  waiting: 10_000,
  sessions: 20,
  kept: 1_000_000,
  within: 30_000,
};

export const QUICK: Sizes = {
  rounds: 1,
  heavyRounds: 1,
  singles: 50,
  batches: 2,
  concurrentSends: 200,
  drains: { 1: 50, 10: 200, 100: 1_000 },
  delayed: 5_000,
  due: 1_000,
  polls: 10,
  queues: 100,
  pending: { small: 1_000, large: 5_000, handled: 500 },
  snapshot: { held: 3_000, part: 1_000 },
  active: { 5: 5, 100: 100 },
  idle: 3,
  waiting: 1_000,
  sessions: 3,
  kept: 20_000,
  within: 10_000,
};
