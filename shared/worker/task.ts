// A message claimed by this isolate: first waiting, then running, until its outcome.
import { CancelRequested, StaleLease } from "../errors.ts";
import { executeTogether, type Execution, type HandlerRuntime } from "./execute.ts";
import type { Json } from "../json.ts";
import type { DeliveryResult } from "../middleware.ts";
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
  begin(execution: Execution): Promise<DeliveryResult> {
    this.#execution = execution;
    return execution.result;
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

/** Runs the handler of tasks that may run together; `onProgress` is called when there is something to report. One outcome each. */
export function startTasks(
  tasks: readonly Task[],
  runtime: HandlerRuntime,
  onProgress: () => void,
): Promise<DeliveryResult>[] {
  const deliveries = tasks.map(({ delivery }) => delivery);
  const executions = executeTogether(deliveries, runtime, (index, value) => {
    tasks[index].report(value);
    onProgress();
  });
  return tasks.map((task, index) => task.begin(executions[index]));
}
