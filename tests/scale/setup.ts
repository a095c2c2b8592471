// The setup of a row: a project whose ticker does not run, its connections, the meter and the sizes.
import postgres, { type Sql } from "postgres";
import type { Project } from "../../supabase/local/project.ts";
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

export type OpenedSetup = ScaleSetup & AsyncDisposable;

/** Opens the connections to a project; disposing closes them. */
export async function openSetup(
  project: Project,
  sizes: Sizes,
  report: (step: string) => void,
): Promise<OpenedSetup> {
  const admin = postgres(project.databaseUrl("supabase_admin"), { max: 1, onnotice: () => {} });
  const service = openSession(project);
  const bus = await openSymphony(project);
  const meter = createServerMeter(admin, () => project.databasePid);
  const close = () => Promise.all([admin.end({ timeout: 5 }), service.end({ timeout: 5 }), bus.close()]);
  return {
    ...{ project, admin, service, bus, meter, sizes, report },
    [Symbol.asyncDispose]: async () => void await close(),
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

/** Removes what rows store and set, so that each finds the same database. */
export async function clear({ admin, bus }: ScaleSetup): Promise<void> {
  await bus.empty();
  await admin`
    truncate messenger.queues, messenger.measurements, messenger.metrics, messenger.metric_errors,
      messenger.scan_positions, messenger.idempotency_keys, messenger.wakeup_locks, messenger.rescue_cursors`;
  await admin`delete from messenger.message_types where type like 'Scale%'`;
  await admin`update messenger_transports set config = '{}'`;
  await admin`update messenger.settings set functions_url = null`;
  await vacuum(admin);
}

/** Removes dead rows and gives the planner fresh statistics. */
export async function vacuum(admin: Sql): Promise<void> {
  await admin`vacuum analyze`;
  await admin`checkpoint`;
}
