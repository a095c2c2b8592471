// A message that this isolate has claimed, until its outcome.
import { CancelRequested, StaleLease } from "../errors.ts";
import { executeGroup, type Execution, type HandlerRuntime } from "./execute.ts";
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

  /** Its handler has been started. */
  begin(execution: Execution): Promise<DeliveryResult> {
    this.#execution = execution;
    return execution.result;
  }

  /** Keeps progress for the next heartbeat; of several values the last one counts. */
  report(value: Json): void {
    this.#progress = { value };
  }

  /** Its lease, with the progress that has not been sent yet. */
  lease(): Lease {
    const { id, fence } = this.delivery;
    return this.#progress ? { id, fence, progress: this.#progress.value } : { id, fence };
  }

  /** The lease's progress has been stored; newer progress is kept. */
  reported(lease: Lease): void {
    if (this.#progress?.value === lease.progress) this.#progress = undefined;
  }

  /** Another worker owns the message: aborts the handler; nothing is recorded. */
  lose(): void {
    this.#lost = true;
    this.#execution?.abort(new StaleLease());
  }

  /** Cancellation was requested: aborts the handler's signal; the handler still decides its outcome. */
  cancel(): void {
    if (this.#cancelled || !this.#execution) return;
    this.#cancelled = true;
    this.#execution.abort(new CancelRequested());
  }
}

/**
 * Starts the handler of tasks that may run together.
 * @param onProgress called when a task has progress for the next heartbeat
 * @returns one outcome per task, in the same order
 */
export function startTasks(
  tasks: readonly Task[],
  runtime: HandlerRuntime,
  onProgress: () => void,
): Promise<DeliveryResult>[] {
  const deliveries = tasks.map(({ delivery }) => delivery);
  const executions = executeGroup(deliveries, runtime, (index, value) => {
    tasks[index].report(value);
    onProgress();
  });
  return tasks.map((task, index) => task.begin(executions[index]));
}
