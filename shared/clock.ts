// Time as a parameter: milliseconds on a monotonic clock, and a sleep that a test can replace.

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

/** One waiter that can be woken early; a ring nobody waits for is kept for the next wait. */
export class Wake {
  #rung = false;
  #waiting: AbortController | undefined;

  constructor(readonly clock: Clock) {}

  ring(): void {
    this.#rung = true;
    this.#waiting?.abort();
  }

  /** Waits for a ring, at most `ms` milliseconds (without it, as long as it takes). */
  async wait(ms?: number): Promise<void> {
    if (!this.#rung) {
      const waiting = this.#waiting = new AbortController();
      const rung = new Promise<void>((resolve) => waiting.signal.addEventListener("abort", () => resolve()));
      await (ms === undefined ? rung : Promise.race([rung, this.clock.sleep(Math.max(0, ms), waiting.signal)]));
      this.#waiting = undefined;
    }
    this.#rung = false;
  }
}
