// messenger_status and messenger_health: how much there is, and whether it moves.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../project.ts";
import { asRole } from "./as_role.ts";
import { ask, call, claim, dispatch, dispatchMany, held, type Row, setClock, settle } from "./bus.ts";

const project = useProject({ testClock: true });

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`delete from net.http_request_queue`;
  await sql`delete from net._http_response`;
  await call(sql, "messenger_start", { functions_url: "https://example.test/functions/v1" });
  await call(sql, "messenger_stop");
  await call(sql, "messenger_tick");
});

const status = () => ask(project().sql, "messenger_status");
const health = () => ask(project().sql, "messenger_health");
const check = async (name: string) => (await health()).checks.find((row: Row) => row.name === name);

test("status · counts every state, the open dead letters and what was pruned", async () => {
  const { sql } = project();
  await dispatchMany(sql, 3, { delay: "1 hour" });
  await held(sql);
  const done = await held(sql);
  const dead = await held(sql);
  await settle(sql, [
    { id: done.id, fence: done.fence, outcome: "completed" },
    { id: dead.id, fence: dead.fence, outcome: "failed", error: "e", retryable: false },
  ]);
  await sql`insert into messenger.pruned (transport_name, message_count) values ('supabase', 40), ('sync', 2)`;
  const answer = await status();
  assert.deepEqual(answer.queue, {
    depth: 4,
    pending: 3,
    processing: 1,
    completed: 1,
    failed: 1,
    estimated: false,
  });
  assert.deepEqual([answer.dead_letters, answer.pruned], [1, 42]);
  await sql`update messenger_failed_messages set resolved_at = now(), resolution = 'discarded'`;
  assert.equal((await status()).dead_letters, 0);
});

test("status · above ten thousand it estimates, says so, and still finds what runs", async () => {
  const { sql } = project();
  await sql`insert into messenger_messages (message_type) select 'Greeting' from generate_series(1, 12000)`;
  await sql`analyze messenger_messages`;
  await claim(sql, { batch: 7 });
  const { estimated, depth, pending, processing, completed } = (await status()).queue;
  assert.deepEqual([estimated, depth, pending, processing], [true, 12000, 11993, 7]);
  assert.ok(completed >= 0);
});

test("status · statistics that are wrong or missing make no figure negative, nor smaller than what was seen", async () => {
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
  // As if ten million stood on these pages: a hundred thousand are cheap to read, so many are not.
  await using admin = session(project(), "supabase_admin");
  await admin`update pg_class set reltuples = 12000000 where oid = 'public.messenger_messages'::regclass`;
  for (const name of ["messenger_status", "messenger_health"]) {
    await sql.begin(async (transaction) => {
      await ask(transaction, name);
      const [{ read }] = await transaction`
        select (pg_stat_get_xact_tuples_returned(c) + pg_stat_get_xact_tuples_fetched(c))::int as read
        from (select 'public.messenger_messages'::regclass as c) t`;
      assert.ok(read > 10_000, "this counts what is read");
      assert.ok(read < 90_000, `${name} read ${read} rows`);
    });
  }
});

test("status · an empty bus is zeros", async () => {
  const answer = await status();
  assert.deepEqual(answer.queue, {
    depth: 0,
    pending: 0,
    processing: 0,
    completed: 0,
    failed: 0,
    estimated: false,
  });
  assert.deepEqual([answer.workers, answer.dead_letters, answer.pruned], [[], 0, 0]);
  assert.deepEqual(answer.transports.map((row: Row) => [row.name, row.type, row.enabled]), [[
    "supabase",
    "supabase",
    true,
  ], ["sync", "sync", true]]);
});

test("status · workers of the last minute and the clock's heartbeat", async () => {
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

test("status and health · show no secret and no body; service_role may ask, users may not", async () => {
  const { sql } = project();
  await dispatch(sql, { payload: { iban: "DE00" }, metadata: { iban: "DE00" } });
  const [{ secret }] =
    await sql`select decrypted_secret as secret from vault.decrypted_secrets where name = 'symphony_worker_secret'`;
  for (const name of ["messenger_status", "messenger_health"]) {
    const text = JSON.stringify(await asRole(sql, "service_role", (tx) => ask(tx, name)));
    assert(!text.includes(secret) && !text.includes("DE00"), name);
    for (const role of ["anon", "authenticated"] as const) {
      await assert.rejects(asRole(sql, role, (tx) => ask(tx, name)), { code: "42501" });
    }
  }
});

test("health · of a running bus only the test clock is out of the ordinary", async () => {
  const { status, checks, metrics, timestamp } = await health();
  assert.deepEqual(checks.filter((row: Row) => row.status !== "healthy").map((row: Row) => row.name), ["test_clock"]);
  assert.deepEqual([status, metrics.depth, typeof timestamp], ["degraded", 0, "string"]);
  assert(checks.every((row: Row) => row.detail && (row.status === "healthy") === (row.remedy === undefined)));
});

test("health · a clock that stopped without a word is seen within two minutes", async () => {
  const { sql } = project();
  const seen = [];
  for (const seconds of [60, 80, 101]) {
    await setClock(sql, `${seconds} seconds`);
    seen.push((await check("clock")).status);
  }
  assert.deepEqual(seen, ["healthy", "degraded", "unhealthy"]);
  assert.equal((await health()).status, "unhealthy");
  assert((await check("clock")).remedy.includes("messenger_start"));
  await call(sql, "messenger_tick");
  assert.equal((await check("clock")).status, "healthy");
});

test("health · a clock that never ticked is unhealthy", async () => {
  await project().sql`update messenger.clock set last_tick_at = null`;
  const clock = await check("clock");
  assert.deepEqual([clock.status, clock.detail], [
    "unhealthy",
    "no tick yet: the clock is not started",
  ]);
});

test("health · an error of the clock shows for five minutes", async () => {
  const { sql } = project();
  await sql`update messenger.clock set last_error = 'disk full', last_error_at = messenger.now()`;
  assert.deepEqual([(await check("clock_errors")).status, (await check("clock_errors")).detail], [
    "degraded",
    "disk full",
  ]);
  await setClock(sql, "301 seconds");
  assert.equal((await check("clock_errors")).status, "healthy");
});

test("health · due messages that nobody takes; not delayed ones, not running ones", async () => {
  const { sql } = project();
  await dispatch(sql, { delay: "5 days" });
  await held(sql, { queue: "run" }, { lease: "2 hours" });
  await setClock(sql, "1 hour");
  assert.equal((await check("oldest_due")).status, "healthy");
  await setClock(sql, "0");
  await dispatch(sql, { priority: 1 });
  await dispatch(sql, { priority: 10, delay: "9 minutes" });
  const seen = [];
  for (const minutes of [0, 2, 11]) {
    await setClock(sql, `${minutes} minutes`);
    seen.push((await check("oldest_due")).status);
  }
  assert.deepEqual(seen, ["healthy", "degraded", "unhealthy"]);
});

test("health · a lease that ran out counts as due", async () => {
  const { sql } = project();
  await held(sql);
  await setClock(sql, "11 minutes");
  assert.equal((await check("oldest_due")).status, "unhealthy");
});

test("health · each check has figures; what has no value is left out", async () => {
  const { checks } = await health();
  assert.deepEqual(Object.fromEntries(checks.map((row: Row) => [row.name, row.figures])), {
    clock: { seconds: 0, ticks: 1 },
    clock_errors: {},
    dead_letters: { open: 0 },
    error_rate: { ended: 0, failed: 0 },
    no_handler: { types: 0 },
    oldest_due: {},
    pg_net: { bells: 0, answered: 0, failed: 0 },
    test_clock: {},
    worker_secret: { secrets: 1 },
    workers: { awake: 0 },
  });
});

test("health · no worker awake is unhealthy once a message is due for half a minute", async () => {
  const { sql } = project();
  await dispatch(sql);
  const seen = [];
  for (const seconds of [0, 29, 31]) {
    await setClock(sql, `${seconds} seconds`);
    seen.push((await check("workers")).status);
  }
  assert.deepEqual(seen, ["healthy", "healthy", "unhealthy"]);
  assert.deepEqual((await check("workers")).figures, { awake: 0, seconds: 31 });
  await claim(sql, { worker: "ada", queues: ["none"] });
  const { status, detail, figures } = await check("workers");
  assert.deepEqual([status, detail, figures], ["healthy", "1 awake within the last minute", { awake: 1 }]);
});

test("health · the tick that runs SQL handlers is no worker, and what it handles needs none", async () => {
  const { sql } = project();
  await sql.unsafe(
    `create function public.in_sql(jsonb) returns jsonb language sql set search_path = '' as $$ select '1'::jsonb $$;
    select messenger.set_sql_handler('Inner', 'public.in_sql')`,
  );
  await dispatch(sql, { type: "Inner" });
  await setClock(sql, "40 seconds");
  assert.deepEqual((await check("workers")).figures, { awake: 0 });
  await call(sql, "messenger_tick");
  assert.equal((await sql`select from messenger.workers where worker = 'sql'`).length, 1);
  assert.deepEqual((await check("workers")).figures, { awake: 0 });
});

test("health · bells that fail: a fifth is degraded, a half unhealthy; other requests and old bells do not count", async () => {
  const { sql } = project();
  await sql`insert into net._http_response (id, status_code, created) select -g, 500, now() from generate_series(1, 9) g`;
  await sql`insert into messenger.bells (request_id, at) select -g, now() - interval '6 minutes' from generate_series(1, 9) g`;
  const seen = [];
  for (const status of [202, 202, 202, 202, 401, 404, 503, 500, 500]) {
    const [{ id }] =
      await sql`insert into messenger.bells (request_id) values (nextval('net.http_request_queue_id_seq')) returning request_id as id`;
    await sql`insert into net._http_response (id, status_code, created) values (${id}, ${status}, now())`;
    seen.push((await check("pg_net")).status);
  }
  assert.deepEqual(seen, [...Array(5).fill("healthy"), ...Array(3).fill("degraded"), "unhealthy"]);
  const { detail, figures } = await check("pg_net");
  assert.equal(detail, "5 of 9 bells of the last 5 minutes failed, the last with: HTTP 500");
  assert.deepEqual(figures, { bells: 9, answered: 9, failed: 5, failed_share: 0.556 });
});

test("health · bells that pg_net does not send are seen", async () => {
  const { sql } = project();
  await dispatch(sql);
  assert.equal((await check("pg_net")).status, "healthy");
  await sql`update messenger.bells set at = at - interval '31 seconds'`;
  const { status, remedy } = await check("pg_net");
  assert.deepEqual([status, remedy], ["degraded", "select net.worker_restart()"]);
});

test("health · bells without an address, no secret, open dead letters", async () => {
  const { sql } = project();
  await sql`update messenger.settings set functions_url = null`;
  assert.equal((await check("pg_net")).status, "degraded");
  await sql`delete from vault.secrets where name = 'symphony_worker_secret'`;
  assert.equal((await check("worker_secret")).status, "unhealthy");
  const { id, fence } = await held(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e", retryable: false }]);
  const letters = await check("dead_letters");
  assert.deepEqual([letters.status, letters.detail], ["degraded", "1 open"]);
});
