// A Supabase project on this machine without Docker: Postgres with its clock, the API, the edge functions, started as one.
import { resolve } from "node:path";
import postgres, { type Sql } from "postgres";
import { sendWakeups, SILENT, type Wakeups } from "./wakeups.ts";
import { bootstrap, type DefaultPrivileges } from "./bootstrap.ts";
import { createCatalog } from "./catalog.ts";
import { startClock } from "./clock.ts";
import { openCluster, type StopMode } from "./cluster.ts";
import { type ProjectConfig, readConfig } from "./config.ts";
import { createPool } from "./connection.ts";
import { lockDirectory } from "./directory_lock.ts";
import { createGateway } from "./gateway.ts";
import { createIdentifier } from "./identity.ts";
import type { Limits } from "./isolate.ts";
import { type Keys, loadKeys } from "./keys.ts";
import { migrate, seed } from "./migrations.ts";
import { REPOSITORY } from "./location.ts";
import { openLog } from "./log_file.ts";
import { tickFromOutside } from "./outside_clock.ts";
import { createRunner, type Functions } from "./runner.ts";
import { openServer } from "./server.ts";

const API_CONNECTIONS = 10;
const HOSTED_LIMITS: Limits = { wallClock: 150_000, memory: 256 };

export interface ProjectOptions {
  /** Where the project keeps its data, keys and logs; made when absent. */
  directory: string;
  /** Ports on 127.0.0.1; a free one below 32768 by default. */
  apiPort?: number;
  dbPort?: number;
  /** Apply migrations that are not recorded yet, then seeds once. Default true. */
  migrate?: boolean;
  /** Run the edge functions and send what pg_net queues. Default true; the data API is always served. */
  functions?: boolean;
  /** False switches fsync and waiting for commits off: for tests that kill neither Postgres nor the machine. Default true. */
  durable?: boolean;
  /** Whether new objects in public are open to the API roles (older projects) or not (newer). Fixed when first started. Default legacy. */
  defaultPrivileges?: DefaultPrivileges;
  /** More environment variables for the edge functions. */
  env?: Record<string, string>;
  /** Directory of PostgreSQL's programs. Default: the machine's newest with pg_cron, else one without. */
  postgres?: string;
  /** Settings of the Postgres server by name, for all its sessions. */
  settings?: Record<string, string>;
  /** ICU locale of the database, for example "tr". Fixed when first started. Default: the C locale. */
  icuLocale?: string;
  /** Call `messenger_start` and let the clock tick at once: pg_cron's, or this process's where there is no pg_cron. Default false. */
  clock?: boolean;
  /** Start every function's isolate with the project, not with its first request. Default false. */
  warm?: boolean;
  /** Limits of the edge functions' isolates; hosted ones by default, CPU unlimited. */
  limits?: Partial<Limits>;
  /** The folder that holds supabase/config.toml and supabase/migrations. Default this repository. */
  root?: string;
  /** Gets a line about what is done and each line the functions print. Default: `functions.log` in the directory only. */
  log?: (line: string) => void;
}

export type DatabaseRole = "postgres" | "supabase_admin";

export interface Project
  extends AsyncDisposable, Pick<Keys, "anonKey" | "serviceRoleKey" | "publishableKey" | "secretKey" | "signUser"> {
  /** The project's public address, as SUPABASE_URL. */
  readonly url: string;
  databaseUrl(role?: DatabaseRole): string;
  /** Process id of the postmaster while it runs. */
  readonly databasePid: number | undefined;
  /** As role postgres, at most 4 connections. */
  readonly sql: Sql;
  readonly functions: Functions;
  readonly wakeups: Wakeups;
  stopDatabase(mode: StopMode): Promise<void>;
  startDatabase(): Promise<void>;
  restartDatabase(mode?: StopMode): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the project kept in `directory`, making it on first use. Everything it started ends with `stop()`, or when starting fails. */
export async function startProject(options: ProjectOptions): Promise<Project> {
  await using starting = new AsyncDisposableStack();
  const root = options.root ?? REPOSITORY;
  const directory = resolve(options.directory);
  const lock = await lockDirectory(directory);
  starting.defer(() => lock.release());
  const logFile = openLog(directory, options.log);
  starting.defer(() => logFile.close());
  const { log } = logFile;
  const config = await readConfig(root);
  const keys = await loadKeys(directory);

  const cluster = await openCluster({
    directory,
    port: options.dbPort,
    password: keys.databasePassword,
    durable: options.durable ?? true,
    postgres: options.postgres,
    settings: options.settings,
    icuLocale: options.icuLocale,
  });
  starting.defer(() => cluster.stop());
  await cluster.start();

  const connect = (role: string, max: number) => {
    const sql = postgres(cluster.url(role), { max, onnotice: () => {}, backoff: () => 0.1 });
    starting.defer(() => sql.end({ timeout: 0 }));
    return sql;
  };
  const admin = connect("supabase_admin", 1);
  await bootstrap(admin, keys.databasePassword, options.defaultPrivileges ?? "legacy");
  const sql = connect("postgres", 4);
  if (options.migrate ?? true) await migrateAndSeed(sql, root, config, log);

  const server = openServer(options.apiPort);
  starting.defer(() => server.close());
  const env = { ...functionEnvironment(keys, server.url, cluster.url("postgres")), ...options.env };
  const limits = { ...HOSTED_LIMITS, ...options.limits };
  const withFunctions = options.functions ?? true;
  const runner = createRunner({ functions: withFunctions ? config.functions : [], root, env, limits, log });
  starting.defer(() => runner.stop());
  const pool = createPool(cluster.url("authenticator"), API_CONNECTIONS);
  starting.defer(() => pool.close());
  const catalog = createCatalog(pool);
  // The driver listens again by itself after a restart.
  const listen = (channel: string, callback: () => void) =>
    void admin.listen(channel, callback, callback).catch(() => {});
  listen("pgrst", catalog.invalidate);
  server.serve(createGateway({ pool, catalog, identifier: createIdentifier(keys), keys, runner }));
  const wakeups = withFunctions
    ? sendWakeups({ databaseUrl: cluster.url("supabase_admin"), onWake: (callback) => listen("pg_net", callback), log })
    : SILENT;
  starting.defer(() => wakeups.stop());
  if (options.warm) runner.names.forEach(runner.warm);

  const restartDatabase = async (mode: StopMode = "fast") => {
    await cluster.stop(mode);
    await cluster.start();
  };
  const remains = options.clock ? await startClock(sql, `${server.url}/functions/v1`) : "nothing";
  if (remains === "restart Postgres") await restartDatabase();
  if (remains === "tick from outside") {
    const clock = tickFromOutside({ databaseUrl: cluster.url("postgres"), log });
    starting.defer(() => clock.stop());
  }

  const running = starting.move();
  const stop = () => running.disposeAsync();
  return {
    url: server.url,
    anonKey: keys.anonKey,
    serviceRoleKey: keys.serviceRoleKey,
    publishableKey: keys.publishableKey,
    secretKey: keys.secretKey,
    signUser: keys.signUser,
    databaseUrl: (role = "postgres") => cluster.url(role),
    get databasePid() {
      return cluster.pid;
    },
    sql,
    functions: runner,
    wakeups,
    stopDatabase: (mode) => cluster.stop(mode),
    startDatabase: () => cluster.start(),
    restartDatabase,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function migrateAndSeed(sql: Sql, root: string, config: ProjectConfig, log: (line: string) => void) {
  for (const name of await migrate(sql, root)) log(`applied migration ${name}`);
  await seed(sql, root, config.seeds);
}

/** What the hosted platform gives every edge function, and nothing else. */
function functionEnvironment(keys: Keys, url: string, databaseUrl: string): Record<string, string> {
  return {
    SUPABASE_URL: url,
    SUPABASE_ANON_KEY: keys.anonKey,
    SUPABASE_SERVICE_ROLE_KEY: keys.serviceRoleKey,
    SUPABASE_DB_URL: databaseUrl,
    SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.publishableKey }),
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.secretKey }),
    SUPABASE_JWKS: JSON.stringify(keys.verifyingJwks),
    SB_REGION: "local",
  };
}
