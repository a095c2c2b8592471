// A receiver over an array: delivers messages, records every call, and fails on request.
import type { Beat, ClaimRequest, Delivery, Lease, Outcome, Receiver, Settled } from "../../../shared/delivery.ts";

export class MemoryReceiver implements Receiver {
  readonly pending: Delivery[] = [];
  readonly requests: ClaimRequest[] = [];
  readonly settled: Outcome[] = [];
  readonly beats: Lease[][] = [];
  /** Errors to throw, one per call of exchange or settle; undefined lets a call succeed. */
  readonly failures: (Error | undefined)[] = [];
  /** Called before the end of an exchange or settlement. */
  before: (outcomes: Outcome[]) => void | Promise<void> = () => {};
  /** The database's disposition of an outcome, if it differs from the requested one. */
  reply: (outcome: Outcome) => string | undefined = () => undefined;
  beat: (lease: Lease) => Partial<Beat> = () => ({});
  #sequence = 0;

  add(messageType: string, body: Delivery["body"] = {}, fields: Partial<Delivery> = {}): Delivery {
    const delivery: Delivery = {
      id: `message-${++this.#sequence}`,
      message_type: messageType,
      queue_name: "default",
      body,
      headers: {},
      metadata: {},
      priority: 5,
      retry_count: 0,
      max_retries: 3,
      fence: 1,
      lock_expires_at: "",
      created_at: "",
      solo: false,
      ...fields,
    };
    this.pending.push(delivery);
    return delivery;
  }

  async exchange(outcomes: Outcome[], request: ClaimRequest): Promise<{ settled: Settled[]; claimed: Delivery[] }> {
    const settled = await this.settle(outcomes);
    this.requests.push(request);
    const head = this.pending.findIndex((delivery) => delivery.solo);
    const take = head === 0 ? 1 : head === -1 ? request.batch : Math.min(head, request.batch);
    return { settled, claimed: this.pending.splice(0, take) };
  }

  async settle(outcomes: Outcome[]): Promise<Settled[]> {
    await this.before(outcomes);
    const failure = this.failures.shift();
    if (failure) throw failure;
    return outcomes.map((outcome) => {
      const reply = this.reply(outcome);
      if (reply === undefined) this.settled.push(outcome);
      return {
        id: outcome.id,
        outcome: reply ?? (outcome.outcome === "failed" ? "retry" : outcome.outcome),
        available_at: null,
      };
    });
  }

  heartbeat(leases: Lease[]): Promise<Beat[]> {
    this.beats.push(leases);
    return Promise.resolve(
      leases.map((lease) => ({ id: lease.id, outcome: "ok", cancel_requested: false, ...this.beat(lease) })),
    );
  }
}
