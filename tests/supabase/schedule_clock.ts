// Schedules under a clock that stands where the test puts it.
import type { Asker, Row } from "./bus.ts";

/** Moves the bus to a moment; the seconds a test takes come on top. */
export async function moveTo(sql: Asker, moment: string | Date): Promise<void> {
  await sql`select messenger.set_clock(${moment}::timestamptz - clock_timestamp())`;
}

/** Moves to a moment and ticks there; answers how many messages the schedules made. */
export async function tickAt(sql: Asker, moment: string | Date): Promise<number> {
  await moveTo(sql, moment);
  const [{ expanded }] = await sql`select (messenger_tick() ->> 'expanded')::int as expanded`;
  return expanded;
}

/** Saves a schedule of type Greeting; answers the row. */
export async function schedule(
  sql: Asker,
  name: string,
  spec: Record<string, unknown>,
  { timezone = "UTC", payload = {}, ...options }: Record<string, unknown> = {},
): Promise<Row> {
  const [row] = await sql`
    select * from messenger_schedule(${name}, 'Greeting', ${sql.json(spec as never)}, ${sql.json(payload as never)},
      ${timezone as string}, ${sql.json(options as never)})`;
  return row;
}

export async function scheduleOf(sql: Asker, name: string): Promise<Row> {
  const [row] = await sql`select * from messenger_schedules where name = ${name}`;
  return row;
}

/** The moments a schedule's messages name, in order. */
export async function fired(sql: Asker, name: string): Promise<string[]> {
  const rows = await sql`
    select headers ->> 'x-scheduled-for' as at from messenger_messages where headers ->> 'x-schedule' = ${name} order by 1`;
  return rows.map(({ at }) => at);
}

/** What a preview says: moments in ISO, and notes. */
export async function preview(
  sql: Asker,
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
