// The faults of the demo's `--chaos`: lost wake-ups, a killed worker, an immediate stop and start of Postgres.
import type { Project } from "../../supabase/local/project.ts";
import { eventually } from "../eventually.ts";

/** Lease in milliseconds; short, because the demo waits until the lease of a killed worker has expired. */
export const CHAOS_LEASE = 4_000;

/** Causes the faults one after the other and reports each. */
export async function injectFaults(
  project: Project,
  finished: () => number,
  sent: Promise<void>,
  report: (what: string) => void,
) {
  project.wakeups.drop(0.5);
  report("half of the wake-ups are dropped from now on");
  await eventually("150 messages are finished", () => finished() >= 150, 60_000);
  await project.functions.kill("worker");
  report(`kill -9 of the worker after ${finished()} messages`);
  // The demo's own transactions must have ended: postgres.js ends the process when the server dies inside sql.begin.
  await sent;
  await eventually("400 messages are finished", () => finished() >= 400, 60_000);
  await project.restartDatabase("immediate");
  report(`Postgres stopped in immediate mode and started again after ${finished()} messages`);
  await eventually("600 messages are finished", () => finished() >= 600, 60_000);
  await project.functions.kill("worker");
  report(`kill -9 of the worker after ${finished()} messages`);
}
