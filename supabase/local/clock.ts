// Turns the product's clock on, and lets it tick at once instead of at the next full minute.
import type { Sql } from "postgres";

const AT_START = "local_clock_at_start";

/**
 * Calls `messenger_start` where it exists and schedules the product's own job commands for pg_cron's start as well:
 * pg_cron has minute granularity, but runs `@reboot` jobs when its launcher starts. True when Postgres must restart for that.
 */
export async function startClock(sql: Sql, functionsUrl: string): Promise<boolean> {
  const [{ exists }] = await sql<{ exists: boolean }[]>`
    select exists (select from pg_proc where pronamespace = 'public'::regnamespace and proname = 'messenger_start') as exists`;
  if (!exists) return false;
  await sql`select public.messenger_start(${functionsUrl})`;
  const jobs = await sql<{ command: string; known: boolean }[]>`
    select
      job.command,
      exists (select from cron.job as started where started.jobname like ${
    AT_START + "%"
  } and started.command = job.command) as known
    from cron.job
    where job.jobname like 'symphony%' and job.schedule <> '@reboot'
    order by job.jobname`;
  for (const [i, { command }] of jobs.entries()) {
    await sql`select cron.schedule(${AT_START + i}, '@reboot', ${command})`;
  }
  return jobs.some(({ known }) => !known);
}
