// The pace of a run's polls: their waits in the database, short pauses after work, longer ones while its queues are
// empty, and the end of lingering.

const FIRST_PAUSE = 5; // ms
const LONGEST_WAIT = 1_000; // ms; the database rejects a longer one
const SHORTEST_WAIT = 200; // ms; a wait needs a call before it, so a shorter one costs more than ordinary polls

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

/** A poll that has ended. */
export interface Poll {
  /** The number of messages it claimed. */
  claimed: number;
  /** The number it could have claimed; after fewer ones no more are due, and a pause follows. */
  batch: number;
  /** The wake-ups before the poll: an empty reply to a poll that began before a wake-up does not count. */
  wakes: number;
  /** The number of selections that are polled in turn. */
  selections: number;
  /** Milliseconds that it could have waited in the database; no pause follows if it has. */
  wait: number;
  /** Milliseconds that it took. */
  ms: number;
}

export class PollPace {
  #emptyPolls = 0;
  /** Polls since the last wait or full batch: the next one pauses longer. */
  #pauses = 0;
  /** Whether the last poll requested a wait and claimed nothing. */
  #hasRequestedWait = false;
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

  /** Wake-ups so far, for `Poll.wakes`. */
  get wakes(): number {
    return this.#wakes;
  }

  /** Whether every selection was empty at its last poll, and the time or the budget for lingering is used up. */
  isExhausted(selections: number, now: number): boolean {
    if (this.#emptyPolls < selections) return false;
    return now - this.#lastWork >= this.limits.linger || this.budget.pollsLeft <= 0;
  }

  /**
   * Milliseconds that a poll may wait in the database; 0 if it must return at once. The last polls of a run do not
   * wait: they withdraw the announcement of a wait, so that a dispatch after them wakes a worker.
   * @param until when the run claims no more
   */
  wait(until: number, now: number): number {
    const left = Math.min(until, this.#lastWork + this.limits.linger) - now;
    // With a longer poll interval, polls that wait would be more, not fewer.
    const mayWait = left >= SHORTEST_WAIT && this.limits.pollInterval <= LONGEST_WAIT && this.budget.pollsLeft > 1;
    return mayWait ? Math.floor(Math.min(left, LONGEST_WAIT)) : 0;
  }

  /** A wake-up has come: polls at once, every selection at least once, even without a linger. */
  wake(now: number): void {
    this.#lastWork = this.#nextPoll = now;
    this.#emptyPolls = this.#pauses = 0;
    this.#wakes++;
  }

  /** A handler has finished. */
  worked(now: number): void {
    this.#lastWork = now;
  }

  /** A poll has ended. */
  polled({ claimed, batch, wakes, selections, wait, ms }: Poll, now: number): void {
    const hasWaited = wait > 0 && ms >= wait / 2;
    if (claimed > 0) {
      this.#emptyPolls = 0;
      this.#pauses = claimed < batch ? 1 : 0;
      this.#lastWork = now;
    } else {
      this.budget.pollsLeft--;
      if (wakes === this.#wakes) {
        this.#emptyPolls++;
        // The first poll that requests a wait cannot wait; the next one can if it comes soon.
        const isFirst = wait > 0 && !this.#hasRequestedWait;
        this.#pauses = hasWaited ? 0 : isFirst ? 1 : this.#pauses + 1;
      }
    }
    this.#hasRequestedWait = wait > 0 && claimed === 0;
    this.#nextPoll = now + this.#pauseAfter(this.#pauses - selections);
  }

  /** Doubles from a short pause, while more messages are likely, up to the poll interval. */
  #pauseAfter(emptyRounds: number): number {
    return emptyRounds < 0 ? 0 : Math.min(this.limits.pollInterval, FIRST_PAUSE * 2 ** emptyRounds);
  }
}
