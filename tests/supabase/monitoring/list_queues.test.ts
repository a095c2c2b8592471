// messenger_list_queues and messenger_list_workers: the messages of each queue, and the workers that poll it.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, dispatch, dispatchMany, type Row, setClock, settle } from "../bus.ts";

const project = useProject({ testClock: true, isolation: "read committed" });
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  // A worker is active if it has polled within twice this time; the machine may be slow.
  await project().sql`update messenger.settings set poll_interval = '1 minute'`;
});

const queues = async (): Promise<Row[]> => (await callValue(project().sql, "messenger_list_queues")).queues;
const workers = async (): Promise<Row[]> => (await callValue(project().sql, "messenger_list_workers")).workers;
const figures = (queue: Row) => [queue.pending, queue.due, queue.delayed, queue.blocked, queue.processing];

test("list_queues · a queue without messages that is not paused is not listed", async () => {
  const { sql } = project();
  assert.deepEqual([await queues(), await workers()], [[], []]);
  await dispatch(sql);
  const [{ id, fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  assert.deepEqual(await queues(), []);
});

test("list_queues · due, delayed, blocked, pending and running messages are counted separately", async () => {
  const { sql } = project();
  await dispatch(sql);
  await claim(sql);
  await dispatchMany(sql, 2);
  await dispatchMany(sql, 3, { delay: "1 hour" });
  await dispatchMany(sql, 5, { ordering_key: "ada" });
  const [queue] = await queues();
  assert.deepEqual(figures(queue), [10, 3, 3, 4, 1]);
  assert.deepEqual([queue.transport_name, queue.queue_name, queue.estimated], ["supabase", "default", false]);
  assert.deepEqual([queue.paused_at, queue.transport_enabled, queue.awake_workers], [null, true, 1]);
});

test("list_queues · queues of one name on two transports are two, in order of both names", async () => {
  const { sql } = project();
  await call(sql, "messenger_put_transport", { name: "mail", config: { retention: "1 day" } });
  for (const [transport, queue] of [["supabase", "b"], ["supabase", "a"], ["mail", "b"], ["mail", "b"]]) {
    await dispatch(sql, { transport, queue });
  }
  await call(sql, "messenger_put_transport", { name: "mail", enabled: false });
  assert.deepEqual(
    (await queues()).map((queue) => [queue.transport_name, queue.queue_name, queue.pending, queue.transport_enabled]),
    [["mail", "b", 2, false], ["supabase", "a", 1, true], ["supabase", "b", 1, true]],
  );
});

test("list_queues · a paused queue is listed though it is empty, and not after it is resumed", async () => {
  const { sql } = project();
  await call(sql, "messenger_pause", { transport: "supabase", queue: "resting" });
  const [queue] = await queues();
  assert.deepEqual([queue.queue_name, typeof queue.paused_at, ...figures(queue)], ["resting", "string", 0, 0, 0, 0, 0]);
  assert.deepEqual([queue.oldest_due_at, queue.estimated], [null, false]);
  await call(sql, "messenger_resume", { transport: "supabase", queue: "resting" });
  assert.deepEqual(await queues(), []);
});

test("list_queues · the oldest due message is searched in every priority, among the waiting ones", async () => {
  const { sql } = project();
  const running = await dispatch(sql, { priority: 9 });
  const [held] = await claim(sql);
  assert.equal(held.id, running.id);
  await setClock(sql, "1 minute");
  const low = await dispatch(sql, { priority: 1 });
  await setClock(sql, "2 minutes");
  await dispatch(sql, { priority: 10 });
  await dispatch(sql, { delay: "1 hour" });
  const [{ oldest_due_at }] = await queues();
  const [{ at }] = await sql`select to_jsonb(available_at) #>> '{}' as at from messenger_messages where id = ${low.id}`;
  assert.equal(oldest_due_at, at);
});

test("list_queues · above 10,000 figures are estimated and consistent, those of small queues stay exact", async () => {
  const { sql } = project();
  await sql`insert into messenger_messages (message_type, queue_name) select 'Filler', 'big'
    from generate_series(1, 12000) n`;
  await dispatchMany(sql, 3, { queue: "small" });
  await claim(sql, { queues: ["big"], batch: 5 });
  await sql`analyze messenger_messages`;
  const [big, small] = await queues();
  assert.deepEqual([big.queue_name, big.estimated, big.processing, big.blocked], ["big", true, 5, 0]);
  assert.ok(big.pending > 9_000 && big.pending < 15_000, `${big.pending}`);
  assert.equal(big.pending, big.due + big.delayed + big.blocked);
  assert.deepEqual([small.estimated, ...figures(small)], [false, 3, 3, 0, 0, 0]);
});

test("list_queues · at 10,000 figures are still exact", async () => {
  const { sql } = project();
  await sql`insert into messenger_messages (message_type, queue_name) select 'Filler', 'big'
    from generate_series(1, 10000) n`;
  const [{ pending, estimated }] = await queues();
  assert.deepEqual([pending, estimated], [10_000, false]);
});

test("list_queues · with hundreds of queues each has the same figures as alone", async () => {
  const { sql } = project();
  await call(sql, "messenger_dispatch_batch", {
    messages: Array.from({ length: 200 }, (_, n) => ({ type: "Greeting", queue: `other-${n}`, delay: "1 hour" })),
  });
  await dispatchMany(sql, 3, { queue: "busy" });
  await dispatchMany(sql, 2, { queue: "busy", delay: "1 hour" });
  await dispatchMany(sql, 2, { queue: "busy", ordering_key: "ada" });
  await claim(sql, { queues: ["busy"], batch: 2 });
  const [{ at }] = await sql`
    select to_jsonb(min(available_at)) #>> '{}' as at from messenger_messages
    where queue_name = 'busy' and status = 'pending' and available_at <= messenger.now()`;
  const all = await queues();
  assert.equal(all.length, 201);
  const [busy, other] = all;
  assert.deepEqual([busy.queue_name, busy.oldest_due_at, busy.estimated], ["busy", at, false]);
  assert.deepEqual([figures(busy), figures(other)], [[5, 2, 2, 1, 2], [1, 0, 1, 0, 0]]);
  await call(sql, "messenger_pause", { transport: "supabase", queue: "idle" });
  assert.deepEqual(figures((await queues()).find(({ queue_name }) => queue_name === "idle")!), [0, 0, 0, 0, 0]);
});

test("list_queues · a worker counts for the queues it polls, as long as it polls", async () => {
  const { sql } = project();
  await dispatchMany(sql, 1, { queue: "a", delay: "1 hour" });
  await dispatchMany(sql, 1, { queue: "b", delay: "1 hour" });
  await claim(sql, { worker: "all" });
  await claim(sql, { worker: "only-a", queues: ["a"] });
  const awake = async () => (await queues()).map((queue) => [queue.queue_name, queue.awake_workers]);
  assert.deepEqual(await awake(), [["a", 2], ["b", 1]]);
  assert.deepEqual((await workers()).map((worker) => [worker.worker, worker.queues, worker.awake]).sort(), [
    ["all", null, true],
    ["only-a", ["a"], true],
  ]);
  await setClock(sql, "30 minutes");
  assert.deepEqual(await awake(), [["a", 0], ["b", 0]]);
  assert.deepEqual((await workers()).map(({ awake }) => awake), [false, false]);
  await setClock(sql, "61 minutes");
  assert.deepEqual(await workers(), []);
});

test("list_workers · each with the messages it is processing", async () => {
  const { sql } = project();
  await dispatchMany(sql, 5);
  await claim(sql, { worker: "ada", batch: 2 });
  await claim(sql, { worker: "bob", batch: 3 });
  assert.deepEqual((await workers()).map(({ worker, processing }) => [worker, processing]).sort(), [["ada", 2], [
    "bob",
    3,
  ]]);
});

test("list_queues · service_role may call it, users may not", async () => {
  const { sql } = project();
  await dispatch(sql);
  for (const name of ["messenger_list_queues", "messenger_list_workers"]) {
    assert.ok(await asRole(sql, "service_role", (tx) => callValue(tx, name)));
    for (const role of ["authenticated", "anon"] as const) {
      await assert.rejects(asRole(sql, role, (tx) => callValue(tx, name), crypto.randomUUID()), /permission denied/);
    }
  }
});
