// messenger_health, check by check.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch, dispatchAndClaim, type Row, setClock, settle, tickByHand } from "../bus.ts";

const project = useProject({ testClock: true });

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`delete from net.http_request_queue`;
  await sql`delete from net._http_response`;
  await tickByHand(sql, "https://example.test/functions/v1");
});

const health = () => callValue(project().sql, "messenger_health");
const check = async (name: string) => (await health()).checks.find((row: Row) => row.name === name);

test("health · of a running bus reports only the test clock", async () => {
  const { status, checks, metrics, timestamp } = await health();
  assert.deepEqual(checks.filter((row: Row) => row.status !== "healthy").map((row: Row) => row.name), ["test_clock"]);
  assert.deepEqual([status, metrics.depth, typeof timestamp], ["degraded", 0, "string"]);
  assert(checks.every((row: Row) => row.detail && (row.status === "healthy") === (row.remedy === undefined)));
});

test("health · a ticker that stopped without messenger_stop is reported within two minutes", async () => {
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

test("health · a stopped ticker is unhealthy, a new one is degraded until pg_cron's next minute", async () => {
  const { sql } = project();
  await call(sql, "messenger_start", { functions_url: "https://x.supabase.co/functions/v1" });
  await call(sql, "messenger_tick");
  await call(sql, "messenger_stop");
  await setClock(sql, "4 seconds");
  const stopped = await check("clock");
  assert.deepEqual([stopped.status, stopped.detail], ["unhealthy", "last tick 4 s ago: the ticker was not started"]);
  // An external ticker may still tick.
  await call(sql, "messenger_tick");
  assert.equal((await check("clock")).status, "healthy");
  await setClock(sql, "3 minutes");
  await call(sql, "messenger_start");
  assert.equal((await check("clock")).status, "degraded");
  await setClock(sql, "5 minutes");
  assert.equal((await check("clock")).status, "unhealthy");
  await call(sql, "messenger_stop");
});

test("health · a resumed queue has time: its messages could not be claimed before", async () => {
  const { sql } = project();
  await dispatch(sql, { queue: "mail" });
  await call(sql, "messenger_pause", { transport: "supabase", queue: "mail" });
  await setClock(sql, "11 minutes");
  assert.deepEqual([(await check("oldest_due")).status, (await check("workers")).status], ["healthy", "healthy"]);
  await call(sql, "messenger_resume", { transport: "supabase", queue: "mail" });
  assert.deepEqual([(await check("oldest_due")).status, (await check("workers")).status], ["healthy", "healthy"]);
  await setClock(sql, "12 minutes 5 seconds");
  assert.deepEqual([(await check("oldest_due")).status, (await check("workers")).status], ["degraded", "unhealthy"]);
});

test("health · a disabled transport with messages is named", async () => {
  const { sql } = project();
  await call(sql, "messenger_put_transport", { name: "old", enabled: false });
  assert.equal((await check("transports")).status, "healthy");
  await call(sql, "messenger_put_transport", { name: "supabase", enabled: false });
  const { status, detail, remedy } = await check("transports");
  assert.deepEqual([status, /: supabase$/.test(detail)], ["degraded", true]);
  await sql.unsafe(remedy);
  assert.equal((await check("transports")).status, "healthy");
});

test("health · a ticker that never ticked is unhealthy", async () => {
  await project().sql`update messenger.clock set last_tick_at = null`;
  await project().sql`delete from messenger.ticks`;
  const clock = await check("clock");
  assert.deepEqual([clock.status, clock.detail], [
    "unhealthy",
    "no tick yet: the ticker was not started",
  ]);
});

test("health · an error of a step is reported for five minutes, with the step's name", async () => {
  const { sql } = project();
  await sql`insert into messenger.step_errors values ('rescue', 'disk full', '53100', messenger.now(), 2)`;
  assert.deepEqual([(await check("clock_errors")).status, (await check("clock_errors")).detail], [
    "degraded",
    "rescue: disk full (2 times)",
  ]);
  await setClock(sql, "301 seconds");
  assert.equal((await check("clock_errors")).status, "healthy");
});

test("health · due messages that no worker claims; not delayed ones, not running ones", async () => {
  const { sql } = project();
  await dispatch(sql, { delay: "5 days" });
  await dispatchAndClaim(sql, { queue: "run" }, { lease: "2 hours" });
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

test("health · a message with an expired lease counts as due", async () => {
  const { sql } = project();
  await dispatchAndClaim(sql);
  await setClock(sql, "11 minutes");
  assert.equal((await check("oldest_due")).status, "unhealthy");
});

test("health · each check has figures; those without a value are left out", async () => {
  const { checks } = await health();
  assert.deepEqual(Object.fromEntries(checks.map((row: Row) => [row.name, row.figures])), {
    clock: { seconds: 0, ticks: 1 },
    clock_errors: {},
    dead_letters: { open: 0 },
    error_rate: { ended: 0, failed: 0 },
    growth: { open_dead_letters: 0, unfinished_messages: 0, schedules_that_run_once: 0, wake_ups: 0 },
    no_handler: { types: 0 },
    oldest_due: {},
    own_rows: { missing: 0 },
    pg_net: { wakeups: 0, answered: 0, failed: 0, dropped: 0 },
    registration: { types: 0 },
    rights: { relations: 0 },
    schedules: { failing: 0 },
    set_aside: { rows: 0 },
    test_clock: {},
    transports: { disabled: 0 },
    worker_secret: { secrets: 1 },
    workers: { awake: 0 },
  });
});

test("health · no active worker is unhealthy when a message is due for half a minute", async () => {
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
  assert.deepEqual([status, detail, figures], ["healthy", "1 active within the last minute", { awake: 1 }]);
});

test("health · the tick that runs SQL handlers is no worker, and messages it handles need none", async () => {
  const { sql } = project();
  await sql.unsafe(
    `create function public.in_sql(jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '1'::jsonb $$;
    select messenger.set_sql_handler('Inner', 'public.in_sql')`,
  );
  await dispatch(sql, { type: "Inner" });
  await setClock(sql, "40 seconds");
  assert.deepEqual((await check("workers")).figures, { awake: 0 });
  await call(sql, "messenger_tick");
  assert.equal((await sql`select from messenger.workers where worker ~ '^sql-[0-9]+$'`).length, 1);
  assert.deepEqual((await check("workers")).figures, { awake: 0 });
});

test("health · while no worker is active, that is reported, and no missing handler", async () => {
  const { sql } = project();
  await call(sql, "messenger_register", { types: [{ type: "Known" }] });
  await dispatch(sql, { type: "Known" });
  await setClock(sql, "40 seconds");
  assert.deepEqual([(await check("workers")).status, (await check("no_handler")).status], ["unhealthy", "healthy"]);
  await claim(sql, { worker: "ada", types: ["Other"] });
  assert.deepEqual([(await check("workers")).status, (await check("no_handler")).status], ["healthy", "degraded"]);
});

test("health · failed wake-ups: a fifth is degraded, a half unhealthy; other requests do not count", async () => {
  const { sql } = project();
  await sql`insert into net._http_response (id, status_code, created) select -g, 500, now()
    from generate_series(1, 9) g`;
  await sql`insert into messenger.wakeups (request_id, at) select -g, now() - interval '6 minutes'
    from generate_series(1, 9) g`;
  const seen = [];
  for (const status of [202, 202, 202, 202, 401, 404, 503, 500, 500]) {
    const [{ id }] =
      await sql`insert into messenger.wakeups (request_id) values (nextval('net.http_request_queue_id_seq'))
        returning request_id as id`;
    await sql`insert into net._http_response (id, status_code, created) values (${id}, ${status}, now())`;
    seen.push((await check("pg_net")).status);
  }
  assert.deepEqual(seen, [...Array(5).fill("healthy"), ...Array(3).fill("degraded"), "unhealthy"]);
  const { detail, figures } = await check("pg_net");
  assert.equal(detail, "5 of 9 wake-ups of the last 5 minutes failed, the last with: HTTP 500");
  assert.deepEqual(figures, { wakeups: 9, answered: 9, failed: 5, failed_share: 0.556, dropped: 0 });
  const [{ id }] =
    await sql`insert into messenger.wakeups (request_id) values (nextval('net.http_request_queue_id_seq'))
      returning request_id as id`;
  await sql`insert into net._http_response (id, status_code, created) values (${id}, 202, now())`;
  const fixed = await check("pg_net");
  assert.deepEqual([fixed.status, /but the newest succeeded; the last failure: HTTP 500$/.test(fixed.detail)], [
    "degraded",
    true,
  ]);
});

test("health · wake-ups that pg_net does not send are reported", async () => {
  const { sql } = project();
  await dispatch(sql);
  assert.equal((await check("pg_net")).status, "healthy");
  await sql`update messenger.wakeups set at = at - interval '31 seconds'`;
  const { status, remedy } = await check("pg_net");
  assert.deepEqual([status, remedy], ["degraded", "select net.worker_restart()"]);
});

test("health · wake-ups without an address, no secret, open dead letters", async () => {
  const { sql } = project();
  await sql`update messenger.settings set functions_url = null`;
  assert.equal((await check("pg_net")).status, "degraded");
  await sql`delete from vault.secrets where name = 'symphony_worker_secret'`;
  assert.equal((await check("worker_secret")).status, "unhealthy");
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e", retryable: false }]);
  const deadLetters = await check("dead_letters");
  assert.deepEqual([deadLetters.status, deadLetters.detail], ["degraded", "1 open"]);
});
