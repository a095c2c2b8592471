// The consume loop, one per isolate: claims messages, runs their handlers, and settles them with the next claim.
import { type Clock, systemClock, WakeSignal } from "../clock.ts";
import type { Delivery, Outcome, Receiver, Selection, Settled } from "../delivery.ts";
import type { DeliveryResult } from "../middleware.ts";
import { groupForHandlers, type HandlerRuntime } from "./execute.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Outbox } from "./outbox.ts";
import { type IdleBudget, type PollLimits, PollPace } from "./poll_pace.ts";
import { newStats, type Stats } from "./stats.ts";
import { startTasks, Task } from "./task.ts";

const LEASE = 60_000; // ms
const LATE_RUN = 5_000; // ms to claim in a run that starts after the time limit, where isolates are not replaced
const isolateStart = systemClock.now();

export interface Limits extends PollLimits {
  /** Messages per claim. */
  batchSize: number;
  /** Handlers at a time. */
  maxConcurrency: number;
  /** Milliseconds from the isolate's start after which nothing more is claimed. */
  timeLimit: number;
  /** Milliseconds from the run's start after which nothing more is claimed; default: no limit. */
  runLimit?: number;
  /** Messages per run. */
  messageLimit: number;
}

export interface ConsumerOptions extends HandlerRuntime {
  receiver: Receiver;
  /** Unique per isolate, at most 200 characters. */
  worker: string;
  /** Milliseconds; default: 60,000. */
  lease?: number;
  /** Start of the isolate, in milliseconds of `clock`; default: when this module was loaded. */
  isolateStart?: number;
  /** Empty polls that this isolate may make while it lingers; default: no limit. */
  idlePolls?: number;
  /** Starts together with the first claim; no handler starts before it has ended. */
  ready?: () => Promise<unknown>;
}

export interface Run {
  readonly id: string;
  /** Rejects if no claim succeeded. */
  readonly done: Promise<Stats>;
}

export interface Consumer {
  /** Starts a run. An active run also polls this selection; its limits stay those of its first caller. */
  wake(limits: Limits, selection?: Selection): Run;
  /**
   * The isolate is about to end: claims no more, releases messages that have not started, settles those that finish.
   */
  stop(): void;
}

export function createConsumer(options: ConsumerOptions): Consumer {
  let loop: Loop | undefined;
  let run: Run;
  let stopped = false;
  const budget = { pollsLeft: options.idlePolls ?? Infinity };
  return {
    wake(limits, selection = {}) {
      if (loop?.join(selection)) return run;
      loop = new Loop(options, limits, selection, budget, stopped);
      return run = loop.start();
    },
    stop() {
      stopped = true;
      loop?.stop();
    },
  };
}

class Loop {
  readonly #id = crypto.randomUUID();
  readonly #options: ConsumerOptions;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #wake: WakeSignal;
  readonly #pace: PollPace;
  readonly #outbox: Outbox;
  readonly #heartbeat: Heartbeat;
  readonly #stats = newStats();
  readonly #start: number;
  readonly #claimUntil: number;
  readonly #tasks = new Set<Task>();
  /** A message that may have killed a worker: it runs alone, and nothing is claimed until it is done. */
  #solo: Task | undefined;
  /** The selections of all wake-ups, polled in turn. */
  readonly #selections: Selection[];
  #turn = 0;
  #ready: Promise<unknown> | undefined;
  #lastError: Error | undefined;
  #stopping: boolean;
  #ended = false;

  constructor(
    options: ConsumerOptions,
    limits: Limits,
    selection: Selection,
    budget: IdleBudget,
    stopping: boolean,
  ) {
    const { clock, receiver, log, lease = LEASE } = options;
    this.#options = options;
    this.#limits = limits;
    this.#stopping = stopping;
    this.#clock = clock;
    this.#wake = new WakeSignal(clock);
    this.#outbox = new Outbox(receiver, clock, log, this.#stats, lease);
    this.#heartbeat = new Heartbeat({
      receiver,
      clock,
      log,
      lease,
      tasks: this.#tasks,
      onBeat: () => this.#wake.notify(),
    });
    this.#selections = [selection];
    this.#start = clock.now();
    this.#pace = new PollPace(limits, budget, this.#start);
    const isolateEnd = (options.isolateStart ?? isolateStart) + limits.timeLimit;
    this.#claimUntil = Math.min(
      Math.max(isolateEnd, this.#start + LATE_RUN),
      this.#start + (limits.runLimit ?? Infinity),
    );
  }

  start(): Run {
    const done = this.#run();
    done.catch(() => {}); // logged; without a caller that awaits it, the rejection would end the isolate
    return { id: this.#id, done };
  }

  /** False if the loop has ended, even if `done` has not resolved yet: it would not poll again. */
  join(selection: Selection): boolean {
    if (this.#ended) return false;
    const text = JSON.stringify(selection);
    if (!this.#selections.some((other) => JSON.stringify(other) === text)) this.#selections.push(selection);
    this.#pace.wake(this.#clock.now());
    this.#wake.notify();
    return true;
  }

  stop(): void {
    this.#stopping = true;
    this.#wake.notify();
  }

  async #run(): Promise<Stats> {
    const { log, worker } = this.#options;
    const beats = this.#heartbeat.run();
    this.#ready = this.#options.ready?.().catch((error: unknown) => log.error("not ready", { error }));
    try {
      while (await this.#step());
      if (this.#stats.polls === 0 && this.#lastError) throw this.#lastError; // no claim succeeded
    } finally {
      this.#ended = true;
      this.#heartbeat.stop();
    }
    await beats;
    this.#stats.ms = Math.round(this.#clock.now() - this.#start);
    log.info("run ended", { run: this.#id, worker, ...this.#stats });
    return this.#stats;
  }

  /** False if nothing is left to do; the decision and `#ended` are made in one turn of the event loop. */
  async #step(): Promise<boolean> {
    this.#attendSolo();
    const room = this.#room();
    const due = this.#clock.now() >= this.#pace.nextPoll;
    if (room > 0 && (due || this.#outbox.hasDue)) await this.#exchange(room);
    else if (this.#outbox.hasDue) await this.#flush((outcomes) => this.#options.receiver.settle(outcomes));
    else if (room > 0) await this.#wait(Math.min(this.#pace.nextPoll, this.#outbox.nextDue));
    else if (this.#tasks.size > 0) await this.#wait(this.#outbox.nextDue);
    // A worker that is stopping does not wait for outcomes that cannot be recorded: their leases run out.
    else if (this.#outbox.nextDue < Infinity && !this.#stopping) await this.#wait(this.#outbox.nextDue);
    else this.#ended = true;
    return !this.#ended;
  }

  #wait(until: number): Promise<void> {
    return this.#wake.wait(until === Infinity ? undefined : until - this.#clock.now());
  }

  /** The number of messages to claim now. */
  #room(): number {
    const { batchSize, maxConcurrency, messageLimit } = this.#limits;
    const now = this.#clock.now();
    if (this.#stopping || this.#solo || now >= this.#claimUntil) return 0;
    if (this.#pace.isExhausted(this.#selections.length, now)) return 0;
    return Math.min(batchSize, maxConcurrency - this.#tasks.size, messageLimit - this.#stats.claimed);
  }

  async #exchange(batch: number): Promise<void> {
    const { receiver, worker, registry, lease = LEASE } = this.#options;
    const selection = this.#selections[this.#turn++ % this.#selections.length];
    const { wakes } = this.#pace;
    const begin = this.#clock.now();
    const wait = this.#mayWait() ? this.#pace.wait(this.#claimUntil, begin) : 0;
    let claimed: Delivery[] = [];
    await this.#flush(async (outcomes) => {
      const request = { worker, batch, lease, types: registry.types, wait, ...selection };
      const [reply] = await Promise.all([receiver.exchange(outcomes, request), this.#ready]);
      this.#stats.polls++;
      claimed = reply.claimed;
      return reply.settled;
    });
    const ready = claimed.map((delivery) => this.#accept(delivery)).filter((task) => task !== undefined);
    for (const tasks of groupForHandlers(ready, this.#options)) this.#launch(tasks);
    const now = this.#clock.now();
    const selections = this.#selections.length;
    this.#pace.polled({ claimed: claimed.length, batch, wakes, selections, wait, ms: now - begin }, now);
  }

  /**
   * Whether nothing needs this loop before a wait in the database ends. An exchange with outcomes does not wait, but
   * announces that the next one will.
   */
  #mayWait(): boolean {
    return this.#tasks.size === 0 && this.#selections.length === 1 && this.#outbox.nextDue === Infinity;
  }

  async #flush(send: (outcomes: Outcome[]) => Promise<Settled[]>): Promise<void> {
    const onlyClaims = !this.#outbox.hasDue;
    const error = await this.#outbox.flush(send);
    if (!error) return;
    this.#lastError = error;
    // The same claim would be rejected again. Handlers that run are still settled.
    if (onlyClaims && !error.transient) this.#stopping = true;
  }

  /** The task of a claimed message; undefined if it must not start now. */
  #accept(delivery: Delivery): Task | undefined {
    this.#stats.claimed++;
    // Claimed again while still running here: the first lease has run out, so that delivery has no outcome.
    for (const task of this.#tasks) if (task.delivery.id === delivery.id) task.lose();
    const task = new Task(delivery);
    if (this.#stopping) return void this.#release(task);
    this.#tasks.add(task);
    if (!delivery.solo) return task;
    this.#solo = task;
  }

  /** Starts a waiting solo message once nothing else runs, or drops it. */
  #attendSolo(): void {
    const solo = this.#solo;
    if (!solo || solo.started) return;
    if (solo.lost || this.#stopping) {
      this.#forget(solo);
      if (solo.lost) this.#stats.stale++;
      else this.#release(solo);
    } else if (this.#tasks.size === 1) this.#launch([solo]);
  }

  #launch(tasks: Task[]): void {
    const outcomes = startTasks(tasks, this.#options, () => this.#heartbeat.progress());
    outcomes.forEach((ended, index) => ended.then((outcome) => this.#finish(tasks[index], outcome)));
  }

  #finish(task: Task, outcome: DeliveryResult): void {
    this.#forget(task);
    if (!outcome) this.#stats.stale++;
    else if (outcome.recorded) this.#stats.completed++;
    else this.#outbox.add(outcome);
    this.#pace.worked(this.#clock.now());
    this.#wake.notify();
  }

  #forget(task: Task): void {
    this.#tasks.delete(task);
    if (this.#solo === task) this.#solo = undefined;
  }

  #release({ delivery: { id, fence } }: Task): void {
    this.#outbox.add({ id, fence, outcome: "released" });
  }
}
