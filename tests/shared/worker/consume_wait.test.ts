// The consume loop's waits in the database: when it requests one, its pace around it, and the end of the run.
import assert from "node:assert/strict";
import type { ClaimRequest, Outcome } from "../../../shared/delivery.ts";
import { type Bench, bench, type BenchOptions, LIMITS } from "./consumer_setup.ts";

interface Poll {
  /** Milliseconds of the clock. */
  at: number;
  wait?: number;
  transport?: string;
}

/** A receiver that waits like messenger_exchange: after a call that announced the wait, with nothing to do. */
function scene({ slots = 1, ...options }: BenchOptions & { slots?: number } = {}): Bench & { polls: Poll[] } {
  const worker = bench(options);
  const { receiver, clock } = worker;
  const exchange = receiver.exchange.bind(receiver);
  const polls: Poll[] = [];
  let activeUntil = 0;
  receiver.exchange = async (outcomes: Outcome[], request: ClaimRequest) => {
    const { wait = 0, transport } = request;
    const at = clock.now();
    polls.push({ at, wait, ...(transport && { transport }) });
    if (slots > 0 && wait > 0 && outcomes.length === 0 && receiver.pending.length === 0 && activeUntil >= at + wait) {
      while (receiver.pending.length === 0 && clock.now() < at + wait) await clock.sleep(5);
    } else activeUntil = at + wait + 250;
    return await exchange(outcomes, request);
  };
  return { ...worker, polls };
}

Deno.test("consume · an idle worker announces a wait, then waits, until the end of the linger", async () => {
  const { clock, consumer, polls } = scene();
  const { polls: count } = await clock.until(consumer.wake({ ...LIMITS, linger: 2_500 }).done);
  const first = [[0, 1_000], [5, 1_000], [1_005, 1_000], [1_010, 1_000], [2_010, 490], [2_015, 485]];
  assert.deepEqual(polls.slice(0, 6).map(({ at, wait }) => [at, wait]), first);
  assert.deepEqual([count, polls.length], [6, 6]);
});

Deno.test("consume · the last poll of a run does not wait, so that the worker is idle at once", async () => {
  const { clock, consumer, polls } = scene({ slots: 0 });
  await clock.until(consumer.wake(LIMITS).done);
  assert.deepEqual(polls.slice(0, 5).map(({ at }) => at), [0, 5, 15, 35, 75], "the ordinary pace without a free slot");
  assert.deepEqual([polls[0].wait, polls.at(-1)?.wait], [1_000, 0]);
  const short = scene({ idlePolls: 3 });
  await short.clock.until(short.consumer.wake({ ...LIMITS, linger: 60_000 }).done);
  assert.deepEqual(short.polls.map(({ wait }) => wait), [1_000, 1_000, 0], "also where the budget ends it");
});

Deno.test("consume · a wait ends with the time limit, and none is requested shortly before it", async () => {
  const { clock, consumer, polls } = scene();
  await clock.until(consumer.wake({ ...LIMITS, linger: 60_000, timeLimit: 5_700 }).done);
  assert.ok(polls.every(({ at, wait = 0 }) => at + wait <= 5_700));
  assert.equal(clock.now(), 5_700);
});

Deno.test("consume · a message that arrives during a wait is handled, and its outcome announces the next", async () => {
  const { receiver, clock, consumer, polls, started } = scene();
  const { done } = consumer.wake({ ...LIMITS, linger: 3_000 });
  await clock.pass(300);
  const { id } = receiver.add("Work");
  await clock.pass(20);
  assert.deepEqual([started, receiver.settled.map(({ outcome }) => outcome)], [[id], ["completed"]]);
  assert.deepEqual(polls.slice(1).map(({ at, wait }) => [at, wait]), [[5, 1_000], [300, 1_000], [305, 1_000]]);
  assert.equal((await clock.until(done)).completed, 1);
});

Deno.test("consume · never waits with a handler in flight, an outcome to repeat, or two selections", async () => {
  const { receiver, clock, consumer, polls } = scene();
  receiver.add("Work", { ms: 400 });
  const { done } = consumer.wake(LIMITS);
  await clock.pass(399);
  assert.ok(polls.slice(1).every(({ wait }) => wait === 0));
  receiver.reply = () => "locked";
  await clock.pass(50);
  assert.equal(polls.at(-1)?.wait, 0);
  receiver.reply = () => undefined;
  await clock.pass(300);
  const before = polls.length;
  const { at, wait = 0 } = polls[before - 1];
  assert.ok(wait > 0);
  consumer.wake(LIMITS, { transport: "sms" });
  await clock.until(done);
  const after = polls.slice(before);
  assert.deepEqual([after[0].at, after.every(({ wait }) => wait === 0)], [at + wait, true]);
  assert.ok(after.some(({ transport }) => transport === "sms"), "and the wake-up is served after the wait");
});

Deno.test("consume · with a poll interval above a second it does not wait", async () => {
  const { clock, consumer, polls } = scene();
  await clock.until(consumer.wake({ ...LIMITS, pollInterval: 2_000, linger: 10_000 }).done);
  assert.ok(polls.every(({ wait }) => wait === 0));
});

Deno.test("consume · a message claimed by a wait that outlasts the isolate's end is released", async () => {
  const { receiver, clock, consumer, started } = scene();
  const { done } = consumer.wake(LIMITS);
  await clock.pass(100);
  consumer.stop();
  receiver.add("Work");
  const { claimed, released } = await clock.until(done);
  assert.deepEqual([claimed, released, started], [1, 1, []]);
  assert.deepEqual(receiver.settled.map(({ outcome }) => outcome), ["released"]);
});
