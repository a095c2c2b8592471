// A schedule with an interval of one second that fires a few times during the demo.
import type { Sql } from "postgres";
import { pause } from "../pause.ts";

const NAME = "demo: each second";
const RUNS = 3;
const GIVE_UP = 20_000; // ms

/** Saves the schedule; it expires after its runs, so that workers can become idle. */
export async function startSchedule(sql: Sql): Promise<void> {
  await sql`select messenger_schedule(${NAME}, 'ExampleQuick', '{"interval": 1000}', options => ${
    sql.json({ max_runs: RUNS })
  })`;
}

/** Waits until the last run's message is finished; returns the line for the report, and an error. */
export async function readSchedule(sql: Sql): Promise<{ line: string; wrong: string[] }> {
  for (const giveUp = Date.now() + GIVE_UP;; await pause(50)) {
    const [row] = await sql<{ completed: number; moments: number }[]>`
      select count(*) filter (where m.status = 'completed')::int as completed,
        count(distinct m.headers ->> 'x-scheduled-for')::int as moments
      from messenger_messages m where m.headers ->> 'x-schedule' = ${NAME}`;
    if (row.completed < RUNS && Date.now() < giveUp) continue;
    const [{ enabled }] = await sql`select enabled from messenger_schedules where name = ${NAME}`;
    const is = row.completed === RUNS && row.moments === RUNS && !enabled;
    return {
      line: `Schedule: an interval of 1 s fired ${row.moments} times, ${row.completed} messages completed.`,
      wrong: is ? [] : [`the schedule made ${row.completed} completed messages for ${row.moments} moments`],
    };
  }
}
