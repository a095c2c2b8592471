// One PostgreSQL cluster in a directory: created, started, stopped and restarted; it ends with this process.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { findPostgres, type Postgres } from "./binaries.ts";
import { freePort } from "./ports.ts";
import { boundToThisProcess, type Unprivileged, withoutRoot } from "./wrapping.ts";

export type StopMode = "fast" | "immediate";

export interface ClusterOptions {
  directory: string;
  port?: number;
  password: string;
  /** False is faster: a crash of Postgres may lose the latest commits, a crash of the machine the whole cluster. */
  durable: boolean;
  /** Directory of PostgreSQL's programs; default: the best installation on this machine. */
  postgres?: string;
  /** Settings of the server by name, for all its sessions. */
  settings?: Record<string, string>;
  /** ICU locale of the databases, for example "tr"; default: the C locale. Fixed when the cluster is created. */
  icuLocale?: string;
}

export interface Cluster {
  readonly port: number;
  /** Process id of the postmaster while it runs. */
  readonly pid: number | undefined;
  url(role: string): string;
  start(): Promise<void>;
  stop(mode?: StopMode): Promise<void>;
}

/** Opens the cluster in `directory/data` without starting it; creates it with initdb if it does not exist. */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const data = join(options.directory, "data");
  const postgres = findPostgres(options.postgres);
  const unprivileged = await withoutRoot();
  const createdBy = existsSync(join(data, "PG_VERSION")) && await Deno.readTextFile(join(data, "PG_VERSION"));
  if (!createdBy) await initialise(data, options, postgres, unprivileged);
  else if (Number(createdBy) !== postgres.version) {
    throw new Error(`PostgreSQL ${createdBy.trim()} created ${data}; PostgreSQL ${postgres.version} cannot run it`);
  }
  await endLeftover(data);

  let port = options.port ?? freePort();
  let settled = options.port !== undefined;
  let server: Deno.ChildProcess | undefined;

  async function launch() {
    const [program, ...args] = [
      ...unprivileged.prefix,
      ...boundToThisProcess("INT"),
      postgres.program("postgres"),
      "-D",
      data,
      ...settings(port, options, postgres),
    ];
    const log = join(options.directory, "postgres.log");
    // sh only opens the log; exec keeps its process id for Postgres.
    const child = new Deno.Command("sh", {
      args: ["-c", 'exec "$@" >>"$0" 2>&1', log, program, ...args],
      stdin: "null",
    }).spawn();
    const ended = new AbortController();
    child.status.then(() => {
      ended.abort();
      if (server === child) server = undefined;
    });
    server = child;
    if (await untilReady(data, child.pid, ended.signal)) return;
    const lines = (await Deno.readTextFile(log)).trimEnd().split("\n").slice(-5);
    throw new Error(`Postgres did not start:\n${lines.join("\n")}`);
  }

  return {
    get port() {
      return port;
    },
    get pid() {
      return server?.pid;
    },
    url: (role) => `postgresql://${role}:${options.password}@127.0.0.1:${port}/postgres`,
    async start() {
      for (let attempt = 1; !server; attempt++) {
        try {
          await launch();
        } catch (error) {
          if (attempt > 100) throw error;
          if (String(error).includes("pre-existing shared memory")) {
            // The postmaster was killed; its backends end within moments.
            await delay(100);
          } else if (!settled && String(error).includes("could not bind")) {
            // Another process took the free port before Postgres. A requested or published port is kept.
            port = freePort();
          } else throw error;
        }
      }
      settled = true;
    },
    async stop(mode = "fast") {
      const stopping = server;
      if (!stopping) return;
      server = undefined;
      stopping.kill(mode === "fast" ? "SIGINT" : "SIGQUIT");
      await stopping.status;
    },
  };
}

function settings(port: number, { durable, settings }: ClusterOptions, postgres: Postgres): string[] {
  const preloaded = ["pg_cron", "pg_stat_statements"].filter((library) => postgres.has(library));
  const values: Record<string, string | number> = {
    port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    shared_preload_libraries: preloaded.join(","),
    ...(postgres.has("pg_cron") ? { "cron.database_name": "postgres", "cron.use_background_workers": "on" } : {}),
    max_worker_processes: 24,
    max_connections: 100,
    timezone: "UTC",
    log_timezone: "UTC",
    log_line_prefix: "%m [%p] %q%u ",
    ...(durable ? {} : { fsync: "off", synchronous_commit: "off", full_page_writes: "off" }),
    ...settings,
  };
  return Object.entries(values).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

async function initialise(data: string, options: ClusterOptions, postgres: Postgres, { prefix, owner }: Unprivileged) {
  // Renamed when complete, so that the rest of a killed initdb does not look like a cluster.
  const making = `${data}.making`;
  if (existsSync(making)) await Deno.remove(making, { recursive: true });
  await Deno.mkdir(making, { mode: 0o700 });
  const passwordFile = `${data}.password`;
  await Deno.writeTextFile(passwordFile, options.password, { mode: 0o600 });
  if (owner) { for (const path of [making, passwordFile]) await Deno.chown(path, owner.uid, owner.gid); }
  try {
    const [program, ...args] = [
      ...prefix,
      postgres.program("initdb"),
      ...["-D", making, "-U", "supabase_admin", "--pwfile", passwordFile, "--auth", "scram-sha-256"],
      ...["--encoding", "UTF8", "--locale", "C.UTF-8", ...(options.durable ? [] : ["--no-sync"])],
      ...(options.icuLocale ? ["--locale-provider", "icu", "--icu-locale", options.icuLocale] : []),
    ];
    const { success, stderr } = await new Deno.Command(program, { args, stdout: "null", stderr: "piped" }).output();
    const hint = owner ? " (accounts other than root must be able to reach this directory)" : "";
    if (!success) throw new Error(`initdb failed in ${making}${hint}:\n${new TextDecoder().decode(stderr)}`);
    await Deno.rename(making, data);
  } finally {
    await Deno.remove(passwordFile);
  }
}

// Line 8 of postmaster.pid becomes "ready". Reading it needs no connection.
async function untilReady(data: string, pid: number, ended: AbortSignal): Promise<boolean> {
  while (!ended.aborted) {
    const lines = await pidFile(data);
    if (Number(lines[0]) === pid && lines[7]?.trim() === "ready") return true;
    await delay(10);
  }
  return false;
}

/** Ends a server that a killed process left running on this directory. */
async function endLeftover(data: string) {
  const pid = Number((await pidFile(data))[0]);
  if (!pid) return;
  for (const signal of ["SIGINT", "SIGQUIT"] as const) {
    for (let waited = 0; waited < 10_000; waited += 50) {
      if (!await serves(pid, data)) return;
      if (waited === 0) Deno.kill(pid, signal);
      await delay(50);
    }
  }
  throw new Error(`Process ${pid} still runs Postgres on ${data} and does not end; end it by hand`);
}

// The process id may belong to another program by now: the command line must name the directory.
async function serves(pid: number, data: string): Promise<boolean> {
  try {
    return (await Deno.readTextFile(`/proc/${pid}/cmdline`)).split("\0").includes(data);
  } catch {
    return false;
  }
}

async function pidFile(data: string): Promise<string[]> {
  try {
    return (await Deno.readTextFile(join(data, "postmaster.pid"))).split("\n");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
