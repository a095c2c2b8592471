// SQL handlers: the functions that the tick runs inside the database, their role, and the outcome of the message.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import {
  call,
  callValue,
  deadLetterOf,
  dispatch,
  dispatchMany,
  messageOf,
  type Row,
  setClock,
  type SqlClient,
} from "../bus.ts";
import { effects, makeEffects } from "./effects.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });

Deno.test.beforeAll(async () => {
  const { sql } = project();
  await limitLockWaits(sql);
  await makeEffects(sql);
  await sql.unsafe(`
    create function public.raise_it(args jsonb) returns jsonb language plpgsql
      set search_path = pg_catalog, pg_temp as $$
    begin
      insert into public.effects (args) values (args);
      raise exception using errcode = args ->> 'sqlstate', message = 'out of stock', detail = 'shelf 7';
    end $$;
    create function public.show_delivery(args jsonb) returns jsonb language plpgsql
      set search_path = pg_catalog, pg_temp as $$
    begin
      return current_setting('messenger.message')::jsonb || jsonb_build_object('user', current_user, 'path',
      replace(current_setting('search_path'), '"', ''),
        'lock_timeout', current_setting('lock_timeout'));
    end $$`);
});
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate public.effects`;
});

const tick = (sql: SqlClient = project().sql) => callValue(sql, "messenger_tick");

async function setHandler(type: string, name: string | null): Promise<void> {
  await project().sql`select messenger.set_sql_handler(${type}, ${name})`;
}

/** Runs handlers with this time budget; 0 ends after the first message. */
async function run(budget = "1 hour", batch = 100): Promise<Row> {
  let figures: Row;
  await project().sql.begin(async (tx) => {
    await tx`select set_config('messenger.sql_handler_budget', ${budget}, true)`;
    [figures] = await tx`select completed::int, failed::int, released::int from messenger.run_sql_handlers(${batch})`;
  });
  return { ...figures };
}

test("tick · runs the handler of each due message once, stores its result, and completes", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  const ids = await dispatchMany(sql, 25, { type: "Ship" });
  await dispatch(sql, { type: "Ship", payload: { later: true }, delay: "1 hour" });
  await tick();
  const rows = await Promise.all(ids.map((id) => messageOf(sql, id)));
  assert.deepEqual(
    rows.map(({ status, result, fence }) => [status, result, fence]),
    rows.map((_, n) => [
      "completed",
      { got: { n } },
      "1",
    ]),
  );
  await tick();
  assert.deepEqual((await effects(sql)).length, 25);
  await setClock(sql, "61 minutes");
  await tick();
  assert.deepEqual((await effects(sql)).at(-1), { later: true });
  assert.equal((await sql`select from messenger_audit() where violations > 0`).length, 0);
});

test("tick · called by a service through the scheduler, it runs handlers as the owner of the bus, too", async () => {
  const { sql } = project();
  await setHandler("Show", "public.show_delivery");
  const { id } = await dispatch(sql, { type: "Show", queue: "shows", headers: { a: 1 }, metadata: { b: 2 } });
  await asRole(sql, "service_role", tick);
  assert.deepEqual((await messageOf(sql, id)).result, {
    id,
    type: "Show",
    queue: "shows",
    fence: 1,
    retry_count: 0,
    headers: { a: 1 },
    metadata: { b: 2 },
    user: "postgres",
    path: "pg_catalog, pg_temp",
    lock_timeout: "2s",
  });
});

test("delivery · its settings for the handler are removed after it", async () => {
  await setHandler("Show", "public.show_delivery");
  await dispatch(project().sql, { type: "Show" });
  await using own = session(project());
  await own.begin(async (tx) => {
    await tick(tx);
    const [{ message }] = await tx`select current_setting('messenger.message') as message`;
    assert.equal(message, "");
  });
});

test("failure · is rolled back alone, counted, and retried by the type's policy until the dead letter", async () => {
  const { sql } = project();
  await call(sql, "messenger_register", {
    types: [{ type: "Fail", retry: { max_retries: 2, delay_ms: 60_000, multiplier: 1, jitter: 0 } }],
  });
  await setHandler("Fail", "raise_it");
  await setHandler("Ship", "take_effect");
  const { id } = await dispatch(sql, { type: "Fail", payload: { sqlstate: "XS001" } });
  const good = await dispatch(sql, { type: "Ship", payload: { n: 1 } });
  await tick();
  assert.deepEqual([(await messageOf(sql, good.id)).status, await effects(sql)], ["completed", [{ n: 1 }]]);
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.retry_count, row.last_error, row.error_class, row.locked_by], [
    "pending",
    1,
    "out of stock: shelf 7",
    "XS001",
    null,
  ]);
  for (const minutes of [2, 4]) {
    await tick();
    await setClock(sql, `${minutes} minutes`);
    await tick();
  }
  const deadLetter = await deadLetterOf(sql, id);
  assert.deepEqual([deadLetter.error, deadLetter.error_class, deadLetter.retry_count], [
    "out of stock: shelf 7",
    "XS001",
    3,
  ]);
  assert.deepEqual(
    deadLetter.attempts.map(({ worker, error_class }: Row) => [worker.replace(/\d+/, "<pid>"), error_class]),
    Array(3).fill(["sql-<pid>", "XS001"]),
  );
  assert.match(deadLetter.error_trace, /raise_it/);
  assert.equal((await effects(sql)).length, 1, "no failed run left its effect");
});

test("failure · PT422 fails the message without a retry", async () => {
  const { sql } = project();
  await setHandler("Fail", "raise_it");
  const { id } = await dispatch(sql, { type: "Fail", payload: { sqlstate: "PT422" } });
  await tick();
  assert.deepEqual([(await deadLetterOf(sql, id)).error_class, (await deadLetterOf(sql, id)).attempts.length], [
    "PT422",
    1,
  ]);
});

test("failure · neither an assertion nor a cancelled query stops the ticker or later messages", async () => {
  const { sql } = project();
  await setHandler("Fail", "raise_it");
  await setHandler("Ship", "take_effect");
  for (const sqlstate of ["P0004", "57014", "40P01", "XX000", "PT503"]) {
    await dispatch(sql, { type: "Fail", payload: { sqlstate }, priority: 10, max_retries: 0 });
  }
  const { id } = await dispatch(sql, { type: "Ship" });
  await tick();
  assert.equal((await messageOf(sql, id)).status, "completed");
  const deadLetters = await sql`select error_class from messenger_failed_messages order by error_class`;
  assert.deepEqual(deadLetters.map(({ error_class }) => error_class), ["40P01", "57014", "P0004", "PT503", "XX000"]);
  const [clock] = await sql`select ticks, last_error from messenger.clock`;
  assert.deepEqual(clock, { ticks: "1", last_error: null });
});

test("failure · a handler that waits for a lock fails, and is retried", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  await using other = session(project());
  await other`begin`;
  await other`lock table public.effects`;
  const { id } = await dispatch(sql, { type: "Ship" });
  await tick();
  assert.deepEqual([(await messageOf(sql, id)).status, (await messageOf(sql, id)).error_class], ["pending", "55P03"]);
  await other`rollback`;
  await setClock(sql, "1 minute");
  await tick();
  assert.equal((await messageOf(sql, id)).status, "completed");
});

test("atomic · effects and completion roll back with the tick's transaction, and are repeated", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  const { id } = await dispatch(sql, { type: "Ship", payload: { n: 1 } });
  await using own = session(project());
  await own`begin`;
  await tick(own);
  assert.deepEqual(await effects(own), [{ n: 1 }]);
  await tick(); // concurrently: it neither waits nor runs it twice
  await own`rollback`;
  assert.deepEqual([(await messageOf(sql, id)).status, (await messageOf(sql, id)).fence, await effects(sql)], [
    "pending",
    "0",
    [],
  ]);
  await tick();
  assert.deepEqual([(await messageOf(sql, id)).status, await effects(sql)], ["completed", [{ n: 1 }]]);
});

test("atomic · a handler that settles its message itself is rolled back and failed", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create or replace function public.meddle(args jsonb) returns jsonb language plpgsql
      set search_path = pg_catalog, pg_temp as $$
    declare
      v_message jsonb := current_setting('messenger.message');
    begin
      insert into public.effects (args) values (args);
      perform public.messenger_release((v_message ->> 'id')::uuid, (v_message ->> 'fence')::bigint);
      return '{}';
    end $$`);
  await setHandler("Ship", "meddle");
  const { id } = await dispatch(sql, { type: "Ship", max_retries: 0 });
  await tick();
  assert.deepEqual([(await deadLetterOf(sql, id)).error_class, await effects(sql)], ["PT409", []]);
});

test("budget · when it is used up the rest is released unstarted, at its old position", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  const ids = await dispatchMany(sql, 12, { type: "Ship" });
  assert.deepEqual(await run("0"), { completed: 1, failed: 0, released: 9 });
  const rows = await Promise.all(ids.map((id) => messageOf(sql, id)));
  assert.deepEqual(rows.map(({ status }) => status), ["completed", ...Array(11).fill("pending")]);
  assert(rows.every(({ retry_count, lease_losses }) => retry_count === 0 && lease_losses === 0));
  assert.deepEqual(await run("0"), { completed: 1, failed: 0, released: 9 });
  assert.deepEqual(await effects(sql), [{ n: 0 }, { n: 1 }]);
  assert.deepEqual(await run(), { completed: 10, failed: 0, released: 0 });
});

test("budget · no more than the batch in one run", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  await dispatchMany(sql, 30, { type: "Ship" });
  assert.deepEqual(await run("1 hour", 13), { completed: 13, failed: 0, released: 0 });
});
