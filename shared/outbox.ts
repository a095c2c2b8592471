// Outcomes on their way to the database: none is lost, none is recorded twice, and one bad one holds up no other.
import type { Clock } from "./clock.ts";
import { type SymphonyError, toSymphonyError } from "./errors.ts";
import type { Log } from "./log.ts";
import { count, type Stats } from "./stats.ts";
import type { Outcome, Receiver, Settled } from "./transports/receiver.ts";

const FIRST_PAUSE = 100; // ms
const LONGEST_PAUSE = 2_000; // ms; short, because the end of an isolate leaves only seconds for the last outcomes

export class Outbox {
  readonly #outcomes: Outcome[] = [];
  #failures = 0;

  constructor(readonly receiver: Receiver, readonly clock: Clock, readonly log: Log, readonly stats: Stats) {}

  get isEmpty(): boolean {
    return this.#outcomes.length === 0;
  }

  add(outcome: Outcome): void {
    this.#outcomes.push(outcome);
  }

  /**
   * Hands everything finished so far to `send`; what could not be delivered stays for the next time, after a pause.
   * Recording is idempotent (a repetition is answered `already`), so repeating it is safe.
   * @returns what went wrong, if anything did; an error that is not transient refuses the call, not only an outcome,
   * when there was no outcome to send
   */
  async flush(send: (outcomes: Outcome[]) => Promise<Settled[]>): Promise<SymphonyError | undefined> {
    const sent = this.#outcomes.splice(0);
    try {
      this.#tally(sent, await send(sent));
      this.#failures = 0;
    } catch (thrown) {
      const error = toSymphonyError(thrown);
      if (error.transient) {
        this.#outcomes.unshift(...sent);
        this.log.warn("exchange failed, will try again", { error: error.cause ?? error, outcomes: sent.length });
        await this.#pause();
      } else {
        this.log.error("exchange refused", { error, outcomes: sent.length });
        for (const outcome of sent) await this.#settleAlone(outcome);
      }
      return error;
    }
  }

  async #settleAlone(outcome: Outcome): Promise<void> {
    try {
      this.#tally([outcome], await this.receiver.settle([outcome]));
    } catch (thrown) {
      const error = toSymphonyError(thrown);
      if (error.transient) this.#outcomes.push(outcome);
      // Its lease will run out, which counts as a delivery, so the message cannot come back for ever.
      else this.log.error("outcome refused", { error, id: outcome.id, outcome: outcome.outcome });
    }
  }

  #tally(sent: Outcome[], settled: Settled[]): void {
    const sentById = new Map(sent.map((outcome) => [outcome.id, outcome]));
    for (const { id, outcome } of settled) {
      count(this.stats, outcome, sentById.get(id)?.outcome);
      if (outcome === "stale") this.log.warn("outcome came too late: another worker owns the message", { id });
    }
  }

  async #pause(): Promise<void> {
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures++);
    await this.clock.sleep(pause * (0.5 + Math.random() / 2)); // jittered: isolates that failed together come back apart
  }
}
