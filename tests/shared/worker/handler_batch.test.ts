// Batch handlers: the grouping of deliveries and the outcome of each, with an in-memory receiver and a virtual clock.
import assert from "node:assert/strict";
import { z } from "zod";
import { createConsumer, type Limits } from "../../../shared/worker/consume.ts";
import type { Database } from "../../../shared/db.ts";
import { RetryAfter, Snooze, StaleLease, SymphonyError, Unrecoverable } from "../../../shared/errors.ts";
import { execute } from "../../../shared/worker/execute.ts";
import { type BatchContext, type BatchItem, createRegistry, defineMessage } from "../../../shared/message.ts";
import type { Middleware } from "../../../shared/middleware.ts";
import type { Outcome } from "../../../shared/delivery.ts";
import { LIMITS } from "./consumer_setup.ts";
import { MemoryReceiver } from "./memory_receiver.ts";
import { noDatabase, testHandlerRuntime } from "./test_runtime.ts";

type Item = BatchItem<{ n: number }>;
type Handle = (items: readonly Item[], ctx: BatchContext) => unknown;

interface Options {
  middleware?: Middleware[];
  db?: Database;
  limits?: Partial<Limits>;
  /** Milliseconds (default: 1,000). */
  timeout?: number;
}

/** A worker of one batch type, `Many`, and one ordinary type, `One`, which records its deliveries. */
function scene(handleBatch: Handle, { middleware, db, limits, timeout = 1_000 }: Options = {}) {
  const batches: number[][] = [];
  const ones: number[] = [];
  const payload = z.object({ n: z.number() });
  const many = defineMessage({
    type: "Many",
    aliases: ["Lots"],
    payload,
    timeout,
    handleBatch(items, ctx) {
      batches.push(items.map(({ payload }) => payload.n));
      return handleBatch(items, ctx);
    },
  });
  const one = defineMessage({ type: "One", payload, handle: ({ n }) => void ones.push(n) });
  const runtime = { ...testHandlerRuntime([many, one]), ...(db && { db }), middleware };
  const receiver = new MemoryReceiver();
  const consumer = createConsumer({ ...runtime, receiver, worker: "test", isolateStart: 0 });
  // any body that a caller may have stored
  const add = (type: string, ...ns: unknown[]) => ns.map((n) => receiver.add(type, { n } as never));
  return {
    ...runtime,
    receiver,
    batches,
    ones,
    add,
    run: () => runtime.clock.until(consumer.wake({ ...LIMITS, linger: 0, ...limits }).done),
    /** The settled outcomes, by message. */
    results: () => Object.fromEntries(receiver.settled.map((outcome) => [outcome.id, outcome])),
  };
}

const failed = (outcome: Outcome) => {
  assert.equal(outcome.outcome, "failed");
  return outcome as Extract<Outcome, { outcome: "failed" }>; // asserted in the line above
};

Deno.test("handleBatch · receives the deliveries of its type in one claim, aliases too, others run alone", async () => {
  const { run, add, batches, ones, receiver } = scene(() => {});
  add("Many", 1, 2);
  add("One", 3, 4);
  add("Lots", 5);
  assert.equal((await run()).completed, 5);
  assert.deepEqual([batches, ones], [[[1, 2, 5]], [3, 4]]);
  assert.ok(receiver.settled.every((outcome) => outcome.outcome === "completed" && outcome.result === null));
});

Deno.test("handleBatch · never receives more than batchSize", async () => {
  const { run, add, batches } = scene(() => {}, { limits: { batchSize: 4 } });
  add("Many", 1, 2, 3, 4, 5, 6, 7, 8, 9);
  await run();
  assert.deepEqual(batches, [[1, 2, 3, 4], [5, 6, 7, 8], [9]]);
});

Deno.test("items · each reports its outcome; the first report counts, the others end with the batch", async () => {
  const { run, add, results } = scene((items) => {
    items[0].complete({ done: 1 });
    items[0].fail(new Error("too late"));
    items[1].fail(new Error("broken"));
    items[1].complete();
    items[2].fail(new Unrecoverable("never"));
    items[3].fail(new RetryAfter(1_500));
    items[4].fail(new Snooze(250));
    items[5].complete(1n);
    return "nobody's result";
  });
  const ids = add("Many", 0, 1, 2, 3, 4, 5, 6).map(({ id }) => id);
  const stats = await run();
  const [done, broken, never, later, snoozed, odd, rest] = ids.map((id) => results()[id]);
  assert.ok(done.outcome === "completed");
  assert.deepEqual(done.result, { done: 1 });
  assert.deepEqual([failed(broken).error, failed(broken).retryable], ["broken", true]);
  assert.equal(failed(never).retryable, false);
  assert.deepEqual([failed(later).delay_ms, failed(later).retryable], [1_500, true]);
  assert.ok(snoozed.outcome === "snoozed" && snoozed.delay_ms === 250);
  assert.ok(odd.outcome === "completed");
  assert.match(JSON.stringify(odd.result), /symphony_dropped.*BigInt/);
  assert.ok(rest.outcome === "completed" && rest.result === null);
  assert.equal(stats.completed, 3);
});

Deno.test("items · a reported outcome is settled while the batch continues", async () => {
  const s = scene(async (items) => {
    items[0].complete();
    await s.clock.sleep(500);
    assert.deepEqual(s.receiver.settled.map(({ id }) => id), [items[0].envelope.id]);
  });
  s.add("Many", 1, 2);
  assert.equal((await s.run()).completed, 2);
});

Deno.test("handleBatch · an error fails the deliveries without a report, each with that error", async () => {
  for (const [thrown, retryable] of [[new Error("down"), true], [new Unrecoverable("down"), false]] as const) {
    const { run, add, results } = scene((items) => {
      items[1].complete("saved");
      throw thrown;
    });
    const ids = add("Many", 1, 2, 3).map(({ id }) => id);
    await run();
    const [first, second, third] = ids.map((id) => results()[id]);
    assert.ok(second.outcome === "completed" && second.result === "saved");
    for (const outcome of [first, third]) {
      assert.deepEqual([failed(outcome).error, failed(outcome).retryable], ["down", retryable]);
    }
  }
});

Deno.test("payload · one that no longer fits becomes its own dead letter and never reaches the handler", async () => {
  const { run, add, batches, results } = scene(() => {});
  const [, odd] = add("Many", 1, "two", 3);
  assert.equal((await run()).completed, 2);
  assert.deepEqual(batches, [[1, 3]]);
  const { error_class, retryable } = failed(results()[odd.id]);
  assert.deepEqual([error_class, retryable], ["InvalidPayload", false]);
  const none = scene(() => {});
  none.add("Many", "one", "two");
  await none.run();
  assert.deepEqual([none.batches, none.receiver.settled.length], [[], 2]);
});

Deno.test("payload · an item that fails with the name of an invalid payload has the handler's class", async () => {
  const { run, add, results } = scene((items) => {
    for (const item of items) item.fail(Object.assign(new Unrecoverable("mine"), { name: "InvalidPayload" }));
  });
  const ids = add("Many", 1, 2).map(({ id }) => id);
  await run();
  for (const id of ids) assert.equal(failed(results()[id]).error_class, "HandlerInvalidPayload");
});

Deno.test("solo · a message that may have killed its worker is delivered alone", async () => {
  const { run, add, batches, receiver } = scene(() => {});
  add("Many", 1, 2);
  receiver.add("Many", { n: 3 }, { solo: true });
  add("Many", 4, 5);
  await run();
  assert.deepEqual(batches, [[1, 2], [3], [4, 5]]);
});

Deno.test("timeout · applies to every item without a report; the batch's signal aborts with it", async () => {
  let reason: unknown;
  const { run, add, results } = scene((items, { signal }) => {
    items[0].complete("in time");
    return new Promise(() => signal.addEventListener("abort", () => reason = signal.reason));
  });
  const ids = add("Many", 1, 2, 3).map(({ id }) => id);
  await run();
  assert.equal(results()[ids[0]].outcome, "completed");
  for (const id of ids.slice(1)) assert.equal(failed(results()[id]).error_class, "Timeout");
  assert.ok(reason instanceof Error && reason.name === "Timeout");
});

Deno.test("heartbeats · are sent for every item, each with its own progress", async () => {
  const s = scene(async (items) => {
    for (const { progress, payload } of items) progress({ at: payload.n });
    await s.clock.sleep(50_000);
  }, { timeout: 90_000 });
  const [first, second] = s.add("Many", 1, 2);
  await s.run();
  const leases = s.receiver.beats.map((beat) => beat.map(({ id, progress }) => [id, progress]));
  assert.deepEqual(leases[0], [[first.id, { at: 1 }], [second.id, { at: 2 }]]);
  assert.ok(leases.length >= 3);
  assert.deepEqual(leases[1], [[first.id, undefined], [second.id, undefined]]);
});

Deno.test("lost leases · leave the batch without an outcome, while the others and the batch continue", async () => {
  let signals: boolean[] = [];
  const s = scene(async (items, ctx) => {
    await s.clock.sleep(25_000);
    signals = [items[0].signal.aborted, items[1].signal.aborted, ctx.signal.aborted];
    items[0].complete("for nobody");
  }, { timeout: 90_000 });
  const [lost, kept] = s.add("Many", 1, 2);
  s.receiver.beat = ({ id }) => id === lost.id ? { outcome: "stale" } : {};
  const { stale, completed } = await s.run();
  assert.deepEqual([signals, stale, completed], [[true, false, false], 1, 1]);
  assert.deepEqual(Object.keys(s.results()), [kept.id]);
});

Deno.test("lost leases · when no item is left unreported the batch's signal aborts", async () => {
  let reason: unknown;
  const s = scene(async (items, ctx) => {
    items[2].complete();
    await s.clock.sleep(80_000, ctx.signal);
    reason = ctx.signal.reason;
    ctx.signal.throwIfAborted();
  }, { timeout: 90_000 });
  const [, , done] = s.add("Many", 1, 2, 3);
  s.receiver.beat = () => ({ outcome: "stale" });
  const { stale, completed } = await s.run();
  assert.ok(reason instanceof StaleLease);
  assert.deepEqual([stale, completed, Object.keys(s.results())], [2, 1, [done.id]]);
});

Deno.test("lost leases · a delivery that is lost while its batch gathers does not reach the handler", async () => {
  const wait: Middleware = async ({ envelope }, next) => {
    if (envelope.id === "message-2") await s.clock.sleep(30_000);
    return await next();
  };
  const s = scene(() => {}, { timeout: 90_000, middleware: [wait] });
  const [lost] = s.add("Many", 1, 2);
  s.receiver.beat = ({ id }) => id === lost.id ? { outcome: "stale" } : {};
  const { stale, completed } = await s.run();
  assert.deepEqual([s.batches, stale, completed], [[[2]], 1, 1]);
});

Deno.test("StaleLease · thrown from the batch for one item fails the others, which are still owned", async () => {
  const db = {
    ...noDatabase,
    call: () => Promise.reject(new SymphonyError("SM_STALE_LEASE", "another worker has it")),
  } as Database;
  const { run, add, results } = scene((items) => items[0].completeWith("pay"), { db });
  const [first, second] = add("Many", 1, 2);
  assert.equal((await run()).stale, 1);
  assert.equal(results()[first.id], undefined);
  assert.match(failed(results()[second.id]).error, /Another message/);
});

Deno.test("completeWith · completes one item with its effect; the batch decides the others", async () => {
  const calls: unknown[] = [];
  const db = {
    ...noDatabase,
    call: (_name: string, args: { id: string }) => {
      calls.push(args.id);
      return Promise.resolve({ outcome: "completed", result: 1 });
    },
  } as unknown as Database; // one script for every function
  const { run, add, receiver } = scene(async (items) => {
    await items[0].completeWith("pay");
    throw new Error("the rest fails");
  }, { db });
  const [first, second] = add("Many", 1, 2);
  const stats = await run();
  assert.deepEqual([calls, stats.completed], [[first.id], 1]);
  assert.deepEqual(receiver.settled.map(({ id, outcome }) => [id, outcome]), [[second.id, "failed"]]);
});

Deno.test("middleware · wraps every item, and may reject one before the batch starts", async () => {
  const seen: unknown[] = [];
  const turnAway: Middleware = async (ctx, next) => {
    await Promise.resolve();
    if (ctx.envelope.metadata.skip) return { id: ctx.envelope.id, fence: ctx.fence, outcome: "snoozed", delay_ms: 9 };
    const outcome = await next();
    seen.push(outcome?.outcome);
    return outcome;
  };
  const { run, receiver, batches, results } = scene(() => {}, { middleware: [turnAway] });
  receiver.add("Many", { n: 1 });
  const away = receiver.add("Many", { n: 2 }, { metadata: { skip: true } });
  receiver.add("Many", { n: 3 });
  await run();
  assert.deepEqual([batches, seen], [[[1, 3]], ["completed", "completed"]]);
  assert.equal(results()[away.id].outcome, "snoozed");
});

Deno.test("execute · a single delivery of a batch type is a batch of one, as in the sync transport", async () => {
  const { receiver, clock, registry, db, log } = scene((items) => items[0].complete(items.length));
  const { result } = execute(receiver.add("Many", { n: 1 }), { registry, db, log, clock }, () => {});
  const outcome = await clock.until(result);
  assert.ok(outcome?.outcome === "completed" && outcome.result === 1);
});

Deno.test("createRegistry · a type has exactly one of handle and handleBatch", () => {
  const payload = z.object({});
  assert.throws(() => createRegistry([{ type: "Neither", payload } as never]), /Neither needs one/);
  assert.throws(
    () => createRegistry([{ type: "Both", payload, handle: () => 1, handleBatch: () => 1 } as never]),
    /Both needs one/,
  );
});
