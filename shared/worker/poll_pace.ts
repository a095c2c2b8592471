// The pace of a run's polls: short pauses after work, longer ones while its queues are empty, and the end of lingering.

const FIRST_PAUSE = 5; // ms

export interface PollLimits {
  /** Milliseconds between two polls of an empty queue. */
  pollInterval: number;
  /** Milliseconds to go on polling after the last message. */
  linger: number;
}

/** Empty polls that the runs of an isolate may still make: polling costs CPU, of which an isolate has little. */
export interface IdleBudget {
  pollsLeft: number;
}

export class PollPace {
  #emptyPolls = 0;
  #wakes = 0;
  #lastWork: number;
  #nextPoll: number;

  /** @param now milliseconds on the clock of all methods */
  constructor(readonly limits: PollLimits, readonly budget: IdleBudget, now: number) {
    this.#lastWork = this.#nextPoll = now;
  }

  /** When the next poll is due. */
  get nextPoll(): number {
    return this.#nextPoll;
  }

  /** Wake-ups so far, to be passed to `polled`. */
  get wakes(): number {
    return this.#wakes;
  }

  /** Whether every selection was empty at its last poll, and the time or the budget for lingering is used up. */
  isExhausted(selections: number, now: number): boolean {
    if (this.#emptyPolls < selections) return false;
    return now - this.#lastWork >= this.limits.linger || this.budget.pollsLeft <= 0;
  }

  /** A wake-up has come: polls at once, every selection at least once, even without a linger. */
  wake(now: number): void {
    this.#lastWork = this.#nextPoll = now;
    this.#emptyPolls = 0;
    this.#wakes++;
  }

  /** A handler has finished. */
  worked(now: number): void {
    this.#lastWork = now;
  }

  /**
   * A poll has ended.
   * @param claimed the number of messages it claimed
   * @param wakes the wake-ups before the poll: an empty reply to a poll that began before a wake-up does not count
   * @param selections the number of selections that are polled in turn
   */
  polled(claimed: number, wakes: number, selections: number, now: number): void {
    if (claimed > 0) {
      this.#emptyPolls = 0;
      this.#lastWork = now;
    } else {
      this.budget.pollsLeft--;
      if (wakes === this.#wakes) this.#emptyPolls++;
    }
    this.#nextPoll = now + this.#pauseAfter(this.#emptyPolls - selections);
  }

  /** Doubles from a short pause, while more messages are likely, up to the poll interval. */
  #pauseAfter(emptyRounds: number): number {
    return emptyRounds < 0 ? 0 : Math.min(this.limits.pollInterval, FIRST_PAUSE * 2 ** emptyRounds);
  }
}
