// A consumer of one type of message with an in-memory receiver and a virtual clock.
import { z } from "zod";
import { type Consumer, createConsumer, type Limits } from "../../../shared/worker/consume.ts";
import type { Database } from "../../../shared/db.ts";
import { defineMessage, type HandlerContext } from "../../../shared/message.ts";
import { MemoryReceiver } from "./memory_receiver.ts";
import type { VirtualClock } from "../virtual_clock.ts";
import { testHandlerRuntime } from "./test_runtime.ts";

export const LIMITS: Limits = {
  batchSize: 10,
  maxConcurrency: 10,
  pollInterval: 50,
  linger: 1_000,
  timeLimit: 110_000,
  messageLimit: Infinity,
};

export interface Bench {
  receiver: MemoryReceiver;
  clock: VirtualClock;
  consumer: Consumer;
  /** Ids of running handlers, in the order of their start. */
  running: Set<string>;
  started: string[];
  /** The reasons with which signals of handlers were aborted, by id. */
  reasons: Map<string, unknown>;
  most: () => number;
}

export interface BenchOptions {
  isolateStart?: number;
  idlePolls?: number;
  /** Milliseconds; default: the consumer's. */
  lease?: number;
  /** Takes the `ms` of the payload; its result is the message's. */
  handle?: (ctx: HandlerContext) => unknown;
  db?: Database;
  /** Registers the message types. */
  ready?: () => Promise<unknown>;
}

/** A consumer of one type, `Work`, whose handler takes the `ms` of its payload. */
export function bench(options: BenchOptions = {}): Bench {
  let most = 0;
  const running = new Set<string>();
  const reasons = new Map<string, unknown>();
  const started: string[] = [];
  const work = defineMessage({
    type: "Work",
    payload: z.object({ ms: z.number().default(0) }),
    timeout: 600_000,
    async handle({ ms }, ctx) {
      running.add(ctx.envelope.id);
      started.push(ctx.envelope.id);
      most = Math.max(most, running.size);
      try {
        if (ms > 0) await runtime.clock.sleep(ms, ctx.signal);
        ctx.signal.throwIfAborted();
        return await options.handle?.(ctx) ?? null;
      } finally {
        running.delete(ctx.envelope.id);
        if (ctx.signal.aborted) reasons.set(ctx.envelope.id, ctx.signal.reason);
      }
    },
  });
  const runtime = testHandlerRuntime([work]);
  const receiver = new MemoryReceiver();
  const consumer = createConsumer({
    ...runtime,
    ...(options.db && { db: options.db }),
    receiver,
    worker: "test",
    isolateStart: options.isolateStart ?? 0,
    idlePolls: options.idlePolls,
    ...(options.lease !== undefined && { lease: options.lease }),
    ready: options.ready,
  });
  return { receiver, clock: runtime.clock, consumer, running, reasons, started, most: () => most };
}
