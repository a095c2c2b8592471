// A clock that stands still for one session, for what a session caches for milliseconds.
import type { Sql } from "postgres";
import type { SqlClient } from "./bus.ts";

/** Lets sessions set the bus's time with `freezeClock`; other sessions keep real time. */
export async function installFrozenClock(sql: Sql): Promise<void> {
  await sql.unsafe(`
    create or replace function messenger.now() returns timestamptz
    language plpgsql volatile parallel safe set search_path = pg_catalog, pg_temp as $$
    begin
      return coalesce(to_timestamp(nullif(current_setting('test.now', true), '')::float8), clock_timestamp());
    end $$`);
}

/** Stops the bus's clock for this session, the given number of seconds ahead of real time. */
export async function freezeClock(sql: SqlClient, seconds = 0): Promise<void> {
  await sql`select set_config('test.now', (floor(extract(epoch from clock_timestamp())) + ${seconds})::text, false)`;
}
