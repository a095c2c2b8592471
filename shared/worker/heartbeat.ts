// The heartbeat: extends the leases of claimed messages, reports progress, and receives lost leases and cancellations.
import { type Clock, WakeSignal } from "../clock.ts";
import { toSymphonyError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Task } from "./task.ts";
import type { Receiver } from "../delivery.ts";

const PROGRESS_INTERVAL = 1_000; // ms between two calls that only report progress

export interface HeartbeatOptions {
  receiver: Receiver;
  clock: Clock;
  log: Log;
  /** Milliseconds. A beat follows after a third of it, after a failed beat after a twelfth. */
  lease: number;
  /** The tasks whose leases are held now. */
  tasks: ReadonlySet<Task>;
  /** Called after each beat that the database replied to: a task may have lost its lease. */
  onBeat: () => void;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #wake: WakeSignal;
  #stopped = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#wake = new WakeSignal(options.clock);
  }

  /** Beats until stopped. */
  async run(): Promise<void> {
    const { clock, lease, tasks } = this.#options;
    let last = clock.now();
    let due = last + lease / 3;
    while (!this.#stopped) {
      await this.#wake.wait(due - clock.now());
      const reports = [...tasks].some((task) => task.hasProgress);
      if (reports) due = Math.min(due, last + PROGRESS_INTERVAL);
      if (this.#stopped || clock.now() < due) continue;
      const beaten = await this.#beat();
      last = clock.now();
      due = last + lease / (beaten ? 3 : 12);
    }
  }

  /** A task has progress to report. */
  progress(): void {
    this.#wake.notify();
  }

  stop(): void {
    this.#stopped = true;
    this.#wake.notify();
  }

  async #beat(): Promise<boolean> {
    const { receiver, lease, log, onBeat } = this.#options;
    // By task, not by id: a message that was settled and claimed again meanwhile must not lose its new lease.
    const beating = new Map([...this.#options.tasks].map((task) => [task.delivery.id, { task, lease: task.lease() }]));
    if (beating.size === 0) return true;
    try {
      const beats = await receiver.heartbeat([...beating.values()].map((held) => held.lease), lease);
      for (const { id, outcome, cancel_requested } of beats) {
        const held = beating.get(id);
        held?.task.reported(held.lease);
        if (outcome === "stale" || outcome === "unknown") held?.task.lose();
        else if (cancel_requested) held?.task.cancel();
      }
      onBeat();
      return true;
    } catch (thrown) {
      const error = toSymphonyError(thrown);
      log.warn("heartbeat failed", { error: error.cause ?? error });
      return false;
    }
  }
}
