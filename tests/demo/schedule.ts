// A schedule of one second that fires a few times while the demo runs.
import type { Sql } from "postgres";
import { pause } from "../pause.ts";

const NAME = "demo: each second";
const RUNS = 3;
const GIVE_UP = 20_000; // ms

/** Saves the schedule; after its runs it is over, so that workers can fall idle. */
export async function startSchedule(sql: Sql): Promise<void> {
  await sql`select messenger_schedule(${NAME}, 'ExampleQuick', '{"interval": 1000}', options => ${
    sql.json({ max_runs: RUNS })
  })`;
}

/** Waits until the last run's message is finished; answers the line for the report, and what is wrong. */
export async function readSchedule(sql: Sql): Promise<{ line: string; wrong: string[] }> {
  for (const giveUp = Date.now() + GIVE_UP;; await pause(50)) {
    const [row] = await sql<{ completed: number; moments: number }[]>`
      select count(*) filter (where m.status = 'completed')::int as completed, count(distinct m.headers ->> 'x-scheduled-for')::int as moments
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
