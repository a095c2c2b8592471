/** The consume loop against a receiver in memory, on a clock that jumps. */

import assert from "node:assert/strict";
import { z } from "zod";
import { type Consumer, createConsumer, type Limits } from "../../shared/consume.ts";
import { StaleLease, SymphonyError } from "../../shared/errors.ts";
import { defineMessage, type HandlerContext } from "../../shared/message.ts";
import { MemoryReceiver } from "./memory_receiver.ts";
import type { VirtualClock } from "./virtual_clock.ts";
import { testWorkshop } from "./workshop.ts";

const LIMITS: Limits = {
  batchSize: 10,
  maxConcurrency: 10,
  pollInterval: 50,
  linger: 1_000,
  timeLimit: 110_000,
  messageLimit: Infinity,
};
const away = () => new SymphonyError("SM_UNAVAILABLE", "away");

interface Bench {
  receiver: MemoryReceiver;
  clock: VirtualClock;
  consumer: Consumer;
  /** Ids of handlers running now, in order of their start. */
  running: Set<string>;
  started: string[];
  /** Why the signals of handlers were aborted, by id. */
  reasons: Map<string, unknown>;
  most: () => number;
}

/** A consumer of one type, `Work`, whose handler takes `ms` of its payload. */
function bench(options: { isolateStart?: number; handle?: (ctx: HandlerContext) => unknown } = {}): Bench {
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
        if (ms > 0) await workshop.clock.sleep(ms, ctx.signal);
        ctx.signal.throwIfAborted();
        return await options.handle?.(ctx) ?? null;
      } finally {
        running.delete(ctx.envelope.id);
        if (ctx.signal.aborted) reasons.set(ctx.envelope.id, ctx.signal.reason);
      }
    },
  });
  const workshop = testWorkshop([work]);
  const receiver = new MemoryReceiver();
  const consumer = createConsumer({ ...workshop, receiver, worker: "test", isolateStart: options.isolateStart ?? 0 });
  return { receiver, clock: workshop.clock, consumer, running, reasons, started, most: () => most };
}

Deno.test("consume · handles everything that is there, then lingers, then ends", async () => {
  const { receiver, clock, consumer, started } = bench();
  for (let n = 0; n < 25; n++) receiver.add("Work");
  const stats = await clock.until(consumer.ring(LIMITS).done);
  assert.equal(started.length, 25);
  assert.deepEqual([stats.claimed, stats.completed, receiver.settled.length], [25, 25, 25]);
  assert.ok(stats.ms >= 1_000 && stats.ms < 1_200, `${stats.ms} ms`);
  assert.ok(stats.polls >= 20 && stats.polls <= 30, `${stats.polls} polls`);
  assert.ok(receiver.requests.every(({ types, worker }) => types.join() === "Work" && worker === "test"));
});

Deno.test("consume · outcomes travel with the next claim", async () => {
  const { receiver, clock, consumer } = bench();
  const calls: number[] = [];
  receiver.before = (outcomes) => void calls.push(outcomes.length);
  for (let n = 0; n < 20; n++) receiver.add("Work");
  await clock.until(consumer.ring(LIMITS).done);
  assert.deepEqual(calls.slice(0, 4), [0, 10, 10, 0]);
});

Deno.test("consume · never runs more at a time than it may, and claims only for free slots", async () => {
  const { receiver, clock, consumer, most } = bench();
  for (let n = 0; n < 30; n++) receiver.add("Work", { ms: 10 + n });
  const stats = await clock.until(consumer.ring({ ...LIMITS, maxConcurrency: 4 }).done);
  assert.equal(stats.completed, 30);
  assert.equal(most(), 4);
  assert.ok(receiver.requests.every(({ batch }) => batch >= 1 && batch <= 4));
});

Deno.test("consume · an outcome is settled at once although the other slots are busy", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work", { ms: 5 });
  receiver.add("Work", { ms: 10_000 });
  const { done } = consumer.ring({ ...LIMITS, maxConcurrency: 2 });
  await clock.pass(20);
  assert.deepEqual(receiver.settled.map(({ id }) => id), ["message-1"]);
  await clock.until(done);
});

Deno.test("consume · while a solo message has the house, what finished before is settled without a claim", async () => {
  const { receiver, clock, consumer, running } = bench();
  receiver.add("Work", { ms: 20 });
  const solo = receiver.add("Work", { ms: 500 }, { solo: true });
  const { done } = consumer.ring(LIMITS);
  await clock.pass(15);
  const claims = receiver.requests.length;
  await clock.pass(100);
  assert.deepEqual([...running], [solo.id]);
  assert.deepEqual(receiver.settled.map(({ id }) => id), ["message-1"]);
  assert.equal(receiver.requests.length, claims);
  await clock.until(done);
});

Deno.test("consume · a solo message runs with nothing else in flight", async () => {
  const together = new Map<string, string[]>();
  const { receiver, clock, consumer, running } = bench({
    handle: ({ envelope }) => void together.set(envelope.id, [...running]),
  });
  receiver.add("Work", { ms: 300 });
  receiver.add("Work", { ms: 20 });
  const solo = receiver.add("Work", { ms: 100 }, { solo: true });
  for (let n = 0; n < 5; n++) receiver.add("Work", { ms: 5 });
  const { done } = consumer.ring(LIMITS);
  await clock.pass(350);
  assert.deepEqual([...running], [solo.id]);
  assert.equal(receiver.pending.length, 5, "claimed beside a solo message");
  const stats = await clock.until(done);
  assert.deepEqual(together.get(solo.id), [solo.id]);
  assert.equal(stats.completed, 8);
});

Deno.test("consume · a waiting solo message keeps its lease and lets go of a lost one", async () => {
  const { receiver, clock, consumer, started } = bench();
  receiver.add("Work", { ms: 50_000 });
  const solo = receiver.add("Work", {}, { solo: true });
  receiver.beat = ({ id }) => id === solo.id ? { outcome: "stale" } : {};
  const stats = await clock.until(consumer.ring(LIMITS).done);
  assert.deepEqual(receiver.beats[0].map(({ id }) => id), ["message-1", solo.id]);
  assert.deepEqual(started, ["message-1"]);
  assert.deepEqual([stats.stale, stats.completed, receiver.settled.length], [1, 1, 1]);
});

Deno.test("consume · one heartbeat each third of the lease carries all leases and the progress", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work", { ms: 50_000 });
  receiver.add("Work", { ms: 50_000 });
  await clock.until(consumer.ring(LIMITS).done);
  assert.deepEqual(receiver.beats.map((leases) => leases.length), [2, 2]);
});

Deno.test("consume · progress does not wait for the next heartbeat, but at most one call a second carries it", async () => {
  const { receiver, clock, consumer } = bench({
    async handle(ctx) {
      for (let percent = 0; percent < 100; percent++) {
        ctx.progress({ percent });
        await clock.sleep(100);
      }
    },
  });
  receiver.add("Work");
  await clock.until(consumer.ring(LIMITS).done);
  const reported = receiver.beats.flat().map(({ progress }) => progress);
  assert.ok(reported.length >= 8 && reported.length <= 11, `${reported.length} calls`);
  assert.ok(reported.every((progress) => progress !== undefined));
});

Deno.test("consume · a lost lease aborts its handler with StaleLease and is not settled", async () => {
  const { receiver, clock, consumer, reasons } = bench();
  const lost = receiver.add("Work", { ms: 90_000 });
  const kept = receiver.add("Work", { ms: 30_000 });
  receiver.beat = ({ id }) => id === lost.id ? { outcome: "stale" } : {};
  const stats = await clock.until(consumer.ring(LIMITS).done);
  assert.ok(reasons.get(lost.id) instanceof StaleLease);
  assert.deepEqual(receiver.settled.map(({ id }) => id), [kept.id]);
  assert.deepEqual([stats.stale, stats.completed], [1, 1]);
  assert.ok(stats.ms < 90_000, "waited for a handler whose lease was lost");
});

Deno.test("consume · a requested cancellation reaches the handler, which still decides", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work", { ms: 90_000 });
  receiver.beat = () => ({ cancel_requested: true });
  const stats = await clock.until(consumer.ring(LIMITS).done);
  const [outcome] = receiver.settled;
  assert.ok(outcome.outcome === "failed" && outcome.error_class === "CancelRequested");
  assert.ok(stats.ms < 30_000);
});

Deno.test("consume · a message claimed again while it still runs here replaces its old self", async () => {
  const { receiver, clock, consumer } = bench();
  const first = receiver.add("Work", { ms: 5_000 });
  const { done } = consumer.ring(LIMITS);
  await clock.pass(100);
  receiver.pending.push({ ...first, fence: 2, body: { ms: 1 } });
  const stats = await clock.until(done);
  assert.deepEqual(receiver.settled.map(({ fence }) => fence), [2]);
  assert.deepEqual([stats.stale, stats.completed], [1, 1]);
});

Deno.test("consume · outcomes survive a database that is away, and no handler runs twice", async () => {
  const { receiver, clock, consumer, started } = bench();
  for (let n = 0; n < 3; n++) receiver.add("Work", { ms: 10 });
  receiver.failures.push(undefined, ...Array.from({ length: 6 }, away));
  const stats = await clock.until(consumer.ring(LIMITS).done);
  assert.equal(started.length, 3);
  assert.deepEqual(receiver.settled.map(({ id }) => id).sort(), ["message-1", "message-2", "message-3"]);
  assert.equal(stats.completed, 3);
});

Deno.test("consume · one outcome the database refuses does not keep the others back", async () => {
  const { receiver, clock, consumer } = bench();
  for (let n = 0; n < 3; n++) receiver.add("Work");
  receiver.before = (outcomes) => {
    if (outcomes.some(({ id }) => id === "message-2")) throw new SymphonyError("SM_NUL", "poison");
  };
  const stats = await clock.until(consumer.ring(LIMITS).done);
  assert.deepEqual(receiver.settled.map(({ id }) => id), ["message-1", "message-3"]);
  assert.equal(stats.completed, 2);
});

Deno.test("consume · a run that never reached the database says so", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.failures.push(...Array.from({ length: 100 }, away));
  await assert.rejects(clock.until(consumer.ring(LIMITS).done), { code: "SM_UNAVAILABLE" });
});

Deno.test("consume · a refused claim ends the run, after what runs is settled", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work", { ms: 500 });
  receiver.failures.push(undefined, new SymphonyError("SM_LEASE", "no"));
  const stats = await clock.until(consumer.ring(LIMITS).done);
  assert.equal(stats.completed, 1);
  assert.equal(receiver.requests.length, 1);
});

Deno.test("consume · a second ring joins the run and keeps it awake; after its end a new one begins", async () => {
  const { receiver, clock, consumer } = bench();
  const first = consumer.ring(LIMITS);
  await clock.pass(800);
  assert.equal(consumer.ring(LIMITS), first);
  await clock.pass(800);
  receiver.add("Work");
  const stats = await clock.until(first.done);
  assert.equal(stats.completed, 1);
  const second = consumer.ring(LIMITS);
  assert.notEqual(second.id, first.id);
  await clock.until(second.done);
});

Deno.test("consume · a ring in the very turn in which a run ends is not swallowed", async () => {
  const { receiver, clock, consumer } = bench();
  const first = consumer.ring({ ...LIMITS, linger: 0 });
  const rung = first.done.then(() => {
    receiver.add("Work");
    return consumer.ring(LIMITS).done;
  });
  assert.equal((await clock.until(rung)).completed, 1);
});

Deno.test("consume · joined rings with other queues are asked in turn", async () => {
  const { receiver, clock, consumer } = bench();
  const { done } = consumer.ring(LIMITS, { transport: "email" });
  consumer.ring(LIMITS, { transport: "sms", queues: ["fast"] });
  consumer.ring(LIMITS, { transport: "email" });
  await clock.until(done);
  const asked = receiver.requests.map(({ transport }) => transport);
  assert.deepEqual(asked.slice(0, 4), ["email", "sms", "email", "sms"]);
  assert.deepEqual(receiver.requests[1].queues, ["fast"]);
});

Deno.test("consume · stops claiming when the isolate is old, finishes what runs", async () => {
  const { receiver, clock, consumer } = bench();
  for (let n = 0; n < 10; n++) receiver.add("Work", { ms: 3_000 });
  const stats = await clock.until(consumer.ring({ ...LIMITS, timeLimit: 7_000, maxConcurrency: 1 }).done);
  assert.equal(stats.claimed, 3);
  assert.equal(stats.completed, 3);
});

Deno.test("consume · an isolate past its time still serves a ring for a few seconds", async () => {
  const { receiver, clock, consumer } = bench({ isolateStart: -1_000_000 });
  receiver.add("Work");
  const stats = await clock.until(consumer.ring({ ...LIMITS, linger: 60_000 }).done);
  assert.equal(stats.completed, 1);
  assert.ok(stats.ms < 6_000);
});

Deno.test("consume · handles no more messages than the limit", async () => {
  const { receiver, clock, consumer } = bench();
  for (let n = 0; n < 10; n++) receiver.add("Work");
  const stats = await clock.until(consumer.ring({ ...LIMITS, batchSize: 2, messageLimit: 5 }).done);
  assert.deepEqual([stats.claimed, stats.completed, receiver.pending.length], [5, 5, 5]);
});

Deno.test("consume · when the isolate ends, the unstarted go back and the finished are settled", async () => {
  const { receiver, clock, consumer, started } = bench();
  receiver.add("Work", { ms: 200 });
  const solo = receiver.add("Work", {}, { solo: true });
  const late = receiver.add("Work");
  const { done } = consumer.ring(LIMITS);
  await clock.pass(100);
  consumer.stop();
  const stats = await clock.until(done);
  assert.deepEqual(started, ["message-1"]);
  assert.deepEqual(receiver.settled.map(({ id, outcome }) => [id, outcome]), [[solo.id, "released"], [
    "message-1",
    "completed",
  ]]);
  assert.deepEqual(receiver.pending, [late]);
  assert.deepEqual([stats.released, stats.completed], [1, 1]);
  assert.equal((await clock.until(consumer.ring(LIMITS).done)).claimed, 0);
});

Deno.test("consume · what a claim brings after the end was announced goes back unstarted", async () => {
  const { receiver, clock, consumer, started } = bench();
  const reply = Promise.withResolvers<void>();
  receiver.before = () => reply.promise;
  receiver.add("Work");
  const { done } = consumer.ring(LIMITS);
  consumer.stop();
  reply.resolve();
  await clock.until(done);
  assert.deepEqual(started, []);
  assert.deepEqual(receiver.settled.map(({ outcome }) => outcome), ["released"]);
});
