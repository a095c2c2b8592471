// The consume loop: one an isolate; claims what it has room for, runs it, and settles with the next claim.
import { type Clock, systemClock, WakeSignal } from "../clock.ts";
import { type HandlerRuntime, together } from "./execute.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { DeliveryResult } from "../middleware.ts";
import { Outbox } from "./outbox.ts";
import { newStats, type Stats } from "./stats.ts";
import { startTasks, Task } from "./task.ts";
import type { Delivery, Outcome, Receiver, Selection, Settled } from "../delivery.ts";

const LEASE = 60_000; // ms
const FIRST_PAUSE = 5; // ms
const LATE_RUN = 5_000; // ms for a run that starts in an isolate past its time limit: one that its platform does not recycle
const isolateStart = systemClock.now();

export interface Limits {
  /** Messages a claim. */
  batchSize: number;
  /** Handlers at a time. */
  maxConcurrency: number;
  /** Milliseconds between two polls of an empty queue. */
  pollInterval: number;
  /** Milliseconds to go on polling after the last message. */
  linger: number;
  /** Milliseconds from the isolate's start after which nothing more is claimed. */
  timeLimit: number;
  /** Milliseconds from the run's start after which nothing more is claimed. */
  runLimit?: number;
  /** Messages a run. */
  messageLimit: number;
}

export interface ConsumerOptions extends HandlerRuntime {
  receiver: Receiver;
  /** Unique per isolate, at most 200 characters. */
  worker: string;
  /** Milliseconds; 60,000 unless told. */
  lease?: number;
  /** Milliseconds on the clock; the load of this module unless told. */
  isolateStart?: number;
  /** Empty polls this isolate may spend on lingering; as many as it likes unless told. */
  idlePolls?: number;
  /** Must have happened before the first handler starts; runs beside the first claim. */
  ready?: () => Promise<unknown>;
}

export interface Run {
  readonly id: string;
  readonly done: Promise<Stats>;
}

export interface Consumer {
  /** Starts a run, or joins the one that is going on: then only the selection counts, the limits are the first caller's. */
  wake(limits: Limits, selection?: Selection): Run;
  /** The isolate is about to end: claim no more, hand back what has not started, settle what finishes. */
  stop(): void;
}

export function createConsumer(options: ConsumerOptions): Consumer {
  let current: Loop | undefined;
  let stopped = false;
  const idle = { pollsLeft: options.idlePolls ?? Infinity };
  return {
    wake(limits, selection = {}) {
      if (!current?.join(selection)) {
        current = new Loop(options, limits, selection, idle, stopped);
      }
      return current;
    },
    stop() {
      stopped = true;
      current?.stop();
    },
  };
}

class Loop implements Run {
  readonly id = crypto.randomUUID();
  readonly done: Promise<Stats>;
  readonly #options: ConsumerOptions;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #wake: WakeSignal;
  readonly #outbox: Outbox;
  readonly #heartbeat: Heartbeat;
  readonly #stats = newStats();
  readonly #start: number;
  readonly #claimUntil: number;
  readonly #tasks = new Set<Task>();
  /** A message that killed a worker: it runs with nothing else in flight, and nothing is claimed until it is done. */
  #solo: Task | undefined;
  /** What joined wakes asked for, asked in turn. */
  readonly #selections: Selection[];
  /** Shared by the isolate's runs: polling costs CPU, of which an isolate has little. */
  readonly #idle: { pollsLeft: number };
  #turn = 0;
  #emptyClaims = 0;
  #joins = 0;
  #lastWork: number;
  #nextPoll: number;
  #ready: Promise<unknown> | undefined;
  #lastError: Error | undefined;
  #stopping: boolean;
  #ended = false;

  constructor(
    options: ConsumerOptions,
    limits: Limits,
    selection: Selection,
    idle: { pollsLeft: number },
    stopping: boolean,
  ) {
    const { clock, receiver, log, lease = LEASE } = options;
    this.#options = options;
    this.#limits = limits;
    this.#idle = idle;
    this.#stopping = stopping;
    this.#clock = clock;
    this.#wake = new WakeSignal(clock);
    this.#outbox = new Outbox(receiver, clock, log, this.#stats);
    this.#heartbeat = new Heartbeat({
      receiver,
      clock,
      log,
      lease,
      tasks: this.#tasks,
      onLost: () => this.#wake.notify(),
    });
    this.#selections = [selection];
    this.#start = this.#lastWork = this.#nextPoll = clock.now();
    const isolateEnd = (options.isolateStart ?? isolateStart) + limits.timeLimit;
    this.#claimUntil = Math.min(
      Math.max(isolateEnd, this.#start + LATE_RUN),
      this.#start + (limits.runLimit ?? Infinity),
    );
    this.done = this.#run();
    this.done.catch(() => {}); // the log has it; who awaits `done` hears it too
  }

  /** False when this loop has ended, even if its promise has not told yet: it would not hear the ring. */
  join(selection: Selection): boolean {
    if (this.#ended) return false;
    const requested = JSON.stringify(selection);
    if (!this.#selections.some((known) => JSON.stringify(known) === requested)) this.#selections.push(selection);
    this.#lastWork = this.#nextPoll = this.#clock.now();
    this.#emptyClaims = 0; // each selection is asked once more, even where nobody lingers
    this.#joins++;
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
      if (this.#stats.polls === 0 && this.#lastError) throw this.#lastError; // it never reached the database
    } finally {
      this.#ended = true;
      this.#heartbeat.stop();
    }
    await beats;
    this.#stats.ms = Math.round(this.#clock.now() - this.#start);
    log.info("run ended", { run: this.id, worker, ...this.#stats });
    return this.#stats;
  }

  /** False when there is nothing left to do; the decision and `ended` fall in one turn of the event loop. */
  async #step(): Promise<boolean> {
    this.#attendSolo();
    const room = this.#room();
    const due = this.#clock.now() >= this.#nextPoll;
    if (room > 0 && (due || !this.#outbox.isEmpty)) await this.#exchange(room);
    else if (!this.#outbox.isEmpty) await this.#flush((outcomes) => this.#options.receiver.settle(outcomes));
    else if (room > 0) await this.#wait(Math.min(this.#nextPoll, this.#outbox.nextDue));
    else if (this.#tasks.size > 0) await this.#wait(this.#outbox.nextDue);
    // A worker that is told to stop leaves what cannot be recorded to the end of its lease.
    else if (this.#outbox.nextDue < Infinity && !this.#stopping) await this.#wait(this.#outbox.nextDue);
    else this.#ended = true;
    return !this.#ended;
  }

  #wait(until: number): Promise<void> {
    return this.#wake.wait(until === Infinity ? undefined : until - this.#clock.now());
  }

  /** How many messages to ask for now. */
  #room(): number {
    const { batchSize, maxConcurrency, messageLimit, linger } = this.#limits;
    const now = this.#clock.now();
    if (this.#stopping || this.#solo || now >= this.#claimUntil) return 0;
    const isDry = this.#emptyClaims >= this.#selections.length;
    if (isDry && (now - this.#lastWork >= linger || this.#idle.pollsLeft <= 0)) return 0;
    return Math.min(batchSize, maxConcurrency - this.#tasks.size, messageLimit - this.#stats.claimed);
  }

  async #exchange(batch: number): Promise<void> {
    const { receiver, worker, registry, lease = LEASE } = this.#options;
    const selection = this.#selections[this.#turn++ % this.#selections.length];
    const joins = this.#joins;
    let claimed: Delivery[] = [];
    await this.#flush(async (outcomes) => {
      const request = { worker, batch, lease, types: registry.types, ...selection };
      const [reply] = await Promise.all([receiver.exchange(outcomes, request), this.#ready]);
      this.#stats.polls++;
      claimed = reply.claimed;
      return reply.settled;
    });
    const ready = claimed.map((delivery) => this.#accept(delivery)).filter((task) => task !== undefined);
    for (const tasks of together(ready, this.#options)) this.#launch(tasks);
    const now = this.#clock.now();
    if (claimed.length > 0) {
      this.#emptyClaims = 0;
      this.#lastWork = now;
    } else {
      this.#idle.pollsLeft--;
      if (joins === this.#joins) this.#emptyClaims++; // an answer from before a ring says nothing about what it rang for
    }
    this.#nextPoll = now + this.#pauseAfter(this.#emptyClaims - this.#selections.length);
  }

  /** Short after work, when more is likely, then doubling up to the poll interval. */
  #pauseAfter(emptyRounds: number): number {
    return emptyRounds < 0 ? 0 : Math.min(this.#limits.pollInterval, FIRST_PAUSE * 2 ** emptyRounds);
  }

  async #flush(send: (outcomes: Outcome[]) => Promise<Settled[]>): Promise<void> {
    const onlyClaims = this.#outbox.isEmpty;
    const error = await this.#outbox.flush(send);
    if (!error) return;
    this.#lastError = error;
    if (onlyClaims && !error.transient) this.#stopping = true; // asking again would be rejected again; what runs is still settled
  }

  /** The task, when it may start now. */
  #accept(delivery: Delivery): Task | undefined {
    this.#stats.claimed++;
    // Claimed again while still running here: the first lease has run out, so that handler no longer counts.
    for (const task of this.#tasks) if (task.delivery.id === delivery.id) task.lose();
    const task = new Task(delivery);
    if (this.#stopping) return void this.#release(task);
    this.#tasks.add(task);
    if (!delivery.solo) return task;
    this.#solo = task;
  }

  /** Starts a waiting solo message once it is alone, or lets go of it. */
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
    const results = startTasks(tasks, this.#options, () => this.#heartbeat.progress());
    results.forEach((result, index) => result.then((outcome) => this.#finish(tasks[index], outcome)));
  }

  #finish(task: Task, result: DeliveryResult): void {
    this.#forget(task);
    if (!result) this.#stats.stale++;
    else if (result.recorded) this.#stats.completed++;
    else this.#outbox.add(result);
    this.#lastWork = this.#clock.now();
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
