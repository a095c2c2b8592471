// Starts the ticker of the bus, at once instead of at the next full minute.
import type { Sql } from "postgres";

const AT_START = "local_clock_at_start"; // prefix of the names of the extra pg_cron jobs

/** The step that the caller must take for the first tick; "nothing" also without the bus in the database. */
export type NextStep = "nothing" | "restart Postgres" | "tick externally";

/**
 * Calls `messenger_start` if it exists, and schedules the commands of its jobs as `@reboot` jobs too: pg_cron starts
 * other jobs at a full minute, but these with its launcher.
 */
export async function startTicker(sql: Sql, functionsUrl: string): Promise<NextStep> {
  const [{ messenger, cron }] = await sql<{ messenger: boolean; cron: boolean }[]>`
    select
      exists (
        select from pg_proc where pronamespace = 'public'::regnamespace and proname = 'messenger_start'
      ) as messenger,
      exists (select from pg_extension where extname = 'pg_cron') as cron`;
  if (!messenger) return "nothing";
  await sql`select public.messenger_start(${functionsUrl})`;
  if (!cron) return "tick externally";
  const jobs = await sql<{ command: string; scheduled: boolean }[]>`
    select
      job.command,
      exists (select from cron.job as started where started.jobname like ${
    AT_START + "%"
  } and started.command = job.command) as scheduled
    from cron.job
    where job.jobname like 'symphony%' and job.schedule <> '@reboot'
    order by job.jobname`;
  for (const [i, { command }] of jobs.entries()) {
    await sql`select cron.schedule(${AT_START + i}, '@reboot', ${command})`;
  }
  return jobs.some(({ scheduled }) => !scheduled) ? "restart Postgres" : "nothing";
}
