// The functions that messenger_complete_with runs, and their role: names, signatures, schemas, rights, search_path.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { dispatchAndClaim } from "../bus.ts";
import { assertUntouched, completeWith, effects, makeEffects } from "./effects.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject();
Deno.test.beforeAll(async () => {
  const { sql } = project();
  await makeEffects(sql);
  await sql.unsafe(`
    create schema shop;
    grant usage on schema shop to service_role;
    create function shop."Odd name"(jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '"odd"'::jsonb $$`);
});
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate public.effects`;
});

test("function_name · only the function with exactly this signature counts, whatever else has its name", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create schema wrong;
    create function wrong.overloaded(jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '"jsonb"'::jsonb $$;
    create function wrong.overloaded(json) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '"json"'::jsonb $$;
    create function wrong.overloaded(text) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '"text"'::jsonb $$;
    create function wrong.overloaded(int, jsonb default '1') returns jsonb language sql
      set search_path = pg_catalog, pg_temp as $$ select '"more"'::jsonb $$;
    create function wrong.unclear(jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '1'::jsonb $$;
    create function wrong.unclear(jsonb, int default 1) returns jsonb language sql
      set search_path = pg_catalog, pg_temp as $$ select '1'::jsonb $$;
    create function wrong.overloaded() returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '"none"'::jsonb $$;
    create function wrong.text_in(text) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '1'::jsonb $$;
    create function wrong.text_out(jsonb) returns text language sql set search_path = pg_catalog, pg_temp as $$
      select '1' $$;
    create function wrong.nothing_out(jsonb) returns void language sql set search_path = pg_catalog, pg_temp as $$
      select $$;
    create function wrong.many_out(jsonb) returns setof jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '1'::jsonb $$;
    create function wrong.all_in(variadic jsonb[]) returns jsonb language sql
      set search_path = pg_catalog, pg_temp as $$ select '1'::jsonb $$;
    create function wrong.two_in(jsonb, jsonb default '1') returns jsonb language sql
      set search_path = pg_catalog, pg_temp as $$ select '1'::jsonb $$;
    create procedure wrong.a_procedure(jsonb) language sql set search_path = pg_catalog, pg_temp as $$ select $$;
    create aggregate wrong.an_aggregate(jsonb) (sfunc = pg_catalog.jsonb_concat, stype = jsonb)`);
  const delivery = await dispatchAndClaim(sql);
  for (
    const name of [
      ..."text_in text_out nothing_out many_out all_in two_in a_procedure an_aggregate".split(" ").map((f) =>
        `wrong.${f}`
      ),
      "wrong.missing",
      "missing",
      "missing.take_effect",
      "postgres.public.take_effect",
      "TAKE_EFFECT.",
      "",
      null,
      "x".repeat(10_000),
    ]
  ) {
    await assertRejected(completeWith(sql, delivery, name as string), "SM_NOT_FOUND", 404);
  }
  assert.equal((await errorOf(completeWith(sql, delivery, "wrong.unclear"))).code, "42725", "as in any call in SQL");
  await assertUntouched(project().sql, delivery);
  assert.equal((await completeWith(sql, delivery, "wrong.overloaded")).result, "jsonb");
});

test("function_name · names are lower-cased and quoted as in SQL; nothing in them is ever executed", async () => {
  const { sql } = project();
  assert.equal((await completeWith(sql, await dispatchAndClaim(sql), 'shop."Odd name"')).result, "odd");
  assert.equal((await completeWith(sql, await dispatchAndClaim(sql), "Public . TAKE_EFFECT")).outcome, "completed");
  await sql`truncate public.effects`;
  const delivery = await dispatchAndClaim(sql);
  for (
    const name of [
      "take_effect(args); drop table public.effects; --",
      "public.take_effect('{}'), pg_sleep(9)",
      `public."take_effect'; drop table public.effects; --"`,
      'shop."Odd name"(null); truncate public.effects',
      "shop.Odd name",
      "public.take_effect(jsonb)",
      '"public.take_effect"',
      "(select 1)",
      "$1",
      "%s",
    ]
  ) {
    await assertRejected(completeWith(sql, delivery, name), "SM_NOT_FOUND", 404);
  }
  await assertUntouched(project().sql, delivery);
  await sql.unsafe(`
    create function shop."a""); truncate public.effects; --"(jsonb) returns jsonb language sql
      set search_path = pg_catalog, pg_temp as $$ select '"quoted"'::jsonb $$`);
  assert.equal((await completeWith(sql, delivery, `shop."a""); truncate public.effects; --"`)).result, "quoted");
});

test("function_name · functions of the system, the platform, extensions and the bus itself are rejected", async () => {
  const { sql } = project();
  await using admin = session(project(), "supabase_admin");
  await admin.unsafe(`
    create function public.of_an_extension(jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '1'::jsonb $$;
    alter extension plpgsql add function public.of_an_extension(jsonb)`);
  const delivery = await dispatchAndClaim(sql);
  for (
    const name of [
      "pg_catalog.to_jsonb",
      "pg_catalog.jsonb_strip_nulls",
      "pg_temp.anything",
      "pg_toast.anything",
      "information_schema.anything",
      "messenger.cap_size",
      "vault.anything",
      "net.http_post",
      "cron.schedule",
      "auth.uid",
      "storage.anything",
      "extensions.anything",
      'extensions."anything"',
      "of_an_extension",
    ]
  ) {
    await assertRejected(completeWith(sql, delivery, name), "SM_FIELD_FORBIDDEN", 403);
  }
  await assertUntouched(project().sql, delivery);
});

test("function_name · runs as the caller, who needs the right to execute and the rights it uses", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create or replace function shop.who(jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select to_jsonb(current_user::text) $$;
    create or replace function shop.closed(jsonb) returns jsonb language sql set search_path = pg_catalog, pg_temp as $$
      select '1'::jsonb $$;
    revoke execute on function shop.closed(jsonb) from public;
    create or replace function shop.reach(jsonb) returns jsonb language plpgsql
      set search_path = pg_catalog, pg_temp as $$
    begin
      update messenger.settings set max_workers = 1;
      return '1';
    end $$`);
  const delivery = await dispatchAndClaim(sql);
  for (const name of ["shop.closed", "shop.reach"]) {
    const denied = asRole(sql, "service_role", (tx) => completeWith(tx, delivery, name));
    assert.equal((await errorOf(denied)).code, "42501", name);
  }
  await assertUntouched(project().sql, delivery);
  await sql`grant execute on function shop.closed(jsonb) to service_role`;
  assert.equal((await asRole(sql, "service_role", (tx) => completeWith(tx, delivery, "shop.closed"))).result, 1);
  const other = await dispatchAndClaim(sql);
  assert.equal((await asRole(sql, "service_role", (tx) => completeWith(tx, other, "shop.who"))).result, "service_role");
  const [{ id, fence }] = await asRole(sql, "service_role", async (tx) => [await dispatchAndClaim(tx)]);
  for (const role of ["anon", "authenticated"] as const) {
    const denied = asRole(sql, role, (tx) => completeWith(tx, { id, fence }, "take_effect"));
    assert.equal((await errorOf(denied)).code, "42501", role);
  }
  await assertUntouched(project().sql, { id, fence });
});

test("function_name · the function has search_path pg_catalog, pg_temp unless it sets its own", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create or replace function public.careless(args jsonb) returns jsonb language plpgsql as $$
    begin
      insert into effects (args) values (args);
      return null;
    end $$;
    create or replace function public.careful(args jsonb) returns jsonb language plpgsql set search_path = public as $$
    begin
      insert into effects (args) values (args);
      return null;
    end $$`);
  const delivery = await dispatchAndClaim(sql);
  assert.equal((await errorOf(completeWith(sql, delivery, "careless"))).code, "42P01");
  await assertUntouched(project().sql, delivery);
  const reply = await completeWith(sql, delivery, "careful", { n: 1 });
  assert.deepEqual([reply, await effects(project().sql)], [{ outcome: "completed", result: null }, [{ n: 1 }]]);
});
