// Spans on their way to the collector: in batches, beside the work and never in its way; what cannot be sent is lost, and noted.
import { keepAlive } from "../background.ts";
import { type Clock, WakeSignal } from "../clock.ts";
import type { Log } from "../log.ts";
import type { SpanData, Tracer } from "./span.ts";

const DELAY = 1_000; // ms that the first span of a batch waits for others
const MOST_AT_ONCE = 512;
const MOST_WAITING = 2_048; // about 2 MB
const BETWEEN_NOTES = 60_000; // ms

export interface SpanExporterOptions {
  /** Sends one batch; what it throws is the reason to be logged. */
  send(spans: readonly SpanData[]): Promise<void>;
  clock: Clock;
  log: Log;
}

export class SpanExporter implements Tracer {
  readonly #options: SpanExporterOptions;
  readonly #wake: WakeSignal;
  #waiting: SpanData[] = [];
  #draining = false;
  #hurried = false;
  #lost = 0;
  #nextNote = -Infinity;

  constructor(options: SpanExporterOptions) {
    this.#options = options;
    this.#wake = new WakeSignal(options.clock);
  }

  record(span: SpanData): void {
    if (this.#waiting.length >= MOST_WAITING) return this.#lose(1, "More spans came than could be sent.");
    this.#waiting.push(span);
    if (this.#waiting.length === MOST_AT_ONCE) this.#wake.notify();
    if (!this.#draining) keepAlive(this.#drain());
  }

  /** The isolate is about to end: what waits leaves at once, and so does what comes yet. */
  hurry(): void {
    this.#hurried = true;
    this.#wake.notify();
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    while (this.#waiting.length > 0) {
      if (!this.#hurried && this.#waiting.length < MOST_AT_ONCE) await this.#wake.wait(DELAY);
      const spans = this.#waiting.splice(0, MOST_AT_ONCE);
      await this.#options.send(spans).catch((error: unknown) => {
        // All that waits: a collector that does not answer must not keep the isolate alive batch by batch.
        const lost = spans.length + this.#waiting.splice(0).length;
        this.#lose(lost, error instanceof Error ? error.message : String(error));
      });
    }
    this.#draining = false;
  }

  #lose(count: number, reason: string): void {
    const { clock, log } = this.#options;
    this.#lost += count;
    if (clock.now() < this.#nextNote) return;
    log.warn("spans lost", { lost: this.#lost, reason });
    this.#lost = 0;
    this.#nextNote = clock.now() + BETWEEN_NOTES;
  }
}
