// The setup of a row: a project whose ticker does not run, its connections, the meter and the sizes.
import postgres, { type Sql } from "postgres";
import { type Project, startProject } from "../../supabase/local/project.ts";
import type { Peer } from "../bench/peers/peer.ts";
import { openSymphony } from "../bench/peers/symphony.ts";
import { createServerMeter, type ServerMeter } from "../bench/server_meter.ts";
import type { Line } from "./line.ts";
import type { Sizes } from "./sizes.ts";

export interface ScaleSetup {
  project: Project;
  /** As superuser, one connection. */
  admin: Sql;
  /** As service_role, one connection, like a worker or an operator. */
  service: Sql;
  /** Dispatches and handles messages with 4 connections. */
  bus: Peer;
  meter: ServerMeter;
  sizes: Sizes;
  report(step: string): void;
}

export interface Row {
  name: string;
  measure(setup: ScaleSetup): Promise<Line[]>;
}

export interface Opened extends AsyncDisposable {
  setup: ScaleSetup;
}

export async function openSetup(directory: string, sizes: Sizes, report: (step: string) => void): Promise<Opened> {
  await using opening = new AsyncDisposableStack();
  const project = await startProject({
    directory,
    functions: false,
    // A checkpoint or an automatic vacuum during a measurement would count against it; the rows vacuum themselves.
    settings: { max_wal_size: "16GB", checkpoint_timeout: "1h", autovacuum: "off" },
  });
  opening.defer(() => project.stop());
  const admin = postgres(project.databaseUrl("supabase_admin"), { max: 1, onnotice: () => {} });
  opening.defer(() => admin.end({ timeout: 5 }));
  const service = openSession(project);
  opening.defer(() => service.end({ timeout: 5 }));
  const bus = await openSymphony(project);
  opening.defer(() => bus.close());
  const open = opening.move();
  const meter = createServerMeter(admin, () => project.databasePid);
  return {
    setup: { project, admin, service, bus, meter, sizes, report },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** A session of its own, as service_role. */
export function openSession(project: Project): Sql {
  return postgres(project.databaseUrl(), {
    max: 1,
    onnotice: () => {},
    connection: { role: "service_role", application_name: "scale" },
  });
}

/** Empties what rows store, so that each row finds the same database. */
export async function clear({ admin, bus }: ScaleSetup): Promise<void> {
  await bus.empty();
  await admin`
    truncate messenger.queues, messenger.measurements, messenger.metrics, messenger.metric_errors,
      messenger.scan_positions, messenger.idempotency_keys, messenger.wakeup_locks`;
  await admin`delete from messenger.message_types where type like 'Scale%'`;
  await vacuum(admin);
}

/** Removes dead rows and gives the planner fresh statistics. */
export async function vacuum(admin: Sql): Promise<void> {
  await admin`vacuum analyze`;
  await admin`checkpoint`;
}
