// A project with every bus installed in it, and the rows that are measured there.
import postgres from "postgres";
import { startProject } from "../../supabase/local/project.ts";
import type { Buses, Ground } from "./setup.ts";
import type { Line } from "./line.ts";
import { openGraphileWorker } from "./peers/graphile_worker.ts";
import { openPgBoss } from "./peers/pg_boss.ts";
import { openSymphony } from "./peers/symphony.ts";
import type { Row } from "./rows/row.ts";
import { createServerMeter } from "./server_meter.ts";
import type { Sizes } from "./sizes.ts";

export interface Stage {
  /** Whether the edge functions and the clock run. */
  apps: boolean;
  rows: readonly Row[];
}

export interface Outcome {
  lines: Line[];
  /** Rows that could not be measured, in sentences. */
  failures: string[];
  postgres: string;
}

export async function measureStage(
  { apps, rows }: Stage,
  directory: string,
  sizes: Sizes,
  say: (step: string) => void,
): Promise<Outcome> {
  say(apps ? "starting the project with its edge functions" : "starting the project and installing the peers");
  await using cleanup = new AsyncDisposableStack();
  const project = await startProject({
    directory,
    functions: apps,
    clock: apps,
    warm: apps,
    // It falls idle after half a second without messages instead of five: the bench waits for that each time.
    env: { SYMPHONY_WORKER_LINGER: "500" },
  });
  cleanup.defer(() => project.stop());
  const interrupted = () => project.stop().finally(() => Deno.exit(130));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, interrupted);
    cleanup.defer(() => Deno.removeSignalListener(signal, interrupted));
  }
  const admin = postgres(project.databaseUrl("supabase_admin"), { max: 1, onnotice: () => {} });
  cleanup.defer(() => admin.end({ timeout: 5 }));
  // A checkpoint in the middle of one bus's turn would be counted against it.
  await admin`alter system set max_wal_size = '16GB'`;
  await admin`alter system set checkpoint_timeout = '1h'`;
  await admin`select pg_reload_conf()`;

  const buses: Buses = {
    symphony: await openSymphony(project),
    unkept: await openSymphony(project, { kept: false }),
    graphileWorker: await openGraphileWorker(project),
    pgBoss: await openPgBoss(project),
  };
  for (const bus of Object.values(buses)) cleanup.defer(() => bus.close());
  const ground: Ground = { project, admin, sizes, say, meter: createServerMeter(admin, () => project.databasePid) };

  const outcome: Outcome = { lines: [], failures: [], postgres: await versionOf(ground) };
  for (const row of rows) {
    try {
      outcome.lines.push(...await row.measure(ground, buses));
    } catch (error) {
      say(`${row.name} failed: ${error}`);
      outcome.failures.push(`${row.name}: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
    }
  }
  return outcome;
}

async function versionOf({ admin }: Ground): Promise<string> {
  const [{ version }] = await admin<{ version: string }[]>`select split_part(version(), ' (', 1) as version`;
  return version;
}
