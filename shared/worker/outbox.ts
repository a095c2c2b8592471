// Outcomes on their way to the database: none is lost, none is recorded twice, and one bad one holds up no other.
import type { Clock } from "../clock.ts";
import { type SymphonyError, toSymphonyError } from "../errors.ts";
import type { Log } from "../log.ts";
import { count, type Stats } from "./stats.ts";
import type { Outcome, Receiver, Settled } from "../delivery.ts";

const FIRST_PAUSE = 100; // ms
const LONGEST_PAUSE = 2_000; // ms; short, because the end of an isolate leaves only seconds for the last outcomes

/** A lease is not extended any more once its outcome is here, so by then it has run out. */
const GIVE_UP_AFTER = 60_000; // ms

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

  constructor(readonly receiver: Receiver, readonly clock: Clock, readonly log: Log, readonly stats: Stats) {}

  /** Nothing is to be sent now. */
  get isEmpty(): boolean {
    return this.#outcomes.length === 0 && this.nextDue > this.clock.now();
  }

  /** When an outcome whose row could not be written is to be sent again; Infinity where there is none. */
  get nextDue(): number {
    return Math.min(Infinity, ...this.#deferred.map(({ due }) => due));
  }

  add(outcome: Outcome): void {
    this.#outcomes.push(outcome);
  }

  /**
   * Hands everything finished so far to `send`; what could not be delivered stays for the next time, after a pause.
   * Recording is idempotent (a repetition is answered `already`), so repeating it is safe.
   * @returns what went wrong, if anything did; an error that is not transient rejects the call, not only an outcome,
   * when there was no outcome to send
   */
  async flush(send: (outcomes: Outcome[]) => Promise<Settled[]>): Promise<SymphonyError | undefined> {
    const sent = this.#outcomes.splice(0);
    const again = this.#deferred.filter(({ due }) => due <= this.clock.now());
    sent.push(...again.map(({ outcome }) => outcome));
    try {
      this.#tally(sent, await send(sent));
      this.#failures = 0;
    } catch (thrown) {
      const error = toSymphonyError(thrown);
      if (error.transient) {
        this.#outcomes.unshift(...sent);
        this.#deferred = this.#deferred.filter((deferred) => !again.includes(deferred));
        this.log.warn("exchange failed, will try again", { error: error.cause ?? error, outcomes: sent.length });
        await this.#pause();
      } else {
        this.log.error("exchange rejected", { error, outcomes: sent.length });
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
      // Its lease will run out, which counts as a delivery, so the message cannot come back indefinitely.
      else this.log.error("outcome rejected", { error, id: outcome.id, outcome: outcome.outcome });
    }
  }

  #tally(sent: Outcome[], settled: Settled[]): void {
    const sentById = new Map(sent.map((outcome) => [outcome.id, outcome]));
    for (const { id, outcome } of settled) {
      const mine = sentById.get(id);
      if (mine && isUnwritten(outcome)) {
        this.#defer(mine, outcome);
        continue;
      }
      this.#deferred = this.#deferred.filter((deferred) => deferred.outcome !== mine);
      count(this.stats, outcome, mine?.outcome);
      if (outcome === "stale") this.log.warn("outcome came too late: another worker owns the message", { id });
    }
  }

  /** A row that stays locked keeps nothing else waiting: only its own outcome is sent again, later and later. */
  #defer(outcome: Outcome, reason: string): void {
    const now = this.clock.now();
    const known = this.#deferred.find((deferred) => deferred.outcome === outcome);
    if (!known) {
      this.log.warn("outcome could not be recorded yet, will try again", { id: outcome.id, reason });
      this.#deferred.push({ outcome, since: now, due: now + FIRST_PAUSE, pause: FIRST_PAUSE });
    } else if (now - known.since >= GIVE_UP_AFTER) {
      // Its lease has run out, which counts as a delivery.
      this.log.error("outcome given up: its row could not be written", { id: outcome.id, reason });
      this.#deferred = this.#deferred.filter((deferred) => deferred !== known);
    } else {
      known.pause = Math.min(LONGEST_PAUSE, 2 * known.pause);
      known.due = now + known.pause;
    }
  }

  async #pause(): Promise<void> {
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures++);
    await this.clock.sleep(pause * (0.5 + Math.random() / 2)); // jittered: isolates that failed together come back apart
  }
}

function isUnwritten(outcome: string): boolean {
  return outcome === "locked" || outcome.startsWith("error: ");
}
