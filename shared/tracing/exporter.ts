// Sends spans to the collector in batches, in the background; spans that cannot be sent are dropped and logged.
import { keepAlive } from "../background.ts";
import { type Clock, WakeSignal } from "../clock.ts";
import type { Log } from "../log.ts";
import type { SpanData, Tracer } from "./span.ts";

const DELAY = 1_000; // ms; the first span of a batch waits this long for others
const MOST_AT_ONCE = 512;
const MOST_WAITING = 2_048; // about 2 MB
const BETWEEN_LOGS = 60_000; // ms

export interface SpanExporterOptions {
  /** Sends one batch; the error that it throws is logged. */
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
  #nextLog = -Infinity;

  constructor(options: SpanExporterOptions) {
    this.#options = options;
    this.#wake = new WakeSignal(options.clock);
  }

  record(span: SpanData): void {
    if (this.#waiting.length >= MOST_WAITING) return this.#lose(1, "There were more spans than could be sent.");
    this.#waiting.push(span);
    if (this.#waiting.length === MOST_AT_ONCE) this.#wake.notify();
    if (!this.#draining) keepAlive(this.#drain());
  }

  /** The isolate is about to end: waiting and later spans are sent at once. */
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
        // All waiting spans: a collector that does not reply must not keep the isolate running batch by batch.
        const lost = spans.length + this.#waiting.splice(0).length;
        this.#lose(lost, error instanceof Error ? error.message : String(error));
      });
    }
    this.#draining = false;
  }

  #lose(count: number, reason: string): void {
    const { clock, log } = this.#options;
    this.#lost += count;
    if (clock.now() < this.#nextLog) return;
    log.warn("spans lost", { lost: this.#lost, reason });
    this.#lost = 0;
    this.#nextLog = clock.now() + BETWEEN_LOGS;
  }
}
