// Deliveries of one type that a handler gets together: collects them, runs the handler, and keeps each one's report.
import { CancelRequested, StaleLease } from "../errors.ts";
import type { BatchItem, HandlerContext, MessageType } from "../message.ts";
import type { HandlerRuntime } from "./run_handler.ts";

interface Member {
  item: BatchItem;
  report: PromiseWithResolvers<unknown>;
}

export class Batch {
  readonly #members = new Map<number, Member>();
  /** Members without a report. */
  readonly #open = new Set<Member>();
  /** Deliveries that may still join: an invalid payload or a middleware may keep them from it. */
  readonly #expected: Set<number>;
  readonly #controller = new AbortController();
  #messageType: MessageType | undefined;

  constructor(size: number, readonly runtime: HandlerRuntime) {
    this.#expected = new Set(Array(size).keys());
  }

  /** Waits until all deliveries have joined or left, then for the report of this one. */
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

  /** The others need not wait for this delivery: it has joined or has its outcome. */
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
      // One lost lease must not leave the others without an outcome: they would wait for the end of their leases.
      const reason = error instanceof StaleLease ? new Error("Another message of the batch lost its lease.") : error;
      for (const { report } of members) report.reject(reason);
    }
  }

  #abortWhenAllAre(reason: unknown): void {
    if ([...this.#open].every(({ item }) => item.signal.aborted)) this.#controller.abort(reason);
  }
}
