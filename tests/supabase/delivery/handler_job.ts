// The job symphony-handlers without pg_cron: its command, in a separate session.
import type { Sql } from "postgres";
import type { Project } from "../../../supabase/local/project.ts";
import { eventually } from "../../eventually.ts";
import { session } from "../../project.ts";
import { pidOf } from "../until_blocked.ts";

export interface HandlerJob extends AsyncDisposable {
  readonly pid: number;
  /** Ends with the job's run; rejects if its backend was lost. */
  readonly ended: Promise<unknown>;
}

/** Starts a run of the job, like pg_cron; it ends when the job is disposed. */
export async function startHandlerJob(project: Project, settings: Record<string, string> = {}): Promise<HandlerJob> {
  const { sql } = project;
  const own = session(project);
  for (const [name, value] of Object.entries(settings)) await own`select set_config(${name}, ${value}, false)`;
  await sql`update messenger.settings set clock_enabled = true`;
  const [{ command }] = await sql`select messenger.handlers_command() as command`;
  const pid = await pidOf(own);
  const ended = own.unsafe(command).then(() => {});
  ended.catch(() => {});
  return {
    pid,
    ended,
    async [Symbol.asyncDispose]() {
      await sql`update messenger.settings set clock_enabled = false`;
      // A test that has failed may have left a handler waiting.
      const giveUp = setTimeout(() => void sql`select pg_terminate_backend(${pid})`.then(() => {}), 5_000);
      await ended.catch(() => {});
      clearTimeout(giveUp);
      await own.end({ timeout: 1 });
    },
  };
}

/** Waits until the message has this status. */
export async function untilStatus(sql: Sql, id: string, status: string): Promise<void> {
  await eventually(`the message is ${status}`, async () => {
    const [row] = await sql`select status from public.messenger_messages where id = ${id}`;
    return row.status === status;
  });
}

/** Holds the advisory lock 4713, for which a test's handlers wait, until it is opened. */
export async function holdHandlers(project: Project): Promise<Sql & AsyncDisposable & { open(): Promise<unknown> }> {
  const gate = session(project);
  await gate`select pg_advisory_lock(4713)`;
  return Object.assign(gate, { open: () => Promise.resolve(gate`select pg_advisory_unlock(4713)`) });
}
