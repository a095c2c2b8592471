// The setup of a row: the project, the sizes, the meter, progress output, and a quiet server before each measurement.
import type { Sql } from "postgres";
import type { Project } from "../../supabase/local/project.ts";
import type { Peer } from "./peers/peer.ts";
import type { ServerMeter } from "./server_meter.ts";
import type { Sizes } from "./sizes.ts";

export interface BenchSetup {
  project: Project;
  /** As superuser, one connection. */
  admin: Sql;
  meter: ServerMeter;
  sizes: Sizes;
  report(step: string): void;
}

export interface Buses {
  symphony: Peer;
  /** Symphony again, with messages deleted on completion. */
  symphonyDeleting: Peer;
  graphileWorker: Peer;
  graphileWorkerSql: Peer;
  pgBoss: Peer;
}

/**
 * Empties the bus and stores messages. The checkpoint comes before they are written, so that no measurement pays for
 * full-page writes; the vacuum gives every planner fresh statistics and leaves no work to autovacuum.
 */
export async function prepare({ admin }: BenchSetup, bus: Peer, messages = 0, delayed = 0): Promise<void> {
  await bus.empty();
  await admin`checkpoint`;
  if (delayed > 0) await bus.stock(delayed, true);
  if (messages > 0) await bus.stock(messages);
  await settle(admin);
}

export async function settle(admin: Sql): Promise<void> {
  await admin`vacuum analyze`;
}
