// Thousands of queues, one per tenant for example: a claim and a tick read those with due messages, not each.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch, messageOf, settle } from "../bus.ts";

const project = useProject({ testClock: true });
const QUEUES = 1000;

Deno.test.beforeEach(() => empty(project().sql));

/** One message per queue, due after the given time. */
async function fill(due: string, queues = QUEUES) {
  const { sql } = project();
  await sql`
    insert into messenger_messages (message_type, queue_name, available_at)
    select 'Letter', 'tenant-' || n, messenger.now() + ${due}::interval from generate_series(1, ${queues}::int) n`;
  await sql`analyze messenger_messages`;
}

/** Pages that a call reads: its cost on any machine. */
async function pagesRead(call: string): Promise<number> {
  await using own = session(project());
  await own.unsafe(call);
  const [{ "QUERY PLAN": [{ Plan: plan }] }] = await own.unsafe(`explain (analyze, buffers, format json) ${call}`);
  return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
}

test("queues · beside a thousand with messages for tomorrow, an idle claim and a tick read few pages", async () => {
  await fill("1 day");
  const claimed = await pagesRead("select * from messenger_claim('w')");
  assert(claimed < 1_000, `${claimed} pages`);
  await project().sql`select messenger_start('http://127.0.0.1:1/functions/v1'), messenger_stop()`;
  const ticked = await pagesRead("select messenger_tick()");
  assert(ticked < 3_000, `${ticked} pages`);
});

test("queues · the one due message among a thousand queues is claimed at once, and causes a wake-up", async () => {
  const { sql } = project();
  await fill("1 day");
  const { id } = await dispatch(sql, { type: "Letter", queue: "tenant-500" });
  await sql`select messenger_start('http://127.0.0.1:1/functions/v1'), messenger_stop()`;
  await call(sql, "messenger_register", { types: [{ type: "Letter" }] });
  assert.equal((await callValue(sql, "messenger_tick")).woken, 1);
  await using worker = session(project());
  assert.deepEqual((await claim(worker)).map((row) => row.id), [id]);
});

test("queues · each of a thousand with due messages is served, whatever the others contain", async () => {
  const { sql } = project();
  await fill("0 s");
  await sql`
    insert into messenger_messages (message_type, queue_name, available_at)
    select 'Letter', 'tenant-1', messenger.now() - interval '1 hour' from generate_series(1, 2000)`;
  await using worker = session(project());
  const seen = new Set<string>();
  for (let n = 0; n < 400 && seen.size < QUEUES; n++) {
    const rows = await claim(worker, { batch: 10 });
    for (const { queue_name } of rows) seen.add(queue_name);
    await settle(worker, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  }
  assert.equal(seen.size, QUEUES);
});

test("queues · a lost lease and an expired message in one of a thousand are found by the tick", async () => {
  const { sql } = project();
  await fill("1 day");
  const lost = await dispatch(sql, { type: "Lost", queue: "tenant-7" });
  await claim(sql, { types: ["Lost"], lease: "1 second" });
  const expired = await dispatch(sql, { type: "Old", queue: "tenant-900", expires_at: new Date(Date.now() + 1_000) });
  await sql`select messenger.set_clock('5 seconds')`;
  for (let n = 0; n < 3; n++) await callValue(sql, "messenger_tick");
  assert.deepEqual(
    [(await messageOf(sql, lost.id)).status, (await messageOf(sql, expired.id)).error_class],
    ["pending", "Expired"],
  );
});

test("queues · paused ones and those of a disabled transport return nothing, however many there are", async () => {
  const { sql } = project();
  await fill("0 s", 100);
  await sql`insert into messenger.queues (transport_name, queue_name, paused_at)
    select 'supabase', 'tenant-' || n, messenger.now() from generate_series(2, 100) n`;
  await using worker = session(project());
  assert.deepEqual((await claim(worker, { batch: 100 })).map((row) => row.queue_name), ["tenant-1"]);
  await sql`update messenger_transports set enabled = false where name = 'supabase'`;
  await using other = session(project());
  assert.deepEqual(await claim(other, { batch: 100 }), []);
});
