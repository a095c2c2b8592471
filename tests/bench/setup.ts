// What a row stands on: the project, the sizes, the meter, a line of progress, and a quiet server before each measure.
import type { Sql } from "postgres";
import type { Project } from "../../supabase/local/project.ts";
import type { Peer } from "./peers/peer.ts";
import type { ServerMeter } from "./server_meter.ts";
import type { Sizes } from "./sizes.ts";

export interface Ground {
  project: Project;
  /** As superuser, one connection. */
  admin: Sql;
  meter: ServerMeter;
  sizes: Sizes;
  say(step: string): void;
}

export interface Buses {
  symphony: Peer;
  /** Ours again, deleting messages on completion. */
  unkept: Peer;
  graphileWorker: Peer;
  pgBoss: Peer;
}

/**
 * Empties the bus and stores messages. The checkpoint comes before they are written, so no measure pays for writing whole pages
 * again; the vacuum gives every planner fresh statistics and leaves autovacuum nothing to do.
 */
export async function prepare({ admin }: Ground, bus: Peer, messages = 0, delayed = 0): Promise<void> {
  await bus.empty();
  await admin`checkpoint`;
  if (delayed > 0) await bus.stock(delayed, true);
  if (messages > 0) await bus.stock(messages);
  await settle(admin);
}

export async function settle(admin: Sql): Promise<void> {
  await admin`vacuum analyze`;
}
