// Missing, unreadable or dropped parts are named with their remedy: absence is not health.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, dispatch, type Row, setClock, tickByHand } from "../bus.ts";

const project = useProject({ testClock: true });
const URL = "https://example.test/functions/v1";

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`delete from net.http_request_queue`;
  await sql`delete from net._http_response`;
  await tickByHand(sql, URL);
});

const health = () => callValue(project().sql, "messenger_health");
const check = async (name: string) => (await health()).checks.find((row: Row) => row.name === name);

/** Runs SQL as the superuser during `work`, then the SQL that undoes it. */
async function whileChanged(change: string, undo: string, work: () => Promise<void>) {
  await using admin = session(project(), "supabase_admin");
  await admin.unsafe(change);
  try {
    await work();
  } finally {
    await admin.unsafe(undo);
  }
}

test("rows · with any of the bus's tables emptied, the bus works or messenger_start restores it", async () => {
  const { sql } = project();
  const tables = await sql`
    select s.nspname || '.' || c.relname as name from pg_class c join pg_namespace s on s.oid = c.relnamespace
    where c.relkind = 'r' and (s.nspname = 'messenger' or s.nspname = 'public' and c.relname like 'messenger\\_%')
      and c.relname <> 'test_clock'
    order by 1`;
  assert.ok(tables.length > 25);
  const needed = ["messenger.message_types", "messenger.settings", "public.messenger_transports"];
  for (const { name } of tables) {
    await dispatch(sql, { ordering_key: "a", idempotency_key: name, queue: "other" });
    await sql.unsafe(`truncate ${name}`);
    const { errors } = await callValue(sql, "messenger_tick");
    assert.equal(errors, undefined, name);
    const { checks } = await health();
    assert.deepEqual(checks.filter(({ detail }: Row) => /the check itself failed/.test(detail)), [], name);
    const rows = checks.find((row: Row) => row.name === "own_rows");
    assert.equal(rows.status === "unhealthy", needed.includes(name), name);
    if (rows.remedy) await sql.unsafe(rows.remedy);
    const { id } = await dispatch(sql, { queue: "after" });
    const [row] = await claim(sql, { queues: ["after"] });
    assert.equal(row?.id, id, name);
    assert.equal(await callValue(sql, "messenger_complete", { id, fence: row.fence }), "completed", name);
  }
  assert.equal((await check("own_rows")).status, "healthy");
  await call(sql, "messenger_stop");
});

test("rows · a restored transport or type replaces the migration's, once, and no other insert does", async () => {
  const { sql } = project();
  const id = crypto.randomUUID();
  await sql`
    insert into messenger_transports (id, name, type, config, created_at)
      values (${id}, 'sync', 'sync', '{"retention": "1 day"}', '2020-01-01')`;
  assert.equal((await sql`select id from messenger_transports where name = 'sync'`)[0].id, id);
  const again = sql`insert into messenger_transports (name, type, created_at) values ('sync', 'sync', '2020-01-01')`;
  await assert.rejects(again, { code: "23505" });
  await assert.rejects(sql`insert into messenger_transports (name, type) values ('supabase', 'redis')`, {
    code: "23505",
  });
  await sql`insert into messenger.message_types (type, max_retries, registered_at)
    values ('symphony.event', 7, '2020-01-01')`;
  const [{ retries }] =
    await sql`select max_retries as retries from messenger.message_types where type = 'symphony.event'`;
  assert.equal(retries, 7);
});

test("rights · of PUBLIC on a table of the bus, as a restore gives them, are named", async () => {
  assert.equal((await check("rights")).status, "healthy");
  for (const grantee of ["public", "anon", "authenticated"]) {
    await whileChanged(
      `grant select on messenger_failed_messages to ${grantee}`,
      `revoke select on messenger_failed_messages from ${grantee}`,
      async () => {
        const { status, detail } = await check("rights");
        assert.deepEqual([status, /on messenger_failed_messages$/.test(detail)], ["unhealthy", true], grantee);
      },
    );
  }
});

test("rows · settings that are lost while the ticker is scheduled are named, quotas stay in force", async () => {
  const { sql } = project();
  const user = crypto.randomUUID();
  await call(sql, "messenger_register", { types: [{ type: "Wish", dispatchable_by: "user" }] });
  await sql`
    insert into messenger_messages (message_type, body, created_by, available_at)
    select 'Wish', '{}', ${user}, messenger.now() from generate_series(1, 1000)`;
  await call(sql, "messenger_start");
  await sql`delete from messenger.settings`;
  assert.match((await check("own_rows")).detail, /^missing: messenger\.settings$/);
  assert.equal((await check("pg_net")).detail, "no functions URL");
  assert.equal((await callValue(sql, "messenger_status")).clock.enabled, false);
  const wish = asRole(sql, "authenticated", (tx) => call(tx, "messenger_user_dispatch", { type: "Wish" }), user);
  await assert.rejects(wish, { detail: "SM_RATE" });
  await call(sql, "messenger_start", { functions_url: URL });
  assert.deepEqual([(await check("own_rows")).status, (await check("pg_net")).status], ["healthy", "healthy"]);
  await call(sql, "messenger_stop");
});

for (
  const [what, value] of [
    ["decrypts to null", "null"],
    [
      "raises",
      "case when name = 'symphony_worker_secret' then (1 / (length(name) - length(name)))::text else secret end",
    ],
  ] as const
) {
  test(`secret · one whose decryption ${what} is named, and messenger_start creates a readable one`, async () => {
    const { sql } = project();
    const digests = () => callValue(sql, "messenger_worker_secret_digests");
    const [before] = await digests();
    await sql`select vault.create_secret('next', 'symphony_worker_secret_next')`;
    const [{ definition }] = await sql`select pg_get_viewdef('vault.decrypted_secrets'::regclass) as definition`;
    // The state after a restore into another project: earlier secrets cannot be decrypted, new ones can.
    const view = (value: string) =>
      `create or replace view vault.decrypted_secrets as
      select id, name, description, secret, case when created_at < '${
        new Date().toISOString()
      }' and name = 'symphony_worker_secret'
        then ${value} else secret end as decrypted_secret, key_id, nonce, created_at, updated_at from vault.secrets`;
    await whileChanged(view(value), `create or replace view vault.decrypted_secrets as ${definition}`, async () => {
      const { status, detail, remedy } = await check("worker_secret");
      assert.equal(status, "unhealthy");
      assert.match(detail, /^in Vault, but it cannot be decrypted: /);
      assert.equal((await digests()).length, 1, "the next one can still be read");
      assert.ok((await dispatch(sql)).id, "a dispatch does not fail because of it");
      assert.equal((await sql.unsafe(remedy))[0].messenger_start.worker_secret, true);
      assert.equal((await check("worker_secret")).status, "healthy");
      assert.equal((await digests()).length, 2);
      assert.notEqual((await digests())[0], before);
    });
    await call(sql, "messenger_stop");
    await sql`delete from vault.secrets where name = 'symphony_worker_secret_next'`;
  });
}

test("wake-ups · a pg_net that raises errors or drops requests is named by health and messenger_start", async () => {
  const { sql } = project();
  const reply = async () => (await callValue(sql, "messenger_start")).wakeups_remedy;
  const drop = `create function net.drop_it() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger drop_it before insert on net.http_request_queue for each row execute function net.drop_it()`;
  await whileChanged(drop, "drop function net.drop_it cascade", async () => {
    assert.match((await check("pg_net")).detail, /^pg_net cannot be called, .*its queue drops requests$/);
    assert.match(await reply(), /its queue drops/);
  });
  const forbid = "alter table net.http_request_queue add constraint none check (false) not valid";
  await whileChanged(forbid, "alter table net.http_request_queue drop constraint none", async () => {
    assert.match((await check("pg_net")).detail, /violates check constraint "none"$/);
    assert.match(await reply(), /violates check constraint/);
    await dispatch(sql);
    const { errors } = (await call(sql, "messenger_tick"))[0].messenger_tick;
    assert.match(errors.wake, /violates check constraint/);
    assert.match((await check("clock_errors")).detail, /wake: /);
  });
  assert.equal(await reply(), undefined);
  await call(sql, "messenger_stop");
  const tried = await sql`select from net.http_request_queue where url = 'http://127.0.0.1:9/'`;
  assert.equal(tried.length, 0, "the check sends nothing");
});

test("wake-ups · those lost between pg_net's queue and its replies are counted", async () => {
  const { sql } = project();
  await sql`insert into messenger.wakeups select n, now() - interval '90 seconds' from generate_series(1, 3) n`;
  const { status, detail, figures } = await check("pg_net");
  assert.deepEqual([status, figures.dropped], ["degraded", 3]);
  assert.match(detail, /^3 of 3 wake-ups of the last 5 minutes were neither sent nor answered/);
});

test("wake-ups · an unreachable address stays unhealthy without new ones, the remedy names the URL", async () => {
  const { sql } = project();
  await sql`insert into messenger.wakeups values (1, now() - interval '1 hour')`;
  await sql`insert into net._http_response (id, error_msg, created)
    values (1, 'Couldn''t resolve host name', now() - interval '1 hour')`;
  const { status, detail, remedy } = await check("pg_net");
  assert.equal(status, "unhealthy");
  assert.match(detail, /^the last wake-up, answered at .* failed: Couldn't resolve host name$/);
  assert.match(
    remedy,
    /^the functions URL https:\/\/example\.test\/functions\/v1 is not reachable; set another: select messenger_start\(/,
  );
  await sql`insert into messenger.wakeups values (2, now())`;
  await sql`insert into net._http_response (id, status_code) values (2, 202)`;
  assert.notEqual((await check("pg_net")).status, "unhealthy");
});

test("locks · a lock that blocked a step once is no fault, one that blocks it again is", async () => {
  const { sql } = project();
  const note = (state: string) =>
    sql`select messenger.note_step_error('rescue', 'canceled', ${state}, messenger.now())`;
  await note("55P03");
  await note("55P03");
  assert.equal((await check("clock_errors")).status, "healthy");
  await note("55P03");
  assert.deepEqual([(await check("clock_errors")).status, (await check("clock_errors")).detail], [
    "degraded",
    "rescue: canceled (3 times)",
  ]);
  await setClock(sql, "10 minutes");
  await note("55P03");
  assert.equal((await check("clock_errors")).status, "healthy", "ten minutes later it counts as the first again");
  await note("23514");
  assert.equal((await check("clock_errors")).status, "degraded");
});

test("health · a failing schedule, and a type that a worker claims and no code has registered, are named", async () => {
  const { sql } = project();
  await call(sql, "messenger_schedule", { name: "bad", type: "Report", schedule: { interval: 60_000 } });
  await sql`update messenger_schedules set last_error = 'the queue is gone'`;
  const { status, detail } = await check("schedules");
  assert.deepEqual([status, detail], [
    "degraded",
    "1 fail and are retried every 5 minutes, the latest bad: the queue is gone",
  ]);
  await call(sql, "messenger_register", { types: [{ type: "Known", aliases: ["Former"] }] });
  await claim(sql, { types: ["Known", "Former", "Unknown"] });
  assert.match((await check("registration")).detail, /do not apply: Unknown$/);
  await call(sql, "messenger_register", { types: [{ type: "Unknown" }] });
  assert.equal((await check("registration")).status, "healthy");
});

test("growth · a table with more rows than usual is named with its figure", async () => {
  const { sql } = project();
  assert.equal((await check("growth")).status, "healthy");
  await sql`
    insert into messenger_schedules (name, message_type, schedule_type, schedule_config, enabled, last_run_at)
    select 's' || n, 'T', 'once', '{"at": "2026-01-01T00:00:00Z"}', false, messenger.now()
      from generate_series(1, 10001) n`;
  await sql`analyze messenger_schedules`;
  const { status, detail, remedy } = await check("growth");
  assert.equal(status, "degraded");
  assert.match(detail, /10001 schedules that run once, more than 10000$/);
  assert.match(remedy, /dispatch with a delay/);
});

test("schedules · one that runs once is deleted after its retention; paused and recurring ones stay", async () => {
  const { sql } = project();
  const at = "2026-01-01T00:00:00Z";
  await call(sql, "messenger_schedule", { name: "fired", type: "T", schedule: { at } });
  await call(sql, "messenger_schedule", { name: "paused", type: "T", schedule: { at } });
  await call(sql, "messenger_pause_schedule", { name: "paused" });
  await call(sql, "messenger_schedule", {
    name: "hourly",
    type: "T",
    schedule: { interval: 3_600_000 },
    options: { max_runs: 1 },
  });
  await call(sql, "messenger_tick");
  assert.equal((await sql`select from messenger_messages`).length, 1);
  // Its due time lies far in the past: the retention counts from the time it fired.
  const names = async () => (await sql`select name from messenger_schedules order by 1`).map(({ name }) => name);
  assert.deepEqual(await names(), ["fired", "hourly", "paused"]);
  await setClock(sql, "2 hours");
  await call(sql, "messenger_tick");
  await setClock(sql, "7 days 3 hours");
  await call(sql, "messenger_tick");
  assert.deepEqual(await names(), ["hourly", "paused"]);
});
