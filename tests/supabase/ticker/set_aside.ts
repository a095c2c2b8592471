// Rows whose writes a project rejects, and the record of rows set aside.
import type { Sql } from "postgres";
import type { Row } from "../bus.ts";

/** Creates the trigger function that rejects. */
export async function makeForbidTrigger(sql: Sql): Promise<void> {
  await sql.unsafe(`
    create function public.forbid() returns trigger language plpgsql as $$
    begin
      if to_jsonb(old) ->> tg_argv[0] = tg_argv[1] then
        raise exception 'the project keeps this one';
      end if;
      return case tg_op when 'DELETE' then old else new end;
    end $$`);
}

/**
 * Runs the work while a trigger of the project rejects deletes, or updates, of the row with this value in this column.
 */
export async function withForbiddenWrites(
  sql: Sql,
  what: "delete" | "update",
  table: string,
  column: string,
  value: string,
  work: () => Promise<void>,
): Promise<void> {
  await sql.unsafe(
    `create trigger forbid before ${what} on ${table} for each row
      execute function public.forbid('${column}', '${value}')`,
  );
  try {
    await work();
  } finally {
    await sql.unsafe(`drop trigger forbid on ${table}`);
  }
}

export async function setAside(sql: Sql): Promise<Row[]> {
  return [
    ...await sql`select step, object, row_id::jsonb as key, error, attempts from messenger.set_aside order by row_id`,
  ];
}

/** Lets each step of a tick take the time it needs, so that a slow machine leaves nothing to the next tick. */
export async function unlimitStepTime(sql: Sql): Promise<void> {
  await sql.unsafe(`
    alter function messenger.run_step(text, timestamptz, int, timestamptz) rename to hurried_step;
    create function messenger.run_step(step text, at timestamptz, batch int, ends_at timestamptz) returns jsonb
      language plpgsql as $$
    begin
      return messenger.hurried_step(step, at, batch, 'infinity');
    end $$`);
}

/** Runs the work while these steps of a tick fail. */
export async function withBrokenSteps(sql: Sql, steps: readonly string[], work: () => Promise<void>): Promise<void> {
  await sql.unsafe(`
    alter function messenger.run_step(text, timestamptz, int, timestamptz) rename to sound_step;
    create function messenger.run_step(step text, at timestamptz, batch int, ends_at timestamptz) returns jsonb
      language plpgsql as $$
    begin
      if step = any ('{${steps}}') then
        raise exception 'broken on purpose';
      end if;
      return messenger.sound_step(step, at, batch, ends_at);
    end $$`);
  try {
    await work();
  } finally {
    await sql.unsafe(`
      drop function messenger.run_step(text, timestamptz, int, timestamptz);
      alter function messenger.sound_step(text, timestamptz, int, timestamptz) rename to run_step`);
  }
}
