// messenger_claim: the messages it returns, their order, and their leases.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, claim, dispatch, dispatchMany, messageOf, secondsUntil, setClock } from "../bus.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const ids = (rows: { id: string }[]) => rows.map(({ id }) => id);

test("claim · returns the message with its fence under a lease", async () => {
  const { sql } = project();
  const fields = { payload: { a: 1 }, headers: { h: 2 }, metadata: { m: 3 }, queue: "q", priority: 6, max_retries: 2 };
  const { id } = await dispatch(sql, fields);
  const [row] = await claim(sql, { lease: "90 s" });
  assert.deepEqual([row.id, row.message_type, row.queue_name, row.body, row.headers, row.metadata], [
    id,
    "Greeting",
    "q",
    { a: 1 },
    { h: 2 },
    { m: 3 },
  ]);
  assert.deepEqual([row.priority, row.retry_count, row.max_retries, row.fence, row.solo], [6, 0, 2, "1", false]);
  const seconds = await secondsUntil(sql, row.lock_expires_at);
  assert(seconds > 80 && seconds <= 90, `${seconds}`);
  const stored = await messageOf(sql, id);
  assert.deepEqual([stored.status, stored.locked_by, stored.fence, stored.lock_expires_at], [
    "processing",
    "ada",
    "1",
    row.lock_expires_at,
  ]);
  assert.deepEqual([stored.processed_at, stored.locked_at, row.created_at], [
    null,
    stored.updated_at,
    stored.created_at,
  ]);
});

test("claim · service_role may", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  assert.deepEqual(ids(await asRole(sql, "service_role", (tx) => claim(tx))), [id]);
});

test("claim · returns no rows from an empty bus", async () => {
  assert.deepEqual(await claim(project().sql), []);
});

test("claim · priority first, then availability, then arrival", async () => {
  const { sql } = project();
  const at = (seconds: number) => ({ available_at: new Date(Date.now() + seconds * 1000) });
  const low = await dispatch(sql, { priority: 1 });
  const late = await dispatch(sql, at(120));
  const early = await dispatch(sql, at(60));
  const high = await dispatch(sql, { priority: 10, ...at(180) });
  const [third, fourth] = await dispatchMany(sql, 2, { available_at: new Date(Date.now() + 150_000).toISOString() });
  await setClock(sql, "5 minutes");
  assert.deepEqual(ids(await claim(sql)), [high.id, early.id, late.id, third, fourth, low.id]);
});

test("claim · a batch returns the first messages only, and the next claim continues", async () => {
  const { sql } = project();
  const all = await dispatchMany(sql, 25);
  assert.deepEqual(ids(await claim(sql)), all.slice(0, 10));
  assert.deepEqual(ids(await claim(sql, { batch: 1 })), all.slice(10, 11));
  assert.deepEqual(ids(await claim(sql, { batch: 1000 })), all.slice(11));
});

test("claim · a batch is filled across priorities and never exceeded", async () => {
  const { sql } = project();
  for (const priority of [1, 5, 10]) await dispatchMany(sql, 4, { priority });
  const rows = await claim(sql, { batch: 6 });
  assert.deepEqual(rows.map(({ priority }) => priority), [10, 10, 10, 10, 5, 5]);
});

test("claim · returns only announced types", async () => {
  const { sql } = project();
  const a = await dispatch(sql, { type: "A" });
  await dispatch(sql, { type: "B" });
  const c = await dispatch(sql, { type: "C" });
  assert.deepEqual(ids(await claim(sql, { types: ["A", "C", "D"] })), [a.id, c.id]);
  assert.deepEqual(await claim(sql, { types: ["D"] }), []);
});

test("claim · returns only the requested queues", async () => {
  const { sql } = project();
  const a = await dispatch(sql, { queue: "a" });
  const b = await dispatch(sql, { queue: "b" });
  await dispatch(sql, { queue: "c" });
  assert.deepEqual(await claim(sql, { queues: ["nowhere"] }), []);
  assert.deepEqual(ids(await claim(sql, { queues: ["a", "b", "nowhere"] })).toSorted(), [a.id, b.id]);
});

test("claim · returns only the requested transport; null means all", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type) values ('post', 'supabase')`;
  const first = await dispatch(sql);
  const post = await dispatch(sql, { transport: "post" });
  assert.deepEqual(ids(await claim(sql, { transport: "post" })), [post.id]);
  assert.deepEqual(ids(await claim(sql)), [first.id]);
});

test("claim · a disabled transport and a broker's return nothing until they are enabled", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await sql`update messenger_transports set enabled = false where name = 'supabase'`;
  assert.deepEqual(await claim(sql), []);
  assert.deepEqual(await claim(sql, { transport: "supabase" }), []);
  await sql`update messenger_transports set enabled = true, type = 'redis' where name = 'supabase'`;
  assert.deepEqual(await claim(sql), []);
  await sql`update messenger_transports set type = 'supabase' where name = 'supabase'`;
  assert.deepEqual(ids(await claim(sql)), [id]);
});

test("claim · a delayed message is not visible before its time", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { delay: "10 minutes" });
  assert.deepEqual(await claim(sql), []);
  await setClock(sql, "599 seconds");
  assert.deepEqual(await claim(sql), []);
  await setClock(sql, "601 seconds");
  assert.deepEqual(ids(await claim(sql)), [id]);
});

test("claim · due messages do not bring along delayed ones of their queue", async () => {
  await using sql = session(project());
  const limits = [["5 milliseconds", "the first scan"], [
    "-1 hour",
    "the careful scan, which follows an interrupted one",
  ]];
  for (const [limit, scan] of limits) {
    await empty(sql);
    await sql`select set_config('messenger.scan_limit', ${limit}, false)`;
    const due = [];
    for (const priority of [9, 3]) {
      due.push((await dispatch(sql, { priority })).id);
      await dispatch(sql, { priority, delay: "10 minutes" });
    }
    await dispatch(sql, { priority: 6, delay: "10 minutes" });
    assert.deepEqual(ids(await claim(sql)), due, scan);
  }
});

test("claim · a message that waits for its predecessor (infinity) is never handed out", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await sql`update messenger_messages set available_at = 'infinity' where id = ${id}`;
  await setClock(sql, "1000 years");
  assert.deepEqual(await claim(sql), []);
});

test("claim · an expired message is never handed out; it fails as Expired without a dead letter", async () => {
  const { sql } = project();
  const old = await dispatch(sql, { expires_at: new Date(Date.now() + 60_000) });
  const good = await dispatch(sql);
  await setClock(sql, "61 seconds");
  assert.deepEqual(ids(await claim(sql)), [good.id]);
  const row = await messageOf(sql, old.id);
  assert.deepEqual([row.status, row.error_class, row.fence, row.retry_count], ["failed", "Expired", "0", 0]);
  assert(row.processed_at && row.last_error);
  assert.equal((await sql`select from messenger_failed_messages`).length, 0);
});

test("claim · a thousand expired messages hide none behind them", async () => {
  const { sql } = project();
  await dispatchMany(sql, 1000, { expires_at: new Date(Date.now() + 60_000).toISOString(), priority: 10 });
  const { id } = await dispatch(sql, { priority: 1 });
  await setClock(sql, "61 seconds");
  assert.deepEqual(ids(await claim(sql, { batch: 10 })), [id]);
});

test("claim · every queue is served although one is never empty", async () => {
  const { sql } = project();
  await dispatchMany(sql, 300, { queue: "a" });
  const rare = ids(await Promise.all([dispatch(sql, { queue: "b" }), dispatch(sql, { queue: "c" })]));
  const seen = new Set<string>();
  for (let n = 0; n < 250 && !rare.every((id) => seen.has(id)); n++) {
    for (const { id } of await claim(sql, { batch: 1 })) seen.add(id);
  }
  assert(rare.every((id) => seen.has(id)), `reached after ${seen.size} claims`);
});

test("claim · one call fills its batch from several queues, in order of priority", async () => {
  const { sql } = project();
  const all: string[] = [];
  for (const [priority, queue] of [[9, "a"], [8, "b"], [7, "c"], [6, "a"]] as const) {
    all.push(...await dispatchMany(sql, 2, { priority, queue }));
  }
  assert.deepEqual(ids(await claim(sql, { batch: 10 })), all);
});

test("claim · every queue name that dispatch accepts is accepted, the word null too, and an empty list", async () => {
  const { sql } = project();
  for (const queue of ["null", "a", "0-_", "q".repeat(63)]) {
    const { id } = await dispatch(sql, { queue });
    assert.deepEqual(ids(await claim(sql, { queues: [queue, "other"] })), [id]);
  }
  await dispatch(sql);
  assert.deepEqual(await sql`select * from messenger_claim('w', queues => '{}')`.then((rows) => rows.length), 0);
});

test("claim · a rejected queue name is shown", async () => {
  const { sql } = project();
  assert.match(
    await assertRejected(sql`select * from messenger_claim('w', queues => '{a,Default}')`, "SM_QUEUE"),
    /queues: "Default"/,
  );
});

test("claim · bad arguments are rejected and no lease is given", async () => {
  const { sql } = project();
  await dispatch(sql);
  const bad: [string, string][] = [
    ["''", "SM_WORKER"],
    ["null", "SM_WORKER"],
    ["repeat('w', 201)", "SM_WORKER"],
    ["E'w\\n'", "SM_WORKER"],
    ["E'\\tw'", "SM_WORKER"],
    ["E'w\\x7f'", "SM_WORKER"],
    ["'w', queues => '{a,Default}'", "SM_QUEUE"],
    ["'w', queues => array['a', '']", "SM_QUEUE"],
    ["'w', queues => array['a', null]", "SM_QUEUE"],
    ["'w', queues => array['a b']", "SM_QUEUE"],
    ["'w', queues => array['a,b']", "SM_QUEUE"],
    ["'w', queues => array['a\"}']", "SM_QUEUE"],
    ["'w', queues => array[repeat('q', 64)]", "SM_QUEUE"],
    ["'w', queues => array[E'a\\n']", "SM_QUEUE"],
    ["'w', queues => '{{a,b},{c,d}}'", "SM_QUEUE"],
    ["'w', batch => 0", "SM_BATCH"],
    ["'w', batch => -1", "SM_BATCH"],
    ["'w', batch => 1001", "SM_BATCH"],
    ["'w', lease => '0'", "SM_LEASE"],
    ["'w', lease => '-1 s'", "SM_LEASE"],
    ["'w', lease => '13 h'", "SM_LEASE"],
    ["'w', transport => 'pigeon'", "SM_TRANSPORT"],
  ];
  for (const [args, code] of bad) await assertRejected(sql.unsafe(`select * from messenger_claim(${args})`), code);
  assert.equal((await errorOf(sql`select * from messenger_claim('w', lease => 'soon')`)).code, "22007");
  assert.equal((await sql`select from messenger_messages where status = 'processing'`).length, 0);
});

test("claim · null means the default of batch, lease and filters; the longest values are accepted", async () => {
  const { sql } = project();
  await dispatchMany(sql, 11);
  const rows = await call(sql, "messenger_claim", {
    worker: "w",
    batch: null,
    lease: null,
    transport: null,
    queues: null,
    types: null,
  });
  assert.equal(rows.length, 10);
  assert(Math.abs(await secondsUntil(sql, rows[0].lock_expires_at) - 60) < 5);
  const [last] = await claim(sql, { worker: "w".repeat(200), lease: "12 hours" });
  assert(Math.abs(await secondsUntil(sql, last.lock_expires_at) - 43_200) < 5);
});

test("claim · records the worker as active, with its request", async () => {
  const { sql } = project();
  await claim(sql, { queues: ["a"], types: ["T"] });
  await setClock(sql, "1 minute");
  await claim(sql, { transport: "supabase" });
  const [row] = await sql`select *, polled_at - started_at > interval '50 s' as later from messenger.workers`;
  assert.deepEqual([row.worker, row.transport_name, row.queues, row.types, row.later], [
    "ada",
    "supabase",
    null,
    null,
    true,
  ]);
});

test("clock · moved back, due messages are hidden for at most the distance of the move", async () => {
  const { sql } = project();
  await setClock(sql, "1 hour");
  const { id } = await dispatch(sql);
  await setClock(sql, "0");
  assert.deepEqual(await claim(sql), []);
  await setClock(sql, "3601 seconds");
  assert.deepEqual(ids(await claim(sql)), [id]);
});

test("clock · moved back, the owner keeps its lease and the worker's poll is still recorded", async () => {
  const { sql } = project();
  await dispatch(sql);
  await setClock(sql, "1 hour");
  await claim(sql);
  await setClock(sql, "0");
  assert.deepEqual(await claim(sql), []);
  const [{ seconds }] =
    await sql`select extract(epoch from messenger.now() - polled_at) as seconds from messenger.workers`;
  assert(Math.abs(Number(seconds)) < 5, `${seconds}`);
});
