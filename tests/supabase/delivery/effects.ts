// Business functions for the tests of completion with an effect: a table with a row for each run, and functions that
// read it.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { callValue, messageOf, type Row, type SqlClient } from "../bus.ts";

/**
 * Creates public.effects, take_effect (inserts a row, returns {"got": args}) and is_rejected (inserts a row, then
 * raises XS001).
 */
export async function makeEffects(sql: Sql): Promise<void> {
  await sql.unsafe(`
    create table public.effects (n int generated always as identity, args jsonb);
    grant select, insert on public.effects to service_role;
    create function public.take_effect(args jsonb) returns jsonb language plpgsql
      set search_path = pg_catalog, pg_temp as $$
    begin
      insert into public.effects (args) values (args);
      return jsonb_build_object('got', args);
    end $$;
    create function public.is_rejected(args jsonb) returns jsonb language plpgsql
      set search_path = pg_catalog, pg_temp as $$
    begin
      insert into public.effects (args) values (args);
      raise exception 'out of stock' using errcode = 'XS001', hint = 'order some';
    end $$`);
}

/** The arguments of each effect, in order. */
export async function effects(sql: SqlClient): Promise<unknown[]> {
  return (await sql`select args from public.effects order by n`).map(({ args }) => args);
}

export interface Delivery {
  id: string;
  fence: string;
}

export function completeWith(
  sql: SqlClient,
  { id, fence }: Delivery,
  function_name: string,
  args?: unknown,
): Promise<Row> {
  return callValue(sql, "messenger_complete_with", { id, fence, function_name, ...(args !== undefined && { args }) });
}

/** Checks that the worker ada still has the delivery, and that there is no effect. */
export async function assertUntouched(sql: SqlClient, { id, fence }: Delivery): Promise<void> {
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.fence, row.locked_by, row.result], ["processing", fence, "ada", null]);
  assert.deepEqual(await effects(sql), []);
}
