// Outcomes on their way to the database. After a transient error they are sent again, and a rejected one does not delay
// the others. One that cannot be recorded within a lease is dropped: the end of its lease counts as a failed delivery.
import type { Clock } from "../clock.ts";
import { type SymphonyError, toSymphonyError } from "../errors.ts";
import type { Log } from "../log.ts";
import { count, type Stats } from "./stats.ts";
import type { Outcome, Receiver, Settled } from "../delivery.ts";

const FIRST_PAUSE = 100; // ms
const LONGEST_PAUSE = 2_000; // ms; short, because the end of an isolate leaves only seconds for the last outcomes

/** An outcome whose row could not be written: locked by another transaction, or rejected by a trigger or constraint. */
interface Deferred {
  outcome: Outcome;
  since: number;
  due: number;
  pause: number;
}

export class Outbox {
  readonly #outcomes: Outcome[] = [];
  #deferred: Deferred[] = [];
  #failures = 0;

  /** @param lease milliseconds after which a delivery with an outcome has lost its lease: heartbeats exclude it */
  constructor(
    readonly receiver: Receiver,
    readonly clock: Clock,
    readonly log: Log,
    readonly stats: Stats,
    readonly lease: number,
  ) {}

  /** Whether an outcome is to be sent now. */
  get hasDue(): boolean {
    return this.#outcomes.length > 0 || this.nextDue <= this.clock.now();
  }

  /** When an outcome whose row could not be written is due to be sent again; Infinity if there is none. */
  get nextDue(): number {
    return Math.min(Infinity, ...this.#deferred.map(({ due }) => due));
  }

  add(outcome: Outcome): void {
    this.#outcomes.push(outcome);
  }

  /**
   * Passes all outcomes to `send`. After a transient error they stay for the next flush, and a pause follows. Sending
   * an outcome again is safe: the reply to a repetition is `already`.
   * @returns the error, if there was one; if it is not transient and there was no outcome to send, the database rejects
   * the call itself
   */
  async flush(send: (outcomes: Outcome[]) => Promise<Settled[]>): Promise<SymphonyError | undefined> {
    const sent = this.#outcomes.splice(0);
    const repeated = this.#deferred.filter(({ due }) => due <= this.clock.now());
    sent.push(...repeated.map(({ outcome }) => outcome));
    try {
      this.#tally(sent, await send(sent));
      this.#failures = 0;
    } catch (thrown) {
      const error = toSymphonyError(thrown);
      if (error.transient) {
        this.#outcomes.unshift(...sent);
        this.#deferred = this.#deferred.filter((deferred) => !repeated.includes(deferred));
        this.log.warn("outcomes could not be sent, will try again", {
          error: error.cause ?? error,
          outcomes: sent.length,
        });
        await this.#pause();
      } else {
        this.log.error("outcomes rejected together, will be sent one by one", { error, outcomes: sent.length });
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
      // Its lease will run out, which counts as a delivery, so the message is not delivered indefinitely.
      else this.log.error("outcome rejected", { error, id: outcome.id, outcome: outcome.outcome });
    }
  }

  #tally(sent: Outcome[], settled: Settled[]): void {
    const sentById = new Map(sent.map((outcome) => [outcome.id, outcome]));
    for (const { id, outcome: disposition } of settled) {
      const outcome = sentById.get(id);
      if (outcome && isUnwritten(disposition)) {
        this.#defer(outcome, disposition);
        continue;
      }
      this.#deferred = this.#deferred.filter((deferred) => deferred.outcome !== outcome);
      count(this.stats, disposition, outcome?.outcome);
      if (disposition === "stale") this.log.warn("outcome came too late: the lease was lost", { id });
    }
  }

  /** A row that stays locked delays only its own outcome, which is sent again after growing pauses. */
  #defer(outcome: Outcome, reason: string): void {
    const now = this.clock.now();
    const deferred = this.#deferred.find((each) => each.outcome === outcome);
    if (!deferred) {
      this.log.warn("outcome could not be recorded yet, will try again", { id: outcome.id, reason });
      this.#deferred.push({ outcome, since: now, due: now + FIRST_PAUSE, pause: FIRST_PAUSE });
    } else if (now - deferred.since >= this.lease) {
      // Its lease has run out, which counts as a delivery.
      this.log.error("outcome dropped: its row could not be written", { id: outcome.id, reason });
      this.#deferred = this.#deferred.filter((other) => other !== deferred);
    } else {
      deferred.pause = Math.min(LONGEST_PAUSE, 2 * deferred.pause);
      deferred.due = now + deferred.pause;
    }
  }

  async #pause(): Promise<void> {
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures++);
    await this.clock.sleep(pause * (0.5 + Math.random() / 2)); // jitter spreads isolates that failed together
  }
}

function isUnwritten(disposition: string): boolean {
  return disposition === "locked" || disposition.startsWith("error: ");
}
