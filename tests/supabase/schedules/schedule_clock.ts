// Schedules under a clock that the test sets.
import type { Row, SqlClient } from "../bus.ts";

/** Moves the bus to a time; the seconds of the test itself are added. */
export async function moveTo(sql: SqlClient, moment: string | Date): Promise<void> {
  await sql`select messenger.set_clock(${moment}::timestamptz - clock_timestamp())`;
}

/** Moves to a time and ticks there; returns the number of messages that the schedules made. */
export async function tickAt(sql: SqlClient, moment: string | Date): Promise<number> {
  await moveTo(sql, moment);
  const [{ expanded }] = await sql`select (messenger_tick() ->> 'expanded')::int as expanded`;
  return expanded;
}

/** Saves a schedule of type Greeting; returns the row. */
export async function schedule(
  sql: SqlClient,
  name: string,
  spec: Record<string, unknown>,
  { timezone = "UTC", payload = {}, ...options }: Record<string, unknown> = {},
): Promise<Row> {
  const [row] = await sql`
    select * from messenger_schedule(${name}, 'Greeting', ${sql.json(spec as never)}, ${sql.json(payload as never)},
      ${timezone as string}, ${sql.json(options as never)})`;
  return row;
}

export async function scheduleOf(sql: SqlClient, name: string): Promise<Row> {
  const [row] = await sql`select * from messenger_schedules where name = ${name}`;
  return row;
}

/** The occurrences of a schedule's messages, in order. */
export async function firedRuns(sql: SqlClient, name: string): Promise<string[]> {
  const rows = await sql`
    select headers ->> 'x-scheduled-for' as at from messenger_messages where headers ->> 'x-schedule' = ${name}
      order by 1`;
  return rows.map(({ at }) => at);
}

/** A preview: times in ISO, and notes. */
export async function preview(
  sql: SqlClient,
  spec: Record<string, unknown>,
  from: string | Date,
  count: number,
  { timezone = "UTC", ...options }: Record<string, unknown> = {},
): Promise<{ at: string | null; local: string; note: string | null }[]> {
  const rows = await sql`
    select run_at, to_char(local_time, 'YYYY-MM-DD HH24:MI') as local, note
    from messenger_schedule_preview(${sql.json(spec as never)}, ${timezone as string}, ${from}, ${count}, ${
    sql.json(options as never)
  })`;
  return rows.map(({ run_at, local, note }) => ({ at: run_at?.toISOString() ?? null, local, note }));
}
