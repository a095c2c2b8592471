// messenger_status: its figures, and the cost of reading them.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import {
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  type Row,
  setClock,
  settle,
  tickByHand,
} from "../bus.ts";

const project = useProject({ testClock: true });

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`delete from net.http_request_queue`;
  await sql`delete from net._http_response`;
  await tickByHand(sql, "https://example.test/functions/v1");
});

const status = () => callValue(project().sql, "messenger_status");

test("status · counts every state, the open dead letters and what was pruned", async () => {
  const { sql } = project();
  await dispatchMany(sql, 3, { delay: "1 hour" });
  await dispatchAndClaim(sql);
  const done = await dispatchAndClaim(sql);
  const dead = await dispatchAndClaim(sql);
  await settle(sql, [
    { id: done.id, fence: done.fence, outcome: "completed" },
    { id: dead.id, fence: dead.fence, outcome: "failed", error: "e", retryable: false },
  ]);
  await sql`insert into messenger.pruned (transport_name, message_count) values ('supabase', 40), ('sync', 2)`;
  const reply = await status();
  assert.deepEqual(reply.queue, {
    depth: 4,
    pending: 3,
    processing: 1,
    completed: 1,
    failed: 1,
    estimated: false,
  });
  assert.deepEqual([reply.dead_letters, reply.pruned], [1, 42]);
  await sql`update messenger_failed_messages set resolved_at = now(), resolution = 'discarded'`;
  assert.equal((await status()).dead_letters, 0);
});

test("status · above ten thousand it estimates, marks the figure, and still finds running messages", async () => {
  const { sql } = project();
  await sql`insert into messenger_messages (message_type) select 'Greeting' from generate_series(1, 12000)`;
  await sql`analyze messenger_messages`;
  await claim(sql, { batch: 7 });
  const { estimated, depth, pending, processing, completed } = (await status()).queue;
  assert.deepEqual([estimated, depth, pending, processing], [true, 12000, 11993, 7]);
  assert.ok(completed >= 0);
});

test("status · wrong or missing statistics make no figure negative or below the counted rows", async () => {
  const { sql } = project();
  await using admin = session(project(), "supabase_admin");
  await admin`update pg_class set reltuples = 0, relpages = 1 where oid = 'public.messenger_messages'::regclass`;
  await sql`insert into messenger_messages (message_type) select 'Greeting' from generate_series(1, 10001)`;
  await claim(sql, { batch: 7 });
  const { queue } = await status();
  assert.deepEqual([queue.estimated, queue.processing], [true, 7]);
  assert.ok(queue.depth >= 10_001 && queue.pending >= 9_994, JSON.stringify(queue));
  assert.ok(queue.completed >= 0 && queue.failed >= 0, JSON.stringify(queue));
});

test("status and health · read a bounded number of rows, however many there are", async () => {
  const { sql } = project();
  await sql`insert into messenger_messages (message_type, queue_name, priority, available_at)
    select 'T' || g % 5, 'q' || g % 7, 1 + g % 10, now() - interval '1 hour' from generate_series(1, 60000) g`;
  await sql`insert into messenger_messages (message_type, status, processed_at)
    select 'Greeting', 'completed', now() from generate_series(1, 60000)`;
  await sql`analyze messenger_messages`;
  // The statistics claim ten million rows on these pages: a hundred thousand are cheap to read, ten million are not.
  await using admin = session(project(), "supabase_admin");
  await admin`update pg_class set reltuples = 12000000 where oid = 'public.messenger_messages'::regclass`;
  for (const name of ["messenger_status", "messenger_health"]) {
    await sql.begin(async (transaction) => {
      await callValue(transaction, name);
      const [{ read }] = await transaction`
        select (pg_stat_get_xact_tuples_returned(c) + pg_stat_get_xact_tuples_fetched(c))::int as read
        from (select 'public.messenger_messages'::regclass as c) t`;
      assert.ok(read > 10_000, "this counts the rows that are read");
      assert.ok(read < 90_000, `${name} read ${read} rows`);
    });
  }
});

test("status · an empty bus is zeros", async () => {
  const reply = await status();
  assert.deepEqual(reply.queue, {
    depth: 0,
    pending: 0,
    processing: 0,
    completed: 0,
    failed: 0,
    estimated: false,
  });
  assert.deepEqual([reply.workers, reply.dead_letters, reply.pruned], [[], 0, 0]);
  assert.deepEqual(reply.transports.map((row: Row) => [row.name, row.type, row.enabled]), [[
    "supabase",
    "supabase",
    true,
  ], ["sync", "sync", true]]);
});

test("status · workers of the last minute and the ticker's heartbeat", async () => {
  const { sql } = project();
  await claim(sql, { worker: "old" });
  await setClock(sql, "70 seconds");
  await claim(sql, { worker: "new" });
  const { workers, clock, functions_url } = await status();
  assert.deepEqual(workers.map((row: Row) => row.worker), ["new"]);
  assert.deepEqual([clock.enabled, clock.ticks, clock.last_error, functions_url], [
    false,
    1,
    null,
    "https://example.test/functions/v1",
  ]);
});

test("status and health · show no secret and no body; service_role may call them, users may not", async () => {
  const { sql } = project();
  await dispatch(sql, { payload: { iban: "DE00" }, metadata: { iban: "DE00" } });
  const [{ secret }] =
    await sql`select decrypted_secret as secret from vault.decrypted_secrets where name = 'symphony_worker_secret'`;
  for (const name of ["messenger_status", "messenger_health"]) {
    const text = JSON.stringify(await asRole(sql, "service_role", (tx) => callValue(tx, name)));
    assert(!text.includes(secret) && !text.includes("DE00"), name);
    for (const role of ["anon", "authenticated"] as const) {
      await assert.rejects(asRole(sql, role, (tx) => callValue(tx, name)), { code: "42501" });
    }
  }
});
