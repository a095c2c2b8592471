// The consume loop: its claims, its settlements, its end.
import assert from "node:assert/strict";
import { SymphonyError } from "../../../shared/errors.ts";
import { bench, LIMITS } from "./consumer_setup.ts";

const away = () => new SymphonyError("SM_UNAVAILABLE", "away");

Deno.test("consume · handles all messages, then lingers, then ends", async () => {
  const { receiver, clock, consumer, started } = bench();
  for (let n = 0; n < 25; n++) receiver.add("Work");
  const stats = await clock.until(consumer.wake(LIMITS).done);
  assert.equal(started.length, 25);
  assert.deepEqual([stats.claimed, stats.completed, receiver.settled.length], [25, 25, 25]);
  assert.ok(stats.ms >= 1_000 && stats.ms < 1_200, `${stats.ms} ms`);
  assert.ok(stats.polls >= 20 && stats.polls <= 30, `${stats.polls} polls`);
  assert.ok(receiver.requests.every(({ types, worker }) => types.join() === "Work" && worker === "test"));
});

Deno.test("consume · lingers from the end of the last handler, not from its start", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work", { ms: 3_000 });
  const { done } = consumer.wake(LIMITS);
  await clock.pass(3_500);
  receiver.add("Work");
  assert.equal((await clock.until(done)).completed, 2);
});

Deno.test("consume · no handler starts before the message types are registered", async () => {
  let registered = false;
  const seen: boolean[] = [];
  const { receiver, clock, consumer } = bench({
    handle: () => seen.push(registered),
    async ready() {
      await clock.sleep(300);
      registered = true;
    },
  });
  receiver.add("Work");
  await clock.until(consumer.wake({ ...LIMITS, linger: 0 }).done);
  assert.deepEqual(seen, [true]);
});

Deno.test("consume · a failed registration loses no message of a concurrent claim", async () => {
  const { receiver, clock, consumer, started } = bench({ ready: () => Promise.reject(new Error("no")) });
  receiver.add("Work");
  const { completed } = await clock.until(consumer.wake({ ...LIMITS, linger: 0 }).done);
  assert.deepEqual([started.length, receiver.settled.length, completed], [1, 1, 1]);
});

Deno.test("consume · outcomes are sent with the next claim", async () => {
  const { receiver, clock, consumer } = bench();
  const calls: number[] = [];
  receiver.before = (outcomes) => void calls.push(outcomes.length);
  for (let n = 0; n < 20; n++) receiver.add("Work");
  await clock.until(consumer.wake(LIMITS).done);
  assert.deepEqual(calls.slice(0, 4), [0, 10, 10, 0]);
});

Deno.test("consume · never runs more handlers than maxConcurrency, and claims only for free slots", async () => {
  const { receiver, clock, consumer, most } = bench();
  for (let n = 0; n < 30; n++) receiver.add("Work", { ms: 10 + n });
  const stats = await clock.until(consumer.wake({ ...LIMITS, maxConcurrency: 4 }).done);
  assert.equal(stats.completed, 30);
  assert.equal(most(), 4);
  assert.ok(receiver.requests.every(({ batch }) => batch >= 1 && batch <= 4));
});

Deno.test("consume · an outcome is settled at once although the other slots are busy", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work", { ms: 5 });
  receiver.add("Work", { ms: 10_000 });
  const { done } = consumer.wake({ ...LIMITS, maxConcurrency: 2 });
  await clock.pass(20);
  assert.deepEqual(receiver.settled.map(({ id }) => id), ["message-1"]);
  await clock.until(done);
});

Deno.test("consume · while a solo message runs alone, earlier outcomes are settled without a claim", async () => {
  const { receiver, clock, consumer, running } = bench();
  receiver.add("Work", { ms: 20 });
  const solo = receiver.add("Work", { ms: 500 }, { solo: true });
  const { done } = consumer.wake(LIMITS);
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
  const { done } = consumer.wake(LIMITS);
  await clock.pass(350);
  assert.deepEqual([...running], [solo.id]);
  assert.equal(receiver.pending.length, 5, "claimed beside a solo message");
  const stats = await clock.until(done);
  assert.deepEqual(together.get(solo.id), [solo.id]);
  assert.equal(stats.completed, 8);
});

Deno.test("consume · outcomes survive an unavailable database, and no handler runs twice", async () => {
  const { receiver, clock, consumer, started } = bench();
  for (let n = 0; n < 3; n++) receiver.add("Work", { ms: 10 });
  receiver.failures.push(undefined, ...Array.from({ length: 6 }, away));
  const stats = await clock.until(consumer.wake(LIMITS).done);
  assert.equal(started.length, 3);
  assert.deepEqual(receiver.settled.map(({ id }) => id).sort(), ["message-1", "message-2", "message-3"]);
  assert.equal(stats.completed, 3);
});

Deno.test("consume · an outcome that the database rejects does not delay the others", async () => {
  const { receiver, clock, consumer } = bench();
  for (let n = 0; n < 3; n++) receiver.add("Work");
  receiver.before = (outcomes) => {
    if (outcomes.some(({ id }) => id === "message-2")) throw new SymphonyError("SM_NUL", "poison");
  };
  const stats = await clock.until(consumer.wake(LIMITS).done);
  assert.deepEqual(receiver.settled.map(({ id }) => id), ["message-1", "message-3"]);
  assert.equal(stats.completed, 2);
});

Deno.test("consume · a run that never reached the database reports it", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.failures.push(...Array.from({ length: 100 }, away));
  await assert.rejects(clock.until(consumer.wake(LIMITS).done), { code: "SM_UNAVAILABLE" });
});

Deno.test("consume · a claim that fails because the database is unavailable does not end the run", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.failures.push(away());
  receiver.add("Work");
  assert.equal((await clock.until(consumer.wake(LIMITS).done)).completed, 1);
});

Deno.test("consume · a rejected claim ends the run, after running messages are settled", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work", { ms: 500 });
  receiver.failures.push(undefined, new SymphonyError("SM_LEASE", "no"));
  const stats = await clock.until(consumer.wake(LIMITS).done);
  assert.equal(stats.completed, 1);
  assert.equal(receiver.requests.length, 1);
});

Deno.test("consume · a second wake-up joins the run and extends it; after its end a new one starts", async () => {
  const { receiver, clock, consumer } = bench();
  const first = consumer.wake(LIMITS);
  await clock.pass(800);
  assert.equal(consumer.wake(LIMITS), first);
  await clock.pass(800);
  receiver.add("Work");
  const stats = await clock.until(first.done);
  assert.equal(stats.completed, 1);
  const second = consumer.wake(LIMITS);
  assert.notEqual(second.id, first.id);
  await clock.until(second.done);
});

Deno.test("consume · a reply from before a wake-up does not end the run that it joined", async () => {
  const { receiver, clock, consumer } = bench();
  const exchange = receiver.exchange.bind(receiver);
  const reply = Promise.withResolvers<void>();
  // The first claim finds nothing, and its reply arrives only after the wake-up.
  receiver.exchange = async (...call) => {
    receiver.exchange = exchange;
    const nothing = await exchange(...call);
    await reply.promise;
    return nothing;
  };
  const run = consumer.wake({ ...LIMITS, linger: 0 });
  await clock.pass(1);
  receiver.add("Work");
  assert.equal(consumer.wake({ ...LIMITS, linger: 0 }), run);
  reply.resolve();
  assert.equal((await clock.until(run.done)).completed, 1);
});

Deno.test("consume · a wake-up in the very turn in which a run ends is not lost", async () => {
  const { receiver, clock, consumer } = bench();
  const first = consumer.wake({ ...LIMITS, linger: 0 });
  const woken = first.done.then(() => {
    receiver.add("Work");
    return consumer.wake(LIMITS).done;
  });
  assert.equal((await clock.until(woken)).completed, 1);
});

Deno.test("consume · wake-ups with other queues that join a run are served in turn", async () => {
  const { receiver, clock, consumer } = bench();
  const { done } = consumer.wake(LIMITS, { transport: "email" });
  consumer.wake(LIMITS, { transport: "sms", queues: ["fast"] });
  consumer.wake(LIMITS, { transport: "email" });
  await clock.until(done);
  const requested = receiver.requests.map(({ transport }) => transport);
  assert.deepEqual(requested.slice(0, 4), ["email", "sms", "email", "sms"]);
  assert.deepEqual(receiver.requests[1].queues, ["fast"]);
});

Deno.test("consume · stops claiming when the isolate is old, and finishes the running messages", async () => {
  const { receiver, clock, consumer } = bench();
  for (let n = 0; n < 10; n++) receiver.add("Work", { ms: 3_000 });
  const stats = await clock.until(consumer.wake({ ...LIMITS, timeLimit: 7_000, maxConcurrency: 1 }).done);
  assert.equal(stats.claimed, 3);
  assert.equal(stats.completed, 3);
});

Deno.test("consume · an isolate past its time limit still serves a wake-up for a few seconds", async () => {
  const { receiver, clock, consumer } = bench({ isolateStart: -1_000_000 });
  receiver.add("Work");
  const stats = await clock.until(consumer.wake({ ...LIMITS, linger: 60_000 }).done);
  assert.equal(stats.completed, 1);
  assert.ok(stats.ms < 6_000);
});

Deno.test("consume · handles no more messages than the limit", async () => {
  const { receiver, clock, consumer } = bench();
  for (let n = 0; n < 10; n++) receiver.add("Work");
  const stats = await clock.until(consumer.wake({ ...LIMITS, batchSize: 2, messageLimit: 5 }).done);
  assert.deepEqual([stats.claimed, stats.completed, receiver.pending.length], [5, 5, 5]);
});

Deno.test("consume · when the isolate ends, unstarted messages are released, finished ones settled", async () => {
  const { receiver, clock, consumer, started } = bench();
  receiver.add("Work", { ms: 200 });
  const solo = receiver.add("Work", {}, { solo: true });
  const late = receiver.add("Work");
  const { done } = consumer.wake(LIMITS);
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
  assert.equal((await clock.until(consumer.wake(LIMITS).done)).claimed, 0);
});

Deno.test("consume · messages claimed after the announced end are released unstarted", async () => {
  const { receiver, clock, consumer, started } = bench();
  const reply = Promise.withResolvers<void>();
  receiver.before = () => reply.promise;
  receiver.add("Work");
  const { done } = consumer.wake(LIMITS);
  consumer.stop();
  reply.resolve();
  await clock.until(done);
  assert.deepEqual(started, []);
  assert.deepEqual(receiver.settled.map(({ outcome }) => outcome), ["released"]);
});

Deno.test("consume · an isolate lingers only while it has polls left, and still serves every wake-up", async () => {
  const { receiver, clock, consumer } = bench({ idlePolls: 5 });
  const first = await clock.until(consumer.wake(LIMITS).done);
  assert.equal(first.polls, 5);
  receiver.add("Work");
  const second = await clock.until(consumer.wake(LIMITS).done);
  assert.deepEqual([second.completed, second.polls], [1, 2]);
});
