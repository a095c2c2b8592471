// F1: kill -9 of the worker during a batch. Its messages are handed out again when their leases expire; other messages
// are not affected.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test, useProject } from "../project.ts";
import { Harness } from "./harness.ts";

const harness: Harness = new Harness(() => project());
const project = useProject({
  functions: true,
  clock: true,
  log: harness.log,
  env: { SYMPHONY_WORKER_LEASE: "3000" },
});

const MESSAGES = 60;
const KILLS = 3;

test("worker killed · three times during a batch: all messages complete, none is lost or dead", async () => {
  await harness.produceAll(Array.from({ length: MESSAGES }, () => ({ type: "ExampleSlow", payload: { ms: 150 } })));
  const dead: string[] = [];
  let inFlight = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const worker = await eventually("a live worker holds messages", async () => {
      const [row] = await project().sql`
        select locked_by from messenger_messages where status = 'processing' and locked_by <> all (${dead}) limit 1`;
      return row?.locked_by as string | undefined;
    });
    await project().functions.kill("worker");
    dead.push(worker);
    const held = await project().sql`
      select from messenger_messages where status = 'processing' and locked_by = ${worker}`;
    inFlight += held.length;
  }
  assert.ok(inFlight >= KILLS, `void: only ${inFlight} messages were in flight at ${KILLS} kills`);

  const figures = await harness.judge(`worker killed, ${inFlight} messages in flight at ${KILLS} kills`);
  harness.assertSound(figures);
  assert.ok(figures.handled_more_than_once > 0);
  const late = await project().sql`select id, retry_count from messenger_messages where retry_count > ${KILLS}`;
  assert.deepEqual([...late], [], "each kill costs a message one delivery at most");
});

test("worker killed · a message that kills its worker each time becomes a dead letter, others complete", async () => {
  const { sql, functions } = project();
  const [poison, neighbour] = await harness.produceAll([
    { type: "ExampleSlow", payload: { ms: 60_000 }, options: { maxRetries: 1, priority: 10 } },
    { type: "ExampleSlow", payload: { ms: 1_000 }, options: { maxRetries: 1 } },
  ]);
  const rowOf = async (id: string) => (await sql`select * from messenger_messages where id = ${id}`)[0];
  for (let delivery = 1; delivery <= 2; delivery++) {
    await eventually(`delivery ${delivery} of the poison message runs`, async () => {
      const now = await rowOf(poison);
      return now.status === "processing" && Number(now.fence) === delivery;
    });
    await functions.kill("worker");
  }
  const dead = await eventually("the poison message is dead", async () => {
    const row = await rowOf(poison);
    return row.status === "failed" && row;
  });
  assert.deepEqual([dead.retry_count, dead.error_class], [2, "LeaseExpired"]);
  const [deadLetter] = await sql`select attempts from messenger_failed_messages where message_id = ${poison}`;
  assert.deepEqual(deadLetter.attempts.map(({ error_class }: { error_class: string }) => error_class), [
    "LeaseExpired",
    "LeaseExpired",
  ]);
  // In flight with the poison message at most once: afterwards each runs alone.
  await eventually("the neighbour completes", async () => (await rowOf(neighbour)).status === "completed");
});
