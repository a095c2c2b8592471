// Leases of running handlers: extended, lost, and with cancel requests.
import assert from "node:assert/strict";
import { StaleLease, SymphonyError } from "../../../shared/errors.ts";
import { bench, LIMITS } from "./consumer_setup.ts";

Deno.test("heartbeat · a waiting solo message keeps its lease, and is dropped when it is lost", async () => {
  const { receiver, clock, consumer, started } = bench();
  receiver.add("Work", { ms: 50_000 });
  const solo = receiver.add("Work", {}, { solo: true });
  receiver.beat = ({ id }) => id === solo.id ? { outcome: "stale" } : {};
  const stats = await clock.until(consumer.wake(LIMITS).done);
  assert.deepEqual(receiver.beats[0].map(({ id }) => id), ["message-1", solo.id]);
  assert.deepEqual(started, ["message-1"]);
  assert.deepEqual([stats.stale, stats.completed, receiver.settled.length], [1, 1, 1]);
});

Deno.test("heartbeat · one heartbeat per third of the lease carries all leases and the progress", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work", { ms: 50_000 });
  receiver.add("Work", { ms: 50_000 });
  await clock.until(consumer.wake(LIMITS).done);
  assert.deepEqual(receiver.beats.map((leases) => leases.length), [2, 2]);
});

Deno.test("heartbeat · after a failed one the next follows within a twelfth of the lease", async () => {
  const { receiver, clock, consumer } = bench();
  const at: number[] = [];
  const heartbeat = receiver.heartbeat.bind(receiver);
  receiver.heartbeat = (leases) => {
    at.push(clock.now());
    return at.length === 1 ? Promise.reject(new SymphonyError("SM_UNAVAILABLE", "away")) : heartbeat(leases);
  };
  receiver.add("Work", { ms: 50_000 });
  await clock.until(consumer.wake(LIMITS).done);
  assert.deepEqual(at, [20_000, 25_000, 45_000]);
});

Deno.test("heartbeat · progress does not wait for the next one, but at most one call per second has it", async () => {
  const { receiver, clock, consumer } = bench({
    async handle(ctx) {
      for (let percent = 0; percent < 100; percent++) {
        ctx.progress({ percent });
        await clock.sleep(100);
      }
    },
  });
  receiver.add("Work");
  await clock.until(consumer.wake(LIMITS).done);
  const reported = receiver.beats.flat().map(({ progress }) => progress);
  assert.ok(reported.length >= 8 && reported.length <= 11, `${reported.length} calls`);
  assert.ok(reported.every((progress) => progress !== undefined));
});

Deno.test("heartbeat · progress made during a call is sent with the next one", async () => {
  const { receiver, clock, consumer } = bench({
    async handle(ctx) {
      ctx.progress(1);
      await clock.sleep(1_050); // the call that carries 1 is in flight
      ctx.progress(2);
      await clock.sleep(5_000);
    },
  });
  const heartbeat = receiver.heartbeat.bind(receiver);
  receiver.heartbeat = async (leases) => {
    const beats = await heartbeat(leases);
    await clock.sleep(100);
    return beats;
  };
  receiver.add("Work");
  await clock.until(consumer.wake(LIMITS).done);
  const reported = receiver.beats.flat().map(({ progress }) => progress).filter((progress) => progress !== undefined);
  assert.deepEqual(reported, [1, 2]);
});

Deno.test("heartbeat · a lost lease aborts its handler with StaleLease and is not settled", async () => {
  const { receiver, clock, consumer, reasons } = bench();
  const lost = receiver.add("Work", { ms: 90_000 });
  const kept = receiver.add("Work", { ms: 30_000 });
  receiver.beat = ({ id }) => id === lost.id ? { outcome: "stale" } : {};
  const stats = await clock.until(consumer.wake(LIMITS).done);
  assert.ok(reasons.get(lost.id) instanceof StaleLease);
  assert.deepEqual(receiver.settled.map(({ id }) => id), [kept.id]);
  assert.deepEqual([stats.stale, stats.completed], [1, 1]);
  assert.ok(stats.ms < 90_000, "waited for a handler whose lease was lost");
});

Deno.test("heartbeat · a deleted message aborts its handler as a lost lease does", async () => {
  const { receiver, clock, consumer, reasons } = bench();
  const gone = receiver.add("Work", { ms: 90_000 });
  receiver.beat = () => ({ outcome: "unknown" });
  const stats = await clock.until(consumer.wake(LIMITS).done);
  assert.ok(reasons.get(gone.id) instanceof StaleLease);
  assert.deepEqual([stats.stale, receiver.settled.length], [1, 0]);
});

Deno.test("heartbeat · when a waiting solo message is lost the next claim follows at once", async () => {
  const { receiver, clock, consumer, started } = bench();
  receiver.add("Work", { ms: 50_000 });
  const solo = receiver.add("Work", {}, { solo: true });
  receiver.beat = ({ id }) => id === solo.id ? { outcome: "stale" } : {};
  const { done } = consumer.wake({ ...LIMITS, linger: 30_000, pollInterval: 10_000 });
  await clock.pass(100);
  const next = receiver.add("Work");
  await clock.pass(20_000);
  assert.deepEqual(started, ["message-1", next.id]);
  await clock.until(done);
});

Deno.test("heartbeat · a requested cancellation reaches the handler, which still decides", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work", { ms: 90_000 });
  receiver.beat = () => ({ cancel_requested: true });
  const stats = await clock.until(consumer.wake(LIMITS).done);
  const [outcome] = receiver.settled;
  assert.ok(outcome.outcome === "failed" && outcome.error_class === "CancelRequested");
  assert.ok(stats.ms < 30_000);
});

Deno.test("heartbeat · a message claimed again while it still runs here replaces its earlier delivery", async () => {
  const { receiver, clock, consumer } = bench();
  const first = receiver.add("Work", { ms: 5_000 });
  const { done } = consumer.wake(LIMITS);
  await clock.pass(100);
  receiver.pending.push({ ...first, fence: 2, body: { ms: 1 } });
  const stats = await clock.until(done);
  assert.deepEqual(receiver.settled.map(({ fence }) => fence), [2]);
  assert.deepEqual([stats.stale, stats.completed], [1, 1]);
});
