// The sizes of the long run and of a smoke run, which only shows that every row runs.

export interface Sizes {
  /** Repetitions of a call; its figure is their median. */
  calls: number;
  queues: { count: number; futureEach: number; due: number };
  types: { few: number; many: number };
  deadLetters: { stored: number; requeued: number; resolved: number };
  /** Finished messages in the table, messages handled beside them, and rounds of that. */
  kept: { few: number; many: number; handled: number; rounds: number };
  metrics: { days: number; types: number };
  prune: { finished: number; unfinished: number };
}

export const FULL: Sizes = {
  calls: 11,
  queues: { count: 5_000, futureEach: 20, due: 100 },
  types: { few: 10, many: 10_000 },
  deadLetters: { stored: 1_000_000, requeued: 1_000, resolved: 100_000 },
  kept: { few: 10_000, many: 10_000_000, handled: 30_000, rounds: 5 },
  metrics: { days: 365, types: 20 },
  prune: { finished: 100_000, unfinished: 1_000_000 },
};

export const QUICK: Sizes = {
  calls: 3,
  queues: { count: 200, futureEach: 2, due: 10 },
  types: { few: 10, many: 200 },
  deadLetters: { stored: 5_000, requeued: 100, resolved: 500 },
  kept: { few: 1_000, many: 20_000, handled: 500, rounds: 1 },
  metrics: { days: 10, types: 3 },
  prune: { finished: 1_000, unfinished: 10_000 },
};
