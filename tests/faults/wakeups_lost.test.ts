// F9: lost and doubled wake-ups cost latency, never a message.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test, useProject } from "../project.ts";
import { Harness } from "./harness.ts";

const harness: Harness = new Harness(() => project());
// A worker that never lingers is idle before the next message arrives, so each message needs a wake-up.
const project = useProject({
  functions: true,
  clock: true,
  log: harness.log,
  env: { SYMPHONY_WORKER_LINGER: "0" },
});

test("wake-ups lost · a message without any wake-up is handled when the ticker sends wake-ups again", async () => {
  const { wakeups, sql } = project();
  wakeups.drop(1);
  const id = await harness.produce({ type: "ExampleQuick", payload: {} });
  await eventually("its own wake-up and one of the ticker's are lost", () => wakeups.dropped >= 2);
  const [row] = await sql`select status, fence from messenger_messages where id = ${id}`;
  assert.deepEqual({ ...row }, { status: "pending", fence: "0" });
  wakeups.drop(0);
  await eventually("the ticker sends wake-ups again", async () => {
    const [now] = await sql`select status from messenger_messages where id = ${id}`;
    return now.status === "completed";
  });
});

test("wake-ups lost · half of them lost and a fifth doubled: all of 200 messages are handled once", async () => {
  const { wakeups, functions } = project();
  const before = { dropped: wakeups.dropped, calls: functions.invocations("worker") };
  wakeups.drop(0.5);
  wakeups.double(0.2);
  for (let burst = 0; burst < 20; burst++) {
    await harness.produceAll(Array.from({ length: 10 }, (_, n) => ({ type: "ExampleQuick", payload: { burst, n } })));
    if (burst % 5 === 4) await eventually("the queue is empty", async () => (await open()) === 0);
  }
  await eventually("enough wake-ups were lost", async () => {
    await harness.produce({ type: "ExampleQuick", payload: {} });
    return wakeups.dropped - before.dropped >= 5;
  });
  const lost = wakeups.dropped - before.dropped;
  const figures = await harness.judge(
    `wake-ups lost, ${lost} of them, ${functions.invocations("worker") - before.calls} calls`,
  );
  wakeups.drop(0);
  wakeups.double(0);
  harness.assertSound(figures);
  assert.equal(figures.handled_more_than_once, 0);
});

async function open(): Promise<number> {
  const [row] = await project().sql`select count(*)::int as open from messenger_messages where processed_at is null`;
  return row.open;
}
