// What the soak's faults are done to, and how they see whether they land in flight.
import type { Project } from "../../../supabase/local/project.ts";
import { eventually } from "../../eventually.ts";
import { pause } from "../../pause.ts";
import type { Proxy } from "../proxy.ts";
import type { Crew } from "./workers.ts";

export interface Ground {
  clock: MovingClock;
  project: Project;
  /** Between producers and edge functions, and between edge functions and the data API. */
  proxies: { front: Proxy; back: Proxy };
  crew: Crew;
  /** Milliseconds. */
  lease: number;
}

export type Holder = "edge" | "sql" | "anybody";

/** Messages that this kind of worker holds now; waits a while for some. */
export async function inFlight(ground: Ground, holder: Holder): Promise<number> {
  return await eventually("a worker holds messages", async () => {
    const names = { edge: "^(?!sql-)", sql: "^sql-", anybody: "" }[holder];
    const [{ held }] = await ground.project.sql<{ held: number }[]>`
      select count(*)::int as held from messenger_messages
      where processed_at is null and status = 'processing' and locked_by ~ ${names}`;
    return held > 0 && held;
  }, 15_000).catch(() => 0);
}

/** The bus's time, by the test clock. It ends at the latest it ever was: a message put off at one o'clock waits for one o'clock. */
export class MovingClock {
  #hours = 0;

  constructor(readonly ground: Pick<Ground, "project">) {}

  forward(): Promise<void> {
    return this.#set(++this.#hours);
  }

  async backForAWhile(): Promise<void> {
    await this.#set(this.#hours - 2);
    await pause(1_500);
    await this.#set(this.#hours);
  }

  #set(hours: number): Promise<void> {
    return insist(this.ground, `select messenger.set_clock('${hours} hours')`);
  }
}

/** In the text of a statement that holds its snapshot, and with it a lock on the table of messages, for a minute. */
export const HOLDING = "held_by_the_soak";
export const LET_GO =
  `select pg_terminate_backend(pid) from pg_stat_activity where query ~ '${HOLDING}' and pid <> pg_backend_pid()`;

/** Runs a statement as soon as Postgres answers again. */
export async function insist({ project }: Pick<Ground, "project">, statement: string): Promise<void> {
  await eventually(statement, async () => {
    await project.sql.unsafe(statement);
    return true;
  }, 60_000);
}
