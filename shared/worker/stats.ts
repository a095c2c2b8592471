// What a run of a worker did, in numbers.

export interface Stats {
  claimed: number;
  completed: number;
  retried: number;
  dead: number;
  snoozed: number;
  released: number;
  /** Deliveries whose lease was lost: nothing was recorded. */
  stale: number;
  /** Calls that asked for messages. */
  polls: number;
  ms: number;
}

type Counter = Exclude<keyof Stats, "claimed" | "polls" | "ms">;

const COUNTERS: Record<string, Counter> = {
  completed: "completed",
  retry: "retried",
  failed: "retried",
  dead: "dead",
  cancelled: "dead",
  snoozed: "snoozed",
  released: "released",
  stale: "stale",
};

export function newStats(): Stats {
  return { claimed: 0, completed: 0, retried: 0, dead: 0, snoozed: 0, released: 0, stale: 0, polls: 0, ms: 0 };
}

/** Counts a outcome; one that says only `already` or `unknown` counts as what was asked. */
export function count(stats: Stats, result: string, requested = ""): void {
  const counter = COUNTERS[result] ?? COUNTERS[requested];
  if (counter) stats[counter]++;
}
