// The parts of the soak that faults affect, and the count of messages in flight.
import type { Project } from "../../../supabase/local/project.ts";
import { eventually } from "../../eventually.ts";
import { pause } from "../../pause.ts";
import type { Proxy } from "../proxy.ts";
import type { WorkerProcesses } from "./workers.ts";

export interface SoakSetup {
  clock: MovingClock;
  project: Project;
  /** Between producers and edge functions, and between edge functions and the data API. */
  proxies: { front: Proxy; back: Proxy };
  workers: WorkerProcesses;
  /** Milliseconds. */
  lease: number;
}

export type Holder = "edge" | "sql" | "anybody";

/** Number of messages that workers of this kind hold; waits up to 15 s for some. */
export async function inFlight(setup: SoakSetup, holder: Holder): Promise<number> {
  return await eventually("a worker holds messages", async () => {
    const names = { edge: "^(?!sql-)", sql: "^sql-", anybody: "" }[holder];
    const [{ held }] = await setup.project.sql<{ held: number }[]>`
      select count(*)::int as held from messenger_messages
      where processed_at is null and status = 'processing' and locked_by ~ ${names}`;
    return held > 0 && held;
  }, 15_000).catch(() => 0);
}

/**
 * Moves the bus's time with the test clock. It ends at the latest time reached, because messages delayed at one o'clock
 * wait for one o'clock.
 */
export class MovingClock {
  #hours = 0;

  constructor(readonly setup: Pick<SoakSetup, "project">) {}

  forward(): Promise<void> {
    return this.#set(++this.#hours);
  }

  async backForAWhile(): Promise<void> {
    await this.#set(this.#hours - 2);
    await pause(1_500);
    await this.#set(this.#hours);
  }

  #set(hours: number): Promise<void> {
    return runWhenUp(this.setup, `select messenger.set_clock('${hours} hours')`);
  }
}

/** Part of the text of a statement that holds a snapshot, and with it a lock on the table of messages, for a minute. */
export const SNAPSHOT_MARKER = "held_by_the_soak";
export const RELEASE_SNAPSHOTS = `select pg_terminate_backend(pid) from pg_stat_activity
    where query ~ '${SNAPSHOT_MARKER}' and pid <> pg_backend_pid()`;

/** Runs a statement as soon as Postgres accepts it. */
export async function runWhenUp({ project }: Pick<SoakSetup, "project">, statement: string): Promise<void> {
  await eventually(statement, async () => {
    await project.sql.unsafe(statement);
    return true;
  }, 60_000);
}
