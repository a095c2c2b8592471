// A clock that stands still until all code waits for it, then jumps to the next awaited time.
import type { Clock } from "../../shared/clock.ts";

interface Sleeper {
  at: number;
  wake: () => void;
}

export class VirtualClock implements Clock {
  #now = 0;
  readonly #sleepers = new Set<Sleeper>();

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = () => {
        this.#sleepers.delete(sleeper);
        resolve();
      };
      const sleeper = { at: this.#now + ms, wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }

  /** Lets time pass until the promise settles; throws if there is nothing left to wait for. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    promise.then(() => settled = true, () => settled = true);
    for (let idle = 0; !settled;) {
      await new Promise((resolve) => setTimeout(resolve));
      if (settled) break;
      const [next] = [...this.#sleepers].sort((a, b) => a.at - b.at);
      if (next) {
        this.#now = Math.max(this.#now, next.at);
        next.wake();
        idle = 0;
      } else if (++idle > 100) throw new Error("nothing is left to wait for");
    }
    return await promise;
  }

  /** Lets `ms` milliseconds pass. */
  pass(ms: number): Promise<void> {
    return this.until(this.sleep(ms));
  }
}
