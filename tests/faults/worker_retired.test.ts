// F2: the edge runtime ends an isolate. Before its end the isolate releases unstarted messages and settles the ones it
// finishes.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test, useProject } from "../project.ts";
import { Harness } from "./harness.ts";

const WALL_CLOCK = 20_000; // ms: no new requests from 10 s, beforeunload at 18 s, the end at 20 s

const harness: Harness = new Harness(() => project());
const project = useProject({
  functions: true,
  clock: true,
  log: harness.log,
  limits: { wallClock: WALL_CLOCK },
});

test("worker retired · at its wall clock limit unstarted messages are released, running ones settled", async () => {
  const { functions, sql } = project();
  const born = Date.now();
  functions.warm("worker");
  const first = functions.pid("worker");
  const rowOf = async (id: string) => (await sql`select * from messenger_messages where id = ${id}`)[0];

  // Both edge functions are warm, so the next calls start at once.
  const quick = await harness.produce({ type: "ExampleQuick", payload: {} });
  await eventually("the worker works", async () => (await rowOf(quick)).status === "completed");
  // Ends after the isolate's beforeunload and before its end.
  const ms = WALL_CLOCK * 0.93 - (Date.now() - born);
  const running = await harness.produce({ type: "ExampleSlow", payload: { ms: Math.round(ms) } });
  const held = await eventually("it runs", async () => {
    const row = await rowOf(running);
    return row.status === "processing" && row;
  });
  // A suspect runs alone, so it is claimed and waits while the other message runs.
  const waiting = await harness.produce({ type: "ExampleQuick", payload: {}, options: { delay: 500 } });
  await sql`update messenger_messages set lease_losses = 1 where id = ${waiting} and status = 'pending'`;
  await eventually("the suspect is claimed by the same worker", async () => {
    const row = await rowOf(waiting);
    return row.status === "processing" && row.locked_by === held.locked_by;
  });

  const figures = await harness.judge("worker retired");
  harness.assertSound(figures);
  const [settled, released] = [await rowOf(running), await rowOf(waiting)];
  assert.deepEqual(
    [settled.fence, settled.retry_count, settled.result.ok],
    ["1", 0, true],
    "settled by the first isolate",
  );
  assert.deepEqual([released.fence, released.retry_count], ["2", 0], "released by the first, run by the second");
  assert.notEqual(functions.pid("worker"), first);
});
