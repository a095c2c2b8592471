// F7: a handler slower than its lease. With heartbeats it keeps its message; without them another worker claims it and
// the first outcome is rejected.
import assert from "node:assert/strict";
import { connect } from "../../shared/db.ts";
import { supabaseReceiver } from "../../shared/transports/supabase.ts";
import { eventually } from "../eventually.ts";
import { test, useProject } from "../project.ts";
import { Harness } from "./harness.ts";

const LEASE = 1_500; // ms

const harness: Harness = new Harness(() => project());
const project = useProject({
  functions: true,
  log: harness.log,
  env: { SYMPHONY_WORKER_LEASE: String(LEASE), SYMPHONY_WORKER_LINGER: "0" },
});

const rowOf = async (id: string) => (await project().sql`select * from messenger_messages where id = ${id}`)[0];

async function work(): Promise<Record<string, number>> {
  const { url, secretKey } = project();
  const response = await fetch(`${url}/functions/v1/worker?wait=1`, { method: "POST", headers: { apikey: secretKey } });
  return (await response.json()).stats;
}

function second() {
  const { url, secretKey: key } = project();
  const receiver = supabaseReceiver(connect({ url, key }));
  const request = { worker: "second", batch: 10, lease: 60_000, types: ["ExampleSlow"] };
  return { receiver, claim: async () => (await receiver.exchange([], request)).claimed };
}

test("slow handler · with heartbeats it runs for three leases and no other worker claims its message", async () => {
  const id = await harness.produce({ type: "ExampleSlow", payload: { ms: 3 * LEASE } });
  const run = work();
  const { locked_at } = await eventually("it runs", async () => {
    const row = await rowOf(id);
    return row.status === "processing" && row;
  });
  const { claim } = second();
  await eventually("it holds the message by a second lease", async () => {
    assert.deepEqual(await claim(), []);
    const { lock_expires_at } = await rowOf(id);
    return lock_expires_at && lock_expires_at.getTime() - locked_at.getTime() > 2 * LEASE;
  });
  const { completed, stale } = await run;
  assert.deepEqual([completed, stale, (await rowOf(id)).fence], [1, 0, "1"]);
  harness.assertSound(await harness.judge("a handler of three leases, with heartbeats"));
});

test("slow handler · without heartbeats: the second worker's outcome counts, the first one's is rejected", async () => {
  const id = await harness.produce({ type: "ExampleSlow", payload: { ms: 2 * LEASE } });
  const run = work();
  await eventually("it runs", async () => (await rowOf(id)).status === "processing");
  // Heartbeats of this worker are rejected from now on, so the lease expires while the handler runs.
  await project().sql`alter function messenger_heartbeat rename to messenger_heartbeat_gone`;
  const { receiver, claim } = second();
  const [delivery] = await eventually("the lease has expired", async () => {
    const claimed = await claim();
    return claimed.length > 0 && claimed;
  });
  assert.deepEqual([delivery.id, delivery.fence, delivery.solo, delivery.retry_count], [id, 2, true, 1]);
  const { completed, stale } = await run;
  assert.deepEqual([completed, stale, (await rowOf(id)).locked_by], [0, 1, "second"]);
  const [settled] = await receiver.settle([{ id, fence: 2, outcome: "completed", result: { by: "second" } }]);
  assert.equal(settled.outcome, "completed");
  await project().sql`alter function messenger_heartbeat_gone rename to messenger_heartbeat`;
  harness.assertSound(await harness.judge("a handler of two leases, without heartbeats"));
});
