// What `--chaos` does to the demo in mid-flight: bells lost, a worker killed, Postgres stopped without a goodbye and started again.
import type { Project } from "../../supabase/local/project.ts";
import { pause } from "./pause.ts";

/** Of a worker that has fallen silent, in milliseconds: short, because the demo waits for it. */
export const CHAOS_LEASE = 4_000;

/** Lets the faults happen one after the other; tells of each. */
export async function unleash(
  project: Project,
  finished: () => number,
  sent: Promise<void>,
  tell: (what: string) => void,
) {
  project.bells.drop(0.5);
  tell("half of the bells are dropped from now on");
  await until(() => finished() >= 150);
  await project.functions.kill("worker");
  tell(`kill -9 of the worker after ${finished()} messages`);
  // Transactions of the demo itself must be through: postgres.js ends the process when the server dies inside sql.begin.
  await sent;
  await until(() => finished() >= 400);
  await project.restartDatabase("immediate");
  tell(`Postgres stopped in immediate mode and started again after ${finished()} messages`);
  await until(() => finished() >= 600);
  await project.functions.kill("worker");
  tell(`kill -9 of the worker after ${finished()} messages`);
}

async function until(condition: () => boolean): Promise<void> {
  for (const giveUp = Date.now() + 60_000; !condition(); await pause(5)) {
    if (Date.now() > giveUp) throw new Error("The demo came to a halt in the middle of its faults");
  }
}
