// The requirements of every transport, whatever carries its messages: one suite, run against a real one.
import assert from "node:assert/strict";
import { SymphonyError } from "../../../shared/errors.ts";
import { interval } from "../../../shared/db.ts";
import type { Outcome } from "../../../shared/delivery.ts";
import { test } from "../../project.ts";
import { Bench, completed, failed, LEASE, of, type OpenTransport, TYPE } from "./bench.ts";

const OTHER = "ConformanceOther";
const LATER = 3_600_000; // ms, longer than any retry delay

/** Registers the suite's tests. `open` is called inside each of them. */
export function exerciseTransport(title: string, open: () => OpenTransport): void {
  const check = (sentence: string, fn: (bench: Bench) => Promise<void>) =>
    test(`${title} · ${sentence}`, () => fn(new Bench(open())));

  check("a sent message is received once, with payload, headers, metadata and priority intact", async (bench) => {
    const payload = { text: 'héllo \u{1F3B6} " \\ \n', list: [1, 2.5, -0.001, null, true, { deep: [[]] }], empty: {} };
    const [sent] = await bench.send([{ payload, headers: { a: "b" }, metadata: { c: [1] }, priority: 9 }]);
    assert.deepEqual([sent.duplicate, sent.status, sent.transport, sent.queue], [
      false,
      "pending",
      bench.transport.name,
      bench.queue,
    ]);
    const [delivery, ...more] = await bench.receive();
    assert.deepEqual(more, []);
    assert.equal(delivery.id, sent.id);
    assert.deepEqual([delivery.message_type, delivery.queue_name, delivery.priority], [TYPE, bench.queue, 9]);
    assert.deepEqual([delivery.body, delivery.headers, delivery.metadata], [payload, { a: "b" }, { c: [1] }]);
    assert.deepEqual([delivery.retry_count, delivery.fence, delivery.solo], [0, 1, false]);
    assert.deepEqual(await bench.receive(), [], "while it is leased no other worker receives it");
    assert.equal(await bench.settle(completed(delivery)), "completed");
    await bench.transport.pass(LATER);
    assert.deepEqual(await bench.receive(), []);
  });

  check("a large payload arrives whole", async (bench) => {
    const payload = { text: "é".repeat(100_000), numbers: Array.from({ length: 1_000 }, (_, n) => n) };
    await bench.send([{ payload }]);
    const [delivery] = await bench.receive();
    assert.deepEqual(delivery.body, payload);
  });

  check("a batch returns its results in its order and is received in it", async (bench) => {
    const sent = await bench.send(Array.from({ length: 20 }, (_, n) => ({ payload: { n } })));
    const received = await bench.receive(20);
    assert.deepEqual(received.map(({ body }) => (body as { n: number }).n), Array.from({ length: 20 }, (_, n) => n));
    assert.deepEqual(received.map(({ id }) => id), sent.map(({ id }) => id));
  });

  check("a higher priority is received first", async (bench) => {
    await bench.send([1, 10, 5].map((priority) => ({ payload: { priority }, priority })));
    assert.deepEqual((await bench.receive()).map(({ priority }) => priority), [10, 5, 1]);
  });

  check("at most the requested number of messages is received, the rest stays", async (bench) => {
    await bench.send([{}, {}, {}]);
    assert.equal((await bench.receive(2)).length, 2);
    assert.equal((await bench.receive(2)).length, 1);
  });

  check("a repeated idempotency key stores one message, and returns its id", async (bench) => {
    const message = { payload: { n: 1 }, idempotency_key: crypto.randomUUID() };
    const [first] = await bench.send([message]);
    const [second] = await bench.send([message]);
    assert.deepEqual([first.duplicate, second.duplicate, second.id], [false, true, first.id]);
    const received = await bench.receive();
    assert.equal(received.length, 1);
    await bench.settle(completed(received[0]));
    const [third] = await bench.send([message]);
    assert.deepEqual([third.duplicate, third.id, third.status], [true, first.id, "completed"]);
  });

  check("one bad message of an atomic batch rejects all, otherwise only itself", async (bench) => {
    const messages = [{}, { priority: 11 }, {}].map((message) => bench.message(message));
    await assert.rejects(
      bench.transport.sender.send(messages, true),
      (error) => error instanceof SymphonyError && error.code === "SM_PRIORITY",
    );
    assert.deepEqual(await bench.receive(), []);
    const results = await bench.transport.sender.send(messages, false);
    assert.deepEqual(results.map((result) => result instanceof SymphonyError ? result.code : result.status), [
      "pending",
      "SM_PRIORITY",
      "pending",
    ]);
    assert.equal((await bench.receive()).length, 2);
  });

  check("a delayed message is not received before its time", async (bench) => {
    await bench.send([{ delay: interval(60_000) }]);
    assert.deepEqual(await bench.receive(), []);
    await bench.transport.pass(30_000);
    assert.deepEqual(await bench.receive(), []);
    await bench.transport.pass(31_000);
    assert.equal((await bench.receive()).length, 1);
  });

  check("only requested types and queues are received", async (bench) => {
    await bench.send([{}]);
    assert.deepEqual(await bench.receive(10, { types: [OTHER] }), []);
    assert.deepEqual(await bench.receive(10, { types: [] }), []);
    assert.deepEqual(await bench.receive(10, { queues: ["elsewhere"] }), []);
    assert.equal((await bench.receive(10, { types: [OTHER, TYPE] })).length, 1);
  });

  check("a failed message returns after its delay, then becomes a dead letter with every attempt", async (bench) => {
    const [{ id }] = await bench.send([{ max_retries: 2 }]);
    for (const [delivery, result] of [[1, "retry"], [2, "retry"], [3, "dead"]] as const) {
      const [claimed] = await bench.receive();
      assert.deepEqual([claimed.id, claimed.fence, claimed.retry_count, claimed.max_retries], [
        id,
        delivery,
        delivery - 1,
        2,
      ]);
      const [settled] = await bench.settleAll([failed(claimed, { error: `failure ${delivery}`, delay_ms: 60_000 })]);
      assert.deepEqual([settled.outcome, settled.available_at !== null], [result, result === "retry"]);
      assert.deepEqual(await bench.receive(), [], "not before its delay");
      await bench.transport.pass(61_000);
    }
    assert.deepEqual(await bench.receive(), []);
    const [deadLetter, ...more] = await bench.transport.deadLetters(id);
    assert.deepEqual(more, []);
    assert.deepEqual([deadLetter.error, deadLetter.error_class, deadLetter.retry_count], ["failure 3", "TestError", 3]);
    assert.deepEqual(deadLetter.attempts.map(({ error }) => error), ["failure 1", "failure 2", "failure 3"]);
  });

  check("without its own delay a retry waits by its type's policy", async (bench) => {
    await bench.send([{}]);
    const [claimed] = await bench.receive();
    assert.equal(await bench.settle(failed(claimed)), "retry");
    assert.deepEqual(await bench.receive(), [], "not at once");
    await bench.transport.pass(LATER);
    assert.equal((await bench.receive()).length, 1);
  });

  check("a message that cannot succeed becomes a dead letter at once", async (bench) => {
    const [{ id }] = await bench.send([{}]);
    const [claimed] = await bench.receive();
    assert.equal(await bench.settle(failed(claimed, { retryable: false })), "dead");
    assert.equal((await bench.transport.deadLetters(id)).length, 1);
    await bench.transport.pass(LATER);
    assert.deepEqual(await bench.receive(), []);
  });

  check("a snoozed message returns when requested, and uses no retry", async (bench) => {
    await bench.send([{ max_retries: 0 }]);
    const [claimed] = await bench.receive();
    assert.equal(await bench.settle({ ...of(claimed), outcome: "snoozed", delay_ms: 60_000 }), "snoozed");
    assert.deepEqual(await bench.receive(), []);
    await bench.transport.pass(61_000);
    const [again] = await bench.receive();
    assert.deepEqual([again.retry_count, again.fence, again.solo], [0, 2, false]);
  });

  check("a released message returns at once and unchanged", async (bench) => {
    await bench.send([{ max_retries: 0 }]);
    const [claimed] = await bench.receive();
    assert.equal(await bench.settle({ ...of(claimed), outcome: "released" }), "released");
    const [again] = await bench.receive();
    assert.deepEqual([again.id, again.retry_count, again.solo], [claimed.id, 0, false]);
  });

  check("an exchange settles finished messages and claims the next ones", async (bench) => {
    await bench.send([{ payload: { n: 1 } }, { payload: { n: 2 } }]);
    const [first] = await bench.receive(1);
    const { settled, claimed } = await bench.transport.receiver.exchange([completed(first)], bench.request(5));
    assert.deepEqual(settled.map(({ id, outcome }) => [id, outcome]), [[first.id, "completed"]]);
    assert.deepEqual(claimed.map(({ body }) => body), [{ n: 2 }]);
  });

  check(
    "a message with an expired lease is delivered to another worker, alone, and the delivery counts",
    async (bench) => {
      await bench.send([{ payload: { n: 1 } }, { payload: { n: 2 } }]);
      const [first] = await bench.receive(1);
      await bench.transport.pass(LEASE + 1_000);
      const again = [...await bench.receive(10), ...await bench.receive(10)];
      assert.equal(again.length, 2);
      const lost = again.find(({ id }) => id === first.id);
      assert.deepEqual([lost?.fence, lost?.retry_count, lost?.solo], [2, 1, true]);
    },
  );

  check("an outcome with an old fence is stale and changes nothing", async (bench) => {
    const [{ id }] = await bench.send([{}]);
    const [old] = await bench.receive();
    await bench.transport.pass(LEASE + 1_000);
    const [current] = await bench.receive();
    const late: Outcome[] = [
      completed(old),
      failed(old, { retryable: false }),
      { ...of(old), outcome: "snoozed", delay_ms: 0 },
      { ...of(old), outcome: "released" },
      { ...completed(old), fence: current.fence + 1 },
    ];
    for (const outcome of late) assert.equal(await bench.settle(outcome), "stale", outcome.outcome);
    const [beat] = await bench.transport.receiver.heartbeat([of(old)], LEASE);
    assert.equal(beat.outcome, "stale");
    assert.deepEqual(await bench.transport.deadLetters(id), []);
    assert.deepEqual(await bench.receive(), []);
    assert.equal(await bench.settle(completed(current)), "completed");
  });

  check("an outcome whose reply was lost can be repeated", async (bench) => {
    await bench.send([{}, {}]);
    const [one, two] = await bench.receive();
    assert.equal(await bench.settle(completed(one)), "completed");
    assert.equal(await bench.settle(completed(one)), "already");
    assert.equal(await bench.settle(failed(two, { retryable: false })), "dead");
    assert.equal(await bench.settle(failed(two, { retryable: false })), "already");
    assert.equal((await bench.transport.deadLetters(two.id)).length, 1);
  });

  check("an outcome for a message that never existed is unknown", async (bench) => {
    assert.equal(
      await bench.settle({ id: crypto.randomUUID(), fence: 1, outcome: "completed", result: null }),
      "unknown",
    );
  });

  check("a heartbeat extends the lease for as long as it is sent", async (bench) => {
    await bench.send([{}]);
    const [claimed] = await bench.receive();
    for (let beats = 0; beats < 3; beats++) {
      await bench.transport.pass(LEASE / 2);
      const progress = { percent: beats };
      const [beat] = await bench.transport.receiver.heartbeat([{ ...of(claimed), progress }], LEASE);
      assert.deepEqual([beat.id, beat.outcome === "stale", beat.cancel_requested], [claimed.id, false, false]);
      assert.deepEqual(await bench.receive(), []);
    }
    assert.equal(await bench.settle(completed(claimed)), "completed");
  });

  check("two workers never receive the same message", async (bench) => {
    await bench.send(Array.from({ length: 50 }, () => ({})));
    const claims = await Promise.all(Array.from({ length: 10 }, () => bench.receive(5)));
    const ids = claims.flat().map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    ids.push(...(await bench.receive(50)).map(({ id }) => id));
    assert.equal(new Set(ids).size, 50);
  });
}
