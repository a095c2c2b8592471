// A message claimed by this isolate: first waiting, then running, until its verdict.
import { CancelRequested, StaleLease } from "../errors.ts";
import { executeTogether, type Execution, type Workshop } from "./execute.ts";
import type { Json } from "../json.ts";
import type { Verdict } from "../middleware.ts";
import type { Delivery, Lease } from "../delivery.ts";

export class Task {
  #execution: Execution | undefined;
  #progress: { value: Json } | undefined;
  #lost = false;
  #cancelled = false;

  constructor(readonly delivery: Delivery) {}

  get lost(): boolean {
    return this.#lost;
  }

  get started(): boolean {
    return this.#execution !== undefined;
  }

  get hasProgress(): boolean {
    return this.#progress !== undefined;
  }

  /** It runs from now on. */
  begin(execution: Execution): Promise<Verdict> {
    this.#execution = execution;
    return execution.verdict;
  }

  /** The handler has something to report; of several values the last one travels. */
  report(value: Json): void {
    this.#progress = { value };
  }

  /** Its lease, with the progress not reported yet. */
  lease(): Lease {
    const { id, fence } = this.delivery;
    return this.#progress ? { id, fence, progress: this.#progress.value } : { id, fence };
  }

  /** The lease's progress has arrived; newer progress stays to be reported. */
  reported(lease: Lease): void {
    if (this.#progress?.value === lease.progress) this.#progress = undefined;
  }

  /** Another worker owns the message: stop the handler, record nothing. */
  lose(): void {
    this.#lost = true;
    this.#execution?.abort(new StaleLease());
  }

  /** Somebody asked to cancel: tell the handler, which still decides its outcome. */
  cancel(): void {
    if (this.#cancelled || !this.#execution) return;
    this.#cancelled = true;
    this.#execution.abort(new CancelRequested());
  }
}

/** Runs the handler of tasks that may run together; `onProgress` is called when there is something to report. One verdict each. */
export function startTasks(tasks: readonly Task[], workshop: Workshop, onProgress: () => void): Promise<Verdict>[] {
  const deliveries = tasks.map(({ delivery }) => delivery);
  const executions = executeTogether(deliveries, workshop, (index, value) => {
    tasks[index].report(value);
    onProgress();
  });
  return tasks.map((task, index) => task.begin(executions[index]));
}
