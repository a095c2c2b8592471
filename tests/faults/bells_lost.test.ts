// F9: wake-ups that are lost or come twice cost latency, never a message.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test, useProject } from "../project.ts";
import { Harness } from "./harness.ts";

const harness: Harness = new Harness(() => project());
// A worker that never lingers is asleep before the next message comes, so each needs a bell.
const project = useProject({
  functions: true,
  clock: true,
  log: harness.log,
  env: { SYMPHONY_WORKER_LINGER: "0" },
});

test("bells lost · a message whose every bell was lost is handled when the clock rings again", async () => {
  const { bells, sql } = project();
  bells.drop(1);
  const id = await harness.produce({ type: "ExampleQuick", payload: {} });
  await eventually("its own bell and one of the clock's are lost", () => bells.dropped >= 2);
  const [row] = await sql`select status, fence from messenger_messages where id = ${id}`;
  assert.deepEqual({ ...row }, { status: "pending", fence: "0" });
  bells.drop(0);
  await eventually("the clock rings again", async () => {
    const [now] = await sql`select status from messenger_messages where id = ${id}`;
    return now.status === "completed";
  });
});

test("bells lost · half of them lost and a fifth doubled: all of 200 messages are handled, each once", async () => {
  const { bells, functions } = project();
  const before = { dropped: bells.dropped, calls: functions.invocations("worker") };
  bells.drop(0.5);
  bells.double(0.2);
  for (let burst = 0; burst < 20; burst++) {
    await harness.produceAll(Array.from({ length: 10 }, (_, n) => ({ type: "ExampleQuick", payload: { burst, n } })));
    if (burst % 5 === 4) await eventually("the queue is dry", async () => (await open()) === 0);
  }
  await eventually("enough bells were lost", async () => {
    await harness.produce({ type: "ExampleQuick", payload: {} });
    return bells.dropped - before.dropped >= 5;
  });
  const lost = bells.dropped - before.dropped;
  const figures = await harness.judge(
    `bells lost, ${lost} of them, ${functions.invocations("worker") - before.calls} calls`,
  );
  bells.drop(0);
  bells.double(0);
  harness.assertSound(figures);
  assert.equal(figures.handled_more_than_once, 0);
});

async function open(): Promise<number> {
  const [row] = await project().sql`select count(*)::int as open from messenger_messages where processed_at is null`;
  return row.open;
}
