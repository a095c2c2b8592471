// The counters of a worker's run.

export interface Stats {
  claimed: number;
  completed: number;
  retried: number;
  /** Deliveries after which the message failed finally. */
  dead: number;
  /** Deliveries of messages whose cancellation was requested, other than completed ones. */
  cancelled: number;
  snoozed: number;
  released: number;
  /** Deliveries whose lease was lost, so that nothing was recorded. */
  stale: number;
  /** Calls that could claim messages. */
  polls: number;
  /** Duration of the run, in milliseconds. */
  ms: number;
}

type Counter = Exclude<keyof Stats, "claimed" | "polls" | "ms">;

const COUNTERS: Record<string, Counter> = {
  completed: "completed",
  retry: "retried",
  failed: "retried",
  dead: "dead",
  cancelled: "cancelled",
  snoozed: "snoozed",
  released: "released",
  stale: "stale",
};

export function newStats(): Stats {
  const outcomes = { completed: 0, retried: 0, dead: 0, cancelled: 0, snoozed: 0, released: 0, stale: 0 };
  return { claimed: 0, ...outcomes, polls: 0, ms: 0 };
}

/**
 * Counts one delivery.
 * @param disposition the database's reply
 * @param reported the outcome that was sent; it counts if the disposition is `already` or `unknown`
 */
export function count(stats: Stats, disposition: string, reported = ""): void {
  const counter = COUNTERS[disposition] ?? COUNTERS[reported];
  if (counter) stats[counter]++;
}
