// Deliveries of one type handled together: who has come, who has been reported, and when the handler's signal aborts.
import { CancelRequested, StaleLease } from "../errors.ts";
import type { BatchItem, HandlerContext, MessageType } from "../message.ts";
import type { HandlerRuntime } from "./run_handler.ts";

interface Member {
  item: BatchItem;
  report: PromiseWithResolvers<unknown>;
}

export class Batch {
  readonly #members = new Map<number, Member>();
  /** Members that are not reported yet. */
  readonly #open = new Set<Member>();
  /** Deliveries of which it is not known yet whether they come: their payload or their middleware may turn them away. */
  readonly #expected: Set<number>;
  readonly #controller = new AbortController();
  #messageType: MessageType | undefined;

  constructor(size: number, readonly runtime: HandlerRuntime) {
    this.#expected = new Set(Array(size).keys());
  }

  /** Waits for the others, then for what is reported of this one. */
  join(index: number, messageType: MessageType, payload: unknown, ctx: HandlerContext): Promise<unknown> {
    this.#messageType = messageType;
    const report = Promise.withResolvers<unknown>();
    const member = { item: { ...ctx, payload, complete: report.resolve, fail: report.reject }, report };
    this.#members.set(index, member);
    this.#open.add(member);
    const close = () => void this.#open.delete(member);
    report.promise.then(close, close);
    ctx.signal.addEventListener("abort", () => this.#abortWhenAllAre(ctx.signal.reason));
    this.leave(index);
    return report.promise;
  }

  /** Nobody need wait for this delivery: it has joined or has its outcome. */
  leave(index: number): void {
    if (this.#expected.delete(index) && this.#expected.size === 0) this.#run();
  }

  async #run(): Promise<void> {
    const members = [...this.#members].sort(([a], [b]) => a - b).map(([, member]) => member);
    const items = members.map(({ item }) => item).filter(({ signal }) =>
      !signal.aborted || signal.reason instanceof CancelRequested
    );
    const messageType = this.#messageType;
    if (items.length === 0 || !messageType) return;
    const { log, db } = this.runtime;
    const ctx = { signal: this.#controller.signal, log: log.with({ type: messageType.type, batch: items.length }), db };
    try {
      await messageType.handleBatch?.(items, ctx);
      for (const { report } of members) report.resolve(undefined);
    } catch (error) {
      // One lost lease is no reason to say nothing of the others: they would wait for the end of theirs.
      const reason = error instanceof StaleLease ? new Error("Another message of the batch lost its lease.") : error;
      for (const { report } of members) report.reject(reason);
    }
  }

  #abortWhenAllAre(reason: unknown): void {
    if ([...this.#open].every(({ item }) => item.signal.aborted)) this.#controller.abort(reason);
  }
}
