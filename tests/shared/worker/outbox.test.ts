// Outcomes that do not reach the database at once: their repetition and its pauses.
import assert from "node:assert/strict";
import { SymphonyError } from "../../../shared/errors.ts";
import { bench, LIMITS } from "./consumer_setup.ts";

const away = () => new SymphonyError("SM_UNAVAILABLE", "away");

Deno.test("outbox · an outcome that is sent alone while the database is unavailable is sent again", async () => {
  const { receiver, clock, consumer } = bench();
  const { id } = receiver.add("Work");
  const failures = [new SymphonyError("SM_NUL", "poison"), away()];
  receiver.before = (outcomes) => {
    const failure = outcomes.length > 0 ? failures.shift() : undefined;
    if (failure) throw failure;
  };
  const { completed } = await clock.until(consumer.wake(LIMITS).done);
  assert.deepEqual([receiver.settled.map((outcome) => outcome.id), completed], [[id], 1]);
});

Deno.test("outbox · an outcome that the database rejects alone, too, is dropped", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work");
  let sent = 0;
  receiver.before = ({ length }) => {
    sent += length;
    if (length > 0) throw new SymphonyError("SM_NUL", "poison");
  };
  const { completed } = await clock.until(consumer.wake(LIMITS).done);
  assert.deepEqual([sent, completed, receiver.settled], [2, 0, []]);
});

Deno.test("outbox · pauses double from 100 ms to 2 s, less at most half, and start again after a success", async () => {
  const { receiver, clock, consumer } = bench();
  let failures = 0;
  let at: number[] = [];
  receiver.before = ({ length }) => {
    if (length === 0) return;
    at.push(clock.now());
    if (failures-- > 0) throw away();
  };
  const { done } = consumer.wake({ ...LIMITS, linger: 30_000 });
  const assertPauses = async (longest: number[]) => {
    [failures, at] = [longest.length, []];
    receiver.add("Work");
    await clock.pass(10_000); // longer than all pauses together
    const pauses = at.slice(1).map((moment, index) => moment - at[index]);
    assert.equal(pauses.length, longest.length);
    pauses.forEach((pause, index) => {
      assert.ok(pause >= longest[index] / 2 && pause <= longest[index], `pause ${index + 1}: ${pause} ms`);
    });
  };
  await assertPauses([100, 200, 400, 800, 1_600, 2_000, 2_000]);
  await assertPauses([100, 200]);
  assert.equal((await clock.until(done)).completed, 2);
});

Deno.test("outbox · an outcome whose row is locked is sent again, and delays no other message", async () => {
  const { receiver, clock, consumer } = bench();
  const { id } = receiver.add("Work");
  const at: number[] = [];
  receiver.reply = (outcome) => {
    if (outcome.id !== id) return undefined;
    at.push(clock.now());
    return at.length <= 4 ? "locked" : undefined;
  };
  const { done } = consumer.wake({ ...LIMITS, linger: 30_000 });
  await clock.pass(150);
  const other = receiver.add("Work");
  await clock.pass(100);
  assert.deepEqual(receiver.settled.map((outcome) => outcome.id), [other.id], "handled and recorded meanwhile");
  const { completed } = await clock.until(done);
  assert.deepEqual([receiver.settled.map((outcome) => outcome.id), completed], [[other.id, id], 2]);
  const pauses = at.slice(1).map((moment, index) => moment - at[index]);
  [100, 200, 400, 800].forEach((least, index) =>
    assert.ok(pauses[index] >= least, `pause ${index + 1}: ${pauses[index]}`)
  );
});

Deno.test("outbox · a run does not end while a row is locked, until the lease has expired", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work");
  let sent = 0;
  receiver.reply = () => {
    sent++;
    return "error: P0001 not today";
  };
  const ended: number[] = [];
  consumer.wake(LIMITS).done.then(({ completed }) => ended.push(completed));
  await clock.pass(59_000);
  assert.deepEqual(ended, [], "the lease may still be held");
  await clock.pass(6_000);
  assert.ok(sent > 20 && sent < 50, `${sent}`);
  assert.deepEqual([ended, receiver.settled], [[0], []]);
});

Deno.test("outbox · under a long lease an outcome is sent again until that lease has expired", async () => {
  const { receiver, clock, consumer } = bench({ lease: 300_000 });
  receiver.add("Work");
  const start = clock.now();
  receiver.reply = () => clock.now() - start < 200_000 ? "locked" : undefined;
  const { completed } = await clock.until(consumer.wake({ ...LIMITS, timeLimit: 600_000 }).done);
  assert.deepEqual([receiver.settled.length, completed], [1, 1]);
});

Deno.test("outbox · a worker that is stopped does not wait for a locked row", async () => {
  const { receiver, clock, consumer } = bench();
  receiver.add("Work");
  receiver.reply = () => "locked";
  const { done } = consumer.wake(LIMITS);
  await clock.pass(500);
  const started = clock.now();
  consumer.stop();
  await clock.until(done);
  assert.ok(clock.now() - started < 100);
});
