// Starts a project with every bus installed and measures rows in it.
import postgres from "postgres";
import { startProject } from "../../supabase/local/project.ts";
import type { BenchSetup, Buses } from "./setup.ts";
import type { Line } from "./line.ts";
import { openGraphileWorker } from "./peers/graphile_worker.ts";
import { openGraphileWorkerSql } from "./peers/graphile_worker_sql.ts";
import { openPgBoss } from "./peers/pg_boss.ts";
import { openSymphony } from "./peers/symphony.ts";
import type { Row } from "./rows/row.ts";
import { createServerMeter } from "./server_meter.ts";
import type { Sizes } from "./sizes.ts";

export interface RowGroup {
  /** Whether the edge functions and the ticker run. */
  apps: boolean;
  rows: readonly Row[];
}

export interface Outcome {
  lines: Line[];
  /** Rows that could not be measured, one sentence each. */
  failures: string[];
  /** Version of the server. */
  version: string;
}

/** The project's directory, and the directory of PostgreSQL's programs; default: those of this machine. */
export interface Place {
  directory: string;
  postgres: string | undefined;
}

export async function runRows(
  { apps, rows }: RowGroup,
  { directory, postgres: programs }: Place,
  sizes: Sizes,
  report: (step: string) => void,
): Promise<Outcome> {
  report(apps ? "starting the project with its edge functions" : "starting the project and installing the peers");
  await using cleanup = new AsyncDisposableStack();
  const project = await startProject({
    directory,
    postgres: programs,
    functions: apps,
    clock: apps,
    warm: apps,
    // A worker becomes idle after 0.5 s without messages instead of 5 s, because the bench waits for it each time.
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
  // A checkpoint during one bus's turn would count against that bus.
  await admin`alter system set max_wal_size = '16GB'`;
  await admin`alter system set checkpoint_timeout = '1h'`;
  await admin`select pg_reload_conf()`;

  const buses: Buses = {
    symphony: await openSymphony(project),
    symphonyDeleting: await openSymphony(project, { kept: false }),
    graphileWorker: await openGraphileWorker(project),
    graphileWorkerSql: await openGraphileWorkerSql(project),
    pgBoss: await openPgBoss(project),
  };
  for (const bus of Object.values(buses)) cleanup.defer(() => bus.close());
  const setup: BenchSetup = {
    project,
    admin,
    sizes,
    report,
    meter: createServerMeter(admin, () => project.databasePid),
  };

  const outcome: Outcome = { lines: [], failures: [], version: await versionOf(setup) };
  for (const row of rows) {
    try {
      outcome.lines.push(...await row.measure(setup, buses));
    } catch (error) {
      report(`${row.name} failed: ${error}`);
      outcome.failures.push(`${row.name}: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
    }
  }
  return outcome;
}

async function versionOf({ admin }: BenchSetup): Promise<string> {
  const [{ version }] = await admin<{ version: string }[]>`
    select split_part(split_part(version(), ' (', 1), ' on ', 1) as version`;
  return version;
}
