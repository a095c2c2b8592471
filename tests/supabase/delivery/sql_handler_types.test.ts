// The types of SQL handlers, the right to name them, and that they cause no wake-ups.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, dispatch, dispatchMany, messageOf, type Row, setClock } from "../bus.ts";
import { effects, makeEffects } from "./effects.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => makeEffects(project().sql));
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate public.effects`;
});

const tick = () => callValue(project().sql, "messenger_tick");

async function setHandler(type: string, name: string | null): Promise<void> {
  await project().sql`select messenger.set_sql_handler(${type}, ${name})`;
}

test("types · only those with a handler are claimed, aliases too; the others stay for their workers", async () => {
  const { sql } = project();
  await call(sql, "messenger_register", { types: [{ type: "Ship", aliases: ["OldShip"] }] });
  await setHandler("Ship", "take_effect");
  const old = await dispatch(sql, { type: "OldShip" });
  const other = await dispatch(sql, { type: "Other" });
  await tick();
  assert.deepEqual([(await messageOf(sql, old.id)).status, (await messageOf(sql, other.id)).status], [
    "completed",
    "pending",
  ]);
  await call(sql, "messenger_register", { types: [{ type: "Ship" }] });
  const [{ sql_handler }] = await sql`select sql_handler from messenger.message_types where type = 'Ship'`;
  assert.equal(sql_handler, "public.take_effect", "registering from code does not remove the handler");
});

test("types · a worker that announces types does not get them; one that announces none does", async () => {
  const { sql } = project();
  await setHandler("Ship", "take_effect");
  const { id } = await dispatch(sql, { type: "Ship" });
  assert.deepEqual(await claim(sql, { types: ["Other"] }), []);
  const [taken] = await claim(sql);
  assert.equal(taken.id, id);
  await tick();
  assert.deepEqual([(await messageOf(sql, id)).fence, await effects(sql)], ["1", []], "one owner");
});

test("types · a message whose worker died is handled alone, and its lost lease counted", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { type: "Ship" });
  await claim(sql);
  await setHandler("Ship", "take_effect");
  await setClock(sql, "61 seconds");
  const [done] = await sql`select completed::int from messenger.run_sql_handlers(10)`;
  assert.equal(done.completed, 1);
  assert.deepEqual([(await messageOf(sql, id)).retry_count, (await messageOf(sql, id)).fence], [1, "2"]);
});

test("set_sql_handler · for postgres only, like the column; services may neither set nor run", async () => {
  const { sql } = project();
  for (const role of ["service_role", "authenticated", "anon"] as const) {
    for (
      const statement of [
        "select messenger.set_sql_handler('Ship', 'take_effect')",
        "update messenger.message_types set sql_handler = 'public.take_effect'",
        "insert into messenger.message_types (type, sql_handler) values ('Ship', 'public.take_effect')",
        "select * from messenger.run_sql_handlers(1)",
      ]
    ) {
      const error = await errorOf(asRole(sql, role, (tx) => tx.unsafe(statement)));
      assert.equal(error.code, "42501", `${role}: ${statement}`);
    }
  }
  assert.equal((await sql`select from messenger.message_types where type = 'Ship'`).length, 0);
});

test("set_sql_handler · a bad type or name is rejected when it is set, and nothing is stored", async () => {
  const { sql } = project();
  await assertRejected(setHandler("9 types", "take_effect"), "SM_TYPE");
  await assertRejected(setHandler("Ship", "no_such_function"), "SM_NOT_FOUND", 404);
  await assertRejected(setHandler("Ship", "take_effect(jsonb)"), "SM_NOT_FOUND", 404);
  await assertRejected(setHandler("Ship", "messenger.cap_size"), "SM_FIELD_FORBIDDEN", 403);
  await sql.unsafe("grant create on schema public to service_role");
  await asRole(
    sql,
    "service_role",
    (tx) =>
      tx.unsafe("create function public.of_a_service(jsonb) returns jsonb language sql as $$ select '1'::jsonb $$"),
  );
  assert.match(await assertRejected(setHandler("Ship", "of_a_service"), "SM_FIELD_FORBIDDEN", 403), /owner/);
  for (const name of ["take_effect", "public.take_effect(", "a b.c", "", "public.x; select 1"]) {
    const written = sql`insert into messenger.message_types (type, sql_handler) values ('Ship', ${name})`;
    assert.equal((await errorOf(written)).code, "23514", name);
  }
  assert.equal((await sql`select from messenger.message_types where type = 'Ship'`).length, 0);
  await setHandler("Ship", "take_effect");
  await setHandler("Ship", null);
  const [{ sql_handler }] = await sql`select sql_handler from messenger.message_types where type = 'Ship'`;
  assert.equal(sql_handler, null);
});

test("set_sql_handler · a function that is dropped leaves its messages waiting, and health reports it", async () => {
  const { sql } = project();
  const define =
    `create function public.passing(jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '1'::jsonb $$`;
  await sql.unsafe(define);
  await setHandler("Ship", "passing");
  await sql.unsafe("drop function public.passing(jsonb)");
  const { id } = await dispatch(sql, { type: "Ship" });
  await setClock(sql, "11 seconds");
  await tick();
  assert.deepEqual([(await messageOf(sql, id)).status, (await messageOf(sql, id)).retry_count], ["pending", 0]);
  const { checks } = await callValue(sql, "messenger_health");
  const check = checks.find(({ name }: Row) => name === "no_handler");
  assert.deepEqual([check.status, check.detail], ["degraded", 'no worker of the last minute handles "Ship"']);
  await sql.unsafe(define);
  await tick();
  assert.equal((await messageOf(sql, id)).status, "completed");
});

test("wake-ups · none is sent for a type with an SQL handler, at its dispatch or later", async () => {
  const { sql } = project();
  await call(sql, "messenger_start", { functions_url: "https://example.test/functions/v1" });
  await call(sql, "messenger_stop");
  const wakeups = async () => (await sql`select from net.http_request_queue`).length;
  await sql`delete from net.http_request_queue`;
  await call(sql, "messenger_register", { types: [{ type: "Ship" }, { type: "Code" }] });
  await setHandler("Ship", "take_effect");
  await dispatchMany(sql, 500, { type: "Ship" });
  const [{ woken }] = await sql`select messenger.wake(messenger.now()) as woken`;
  assert.deepEqual([await wakeups(), woken], [0, 0]);
  // Behind more of them than a wake-up reads, and in the same queue.
  await dispatch(sql, { type: "Code" });
  assert.equal(await wakeups(), 1, "woken by the dispatch");
  await sql`delete from net.http_request_queue`;
  await tick();
  assert.equal(await wakeups(), 1, "woken by the tick");
});
