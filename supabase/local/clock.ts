// Turns the product's clock on, and lets it tick at once instead of at the next full minute.
import type { Sql } from "postgres";

const AT_START = "local_clock_at_start";

/** What the caller must do for the clock to tick at once; "nothing" also where there is no messenger. */
export type Remainder = "nothing" | "restart Postgres" | "tick from outside";

/**
 * Calls `messenger_start` where it exists and schedules the product's own job commands for pg_cron's start as well:
 * pg_cron has minute granularity, but runs `@reboot` jobs when its launcher starts.
 */
export async function startClock(sql: Sql, functionsUrl: string): Promise<Remainder> {
  const [{ messenger, cron }] = await sql<{ messenger: boolean; cron: boolean }[]>`
    select
      exists (select from pg_proc where pronamespace = 'public'::regnamespace and proname = 'messenger_start') as messenger,
      exists (select from pg_extension where extname = 'pg_cron') as cron`;
  if (!messenger) return "nothing";
  await sql`select public.messenger_start(${functionsUrl})`;
  if (!cron) return "tick from outside";
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
  return jobs.some(({ known }) => !known) ? "restart Postgres" : "nothing";
}
