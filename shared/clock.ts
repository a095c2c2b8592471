// Time as a parameter: milliseconds on a monotonic clock, and a sleep that a test can replace.

/** A source of time. */
export interface Clock {
  /** Milliseconds since some fixed moment; never steps back. */
  now(): number;
  /** Resolves after `ms`, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener("abort", done);
    }),
};

/** Wakes one waiter early; a notification without a waiter is kept for the next wait. */
export class WakeSignal {
  #notified = false;
  #waiting: AbortController | undefined;

  constructor(readonly clock: Clock) {}

  notify(): void {
    this.#notified = true;
    this.#waiting?.abort();
  }

  /** Waits for a notification, at most `ms` milliseconds; without a limit if `ms` is undefined. */
  async wait(ms?: number): Promise<void> {
    if (!this.#notified) {
      const waiting = this.#waiting = new AbortController();
      const notified = new Promise<void>((resolve) => waiting.signal.addEventListener("abort", () => resolve()));
      await (ms === undefined ? notified : Promise.race([notified, this.clock.sleep(Math.max(0, ms), waiting.signal)]));
      this.#waiting = undefined;
    }
    this.#notified = false;
  }
}
