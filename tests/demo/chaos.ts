// What `--chaos` does to the demo in mid-flight: wake-ups lost, a worker killed, Postgres stopped without a goodbye and started again.
import type { Project } from "../../supabase/local/project.ts";
import { eventually } from "../eventually.ts";

/** Of a worker that has fallen silent, in milliseconds: short, because the demo waits for it. */
export const CHAOS_LEASE = 4_000;

/** Lets the faults happen one after the other; tells of each. */
export async function unleash(
  project: Project,
  finished: () => number,
  sent: Promise<void>,
  tell: (what: string) => void,
) {
  project.wakeups.drop(0.5);
  tell("half of the wake-ups are dropped from now on");
  await eventually("150 messages are finished", () => finished() >= 150, 60_000);
  await project.functions.kill("worker");
  tell(`kill -9 of the worker after ${finished()} messages`);
  // Transactions of the demo itself must be through: postgres.js ends the process when the server dies inside sql.begin.
  await sent;
  await eventually("400 messages are finished", () => finished() >= 400, 60_000);
  await project.restartDatabase("immediate");
  tell(`Postgres stopped in immediate mode and started again after ${finished()} messages`);
  await eventually("600 messages are finished", () => finished() >= 600, 60_000);
  await project.functions.kill("worker");
  tell(`kill -9 of the worker after ${finished()} messages`);
}
