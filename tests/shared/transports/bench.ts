// A transport under test, and a queue for a single test.
import assert from "node:assert/strict";
import { SymphonyError } from "../../../shared/errors.ts";
import type { Delivery, Outcome, Receiver, Settled } from "../../../shared/delivery.ts";
import type { NewMessage, Sender, Sent } from "../../../shared/sender.ts";

export interface OpenTransport {
  /** Its name in messenger_transports. */
  name: string;
  sender: Sender;
  receiver: Receiver;
  /** Moves the time of the bus forward. */
  pass(ms: number): Promise<void>;
  /** The dead letters of a message. */
  deadLetters(
    id: string,
  ): Promise<{ error: string; error_class: string; attempts: { error: string }[]; retry_count: number }[]>;
}

export const TYPE = "ConformanceNote";
export const LEASE = 60_000; // ms

export const of = ({ id, fence }: Delivery) => ({ id, fence });
export const completed = (delivery: Delivery): Outcome => ({
  ...of(delivery),
  outcome: "completed",
  result: { ok: true },
});
export const failed = (
  delivery: Delivery,
  more: { error?: string; retryable?: boolean; delay_ms?: number } = {},
): Outcome => ({
  ...of(delivery),
  outcome: "failed",
  error: "no",
  error_class: "TestError",
  retryable: true,
  ...more,
});

export class Bench {
  readonly queue = `q-${crypto.randomUUID().slice(0, 8)}`;
  #workers = 0;

  constructor(readonly transport: OpenTransport) {}

  message(message: Partial<NewMessage>): NewMessage {
    return { type: TYPE, payload: {}, transport: this.transport.name, queue: this.queue, ...message };
  }

  async send(messages: Partial<NewMessage>[]): Promise<Sent[]> {
    const results = await this.transport.sender.send(messages.map((message) => this.message(message)), true);
    return results.map((result) => result instanceof SymphonyError ? assert.fail(result) : result);
  }

  request(batch: number, selection: { types?: string[]; queues?: string[] } = {}) {
    const worker = `worker-${++this.#workers}`;
    return { worker, batch, lease: LEASE, types: [TYPE], queues: [this.queue], ...selection };
  }

  async receive(batch = 10, selection: { types?: string[]; queues?: string[] } = {}): Promise<Delivery[]> {
    return (await this.transport.receiver.exchange([], this.request(batch, selection))).claimed;
  }

  settleAll(outcomes: Outcome[]): Promise<Settled[]> {
    return this.transport.receiver.settle(outcomes);
  }

  async settle(outcome: Outcome): Promise<string> {
    const [settled] = await this.settleAll([outcome]);
    assert.equal(settled.id, outcome.id);
    return settled.outcome;
  }
}
