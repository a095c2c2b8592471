// How much is measured: the full bench, or a smoke run that only shows that every row runs.

export interface Sizes {
  rounds: number;
  /** Rounds of the rows that first store a million messages. */
  heavyRounds: number;
  singles: number;
  batches: number;
  concurrentSends: number;
  /** Messages of a drain by the batch of a claim. */
  drains: Record<1 | 10 | 100, number>;
  delayed: number;
  due: number;
  polls: number;
  /** Pending messages, and how many of them are handled. */
  pending: { small: number; large: number; handled: number };
  /** Milliseconds a snapshot is held, and of the first and the last part that are compared. */
  snapshot: { held: number; part: number };
  /** Messages at 100 a second, by round. */
  awake: number;
  asleep: number;
  /** Finished messages beside which the monitor is asked. */
  kept: number;
  /** Milliseconds after which a drain ends with what it has. */
  within: number;
}

export const FULL: Sizes = {
  rounds: 5,
  heavyRounds: 3,
  singles: 2_000,
  batches: 40,
  concurrentSends: 10_000,
  drains: { 1: 2_000, 10: 10_000, 100: 30_000 },
  delayed: 1_000_000,
  due: 60_000,
  polls: 50,
  pending: { small: 100_000, large: 1_000_000, handled: 30_000 },
  snapshot: { held: 45_000, part: 10_000 },
  awake: 1_000,
  asleep: 20,
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
  pending: { small: 1_000, large: 5_000, handled: 500 },
  snapshot: { held: 3_000, part: 1_000 },
  awake: 100,
  asleep: 3,
  kept: 20_000,
  within: 10_000,
};
