// F6: a worker is stopped past its lease and continued. Its late outcome is rejected; the outcome of the worker that
// took over counts.
import assert from "node:assert/strict";
import { connect } from "../../shared/db.ts";
import { supabaseReceiver } from "../../shared/transports/supabase.ts";
import { eventually } from "../eventually.ts";
import { test, useProject } from "../project.ts";
import { Harness } from "./harness.ts";

const harness: Harness = new Harness(() => project());
const project = useProject({
  functions: true,
  log: harness.log,
  env: { SYMPHONY_WORKER_LINGER: "0" },
});

const rowOf = async (id: string) => (await project().sql`select * from messenger_messages where id = ${id}`)[0];

/**
 * Lets the worker claim a message and stops its process past the lease. Returns the run's figures, to be awaited later.
 */
async function stopWorkerHolding(
  id: string,
  column = "locked_at",
): Promise<{ stats: Promise<Record<string, number>> }> {
  const stats = callWorker();
  await eventually("the worker runs it", async () => (await rowOf(id))[column] !== null);
  await project().functions.kill("worker", "SIGSTOP");
  assert.equal((await rowOf(id)).status, "processing", "void: it finished before the stop");
  // The test ends the lease instead of waiting: a lease short enough to wait for has heartbeats that would detect the
  // loss first.
  await project()
    .sql`update messenger_messages set lock_expires_at = messenger.now() - interval '1 ms' where id = ${id}`;
  return { stats };
}

async function callWorker(): Promise<Record<string, number>> {
  const { url, secretKey } = project();
  const response = await fetch(`${url}/functions/v1/worker?wait=1`, { method: "POST", headers: { apikey: secretKey } });
  return (await response.json()).stats;
}

function secondWorker() {
  const { url, secretKey: key } = project();
  const receiver = supabaseReceiver(connect({ url, key }));
  const request = { worker: "second", batch: 10, lease: 60_000, types: ["ExampleSlow"] };
  // On a busy machine a session may have placed a scan watermark before the lease ended; it holds for at most five
  // seconds. A heartbeat that was under way when its worker was stopped extends the lease once more, so each attempt
  // ends it again.
  const claim = () =>
    eventually("the second worker gets it", async () => {
      await project()
        .sql`update messenger_messages set lock_expires_at = messenger.now() - interval '1 ms'
          where fence = 1 and status = 'processing'`;
      const { claimed } = await receiver.exchange([], request);
      return claimed.length > 0 && claimed;
    });
  return { receiver, claim };
}

test("stale worker · stopped past its lease, its late outcome is rejected and changes nothing", async () => {
  const id = await harness.produce({ type: "ExampleSlow", payload: { ms: 500 } });
  const run = await stopWorkerHolding(id);

  const { receiver, claim } = secondWorker();
  const [delivery] = await claim();
  assert.deepEqual([delivery.id, delivery.fence, delivery.solo, delivery.retry_count], [id, 2, true, 1]);
  const result = { by: "second" };
  const [settled] = await receiver.settle([{ id, fence: 2, outcome: "completed", result }]);
  assert.equal(settled.outcome, "completed");
  const before = await rowOf(id);

  await project().functions.kill("worker", "SIGCONT");
  const { stale, completed } = await run.stats;
  assert.deepEqual([stale, completed], [1, 0]);
  const after = await rowOf(id);
  assert.deepEqual(after, before);
  assert.deepEqual(after.result, result);
  const figures = await harness.judge("stale worker, taken over and completed");
  harness.assertSound(figures);
  assert(figures.stale_rejected <= 1, "or a heartbeat reported the loss first");
});

test("stale worker · its late outcome is rejected while the second worker still runs, too", async () => {
  const id = await harness.produce({ type: "ExampleSlow", payload: { ms: 500 } });
  const run = await stopWorkerHolding(id);
  const { receiver, claim } = secondWorker();
  const [{ fence }] = await claim();
  const before = await rowOf(id);
  await project().functions.kill("worker", "SIGCONT");
  assert.equal((await run.stats).stale, 1);
  assert.deepEqual(await rowOf(id), before, "still the second's");
  const [settled] = await receiver.settle([{ id, fence, outcome: "completed", result: null }]);
  assert.equal(settled.outcome, "completed");
});

test("stale worker · the outcome counts if the lease has expired and no other worker has the message", async () => {
  const id = await harness.produce({ type: "ExampleSlow", payload: { ms: 3_000 } });
  // After its first report the worker makes no more polls, in which it would claim its own expired message again.
  const run = await stopWorkerHolding(id, "progress");
  await project().functions.kill("worker", "SIGCONT");
  const { stale, completed } = await run.stats;
  assert.deepEqual([stale, completed], [0, 1]);
  const row = await rowOf(id);
  assert.deepEqual([row.status, row.fence, row.retry_count], ["completed", "1", 0]);
});
