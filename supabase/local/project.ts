// A Supabase project on this machine without Docker: Postgres, the ticker, the API and the edge functions.
import { resolve } from "node:path";
import postgres, { type Sql } from "postgres";
import { NO_WAKEUPS, sendWakeups, type WakeupControl } from "./wakeups.ts";
import { bootstrap, type DefaultPrivileges } from "./bootstrap.ts";
import { createCatalog } from "./catalog.ts";
import { startExternalTicker } from "./external_ticker.ts";
import { openCluster, type StopMode } from "./cluster.ts";
import { type ProjectConfig, readConfig } from "./config.ts";
import { createPool } from "./connection.ts";
import { lockDirectory } from "./directory_lock.ts";
import { createGateway } from "./gateway.ts";
import { createIdentifier } from "./identity.ts";
import type { Limits } from "./isolate.ts";
import { type Keys, loadKeys } from "./keys.ts";
import { migrate, seed } from "./migrations.ts";
import { openLog } from "./log_file.ts";
import { REPOSITORY } from "./paths.ts";
import { createRunner, type Functions } from "./runner.ts";
import { openServer } from "./server.ts";
import { startTicker } from "./ticker.ts";

const API_CONNECTIONS = 10;
const HOSTED_LIMITS: Limits = { wallClock: 150_000, memory: 256 };

export interface ProjectOptions {
  /** The directory of the project's data, keys and logs; created at first use. */
  directory: string;
  /** Ports on 127.0.0.1; default: a free one below 32768. */
  apiPort?: number;
  dbPort?: number;
  /** Apply migrations that are not recorded yet, then seeds once; default: true. */
  migrate?: boolean;
  /** Run the edge functions and send the requests that pg_net queues; default: true. The data API always runs. */
  functions?: boolean;
  /**
   * False disables fsync and synchronous commits: for tests that kill neither Postgres nor the machine. Default: true.
   */
  durable?: boolean;
  /**
   * Whether new objects in public are granted to the API roles, as in older projects, or not, as in newer ones. Fixed
   * at the first start; default: legacy.
   */
  defaultPrivileges?: DefaultPrivileges;
  /** More environment variables for the edge functions. */
  env?: Record<string, string>;
  /** Directory of PostgreSQL's programs; default: the newest on this machine, those with pg_cron first. */
  postgres?: string;
  /** Settings of the Postgres server by name, for all its sessions. */
  settings?: Record<string, string>;
  /** ICU locale of the database, for example "tr"; default: the C locale. Fixed at the first start. */
  icuLocale?: string;
  /** Call `messenger_start` and tick at once, by pg_cron, or by this process if there is none; default: false. */
  clock?: boolean;
  /** Start the isolate of every function with the project instead of with its first request; default: false. */
  warm?: boolean;
  /** Limits of the edge functions' isolates; default: the hosted ones, without a limit of CPU. */
  limits?: Partial<Limits>;
  /** The folder that contains supabase/config.toml and supabase/migrations; default: this repository. */
  root?: string;
  /** Gets every line of the log, which `functions.log` in the directory gets too. */
  log?: (line: string) => void;
}

export type DatabaseRole = "postgres" | "supabase_admin";

export interface Project
  extends AsyncDisposable, Pick<Keys, "anonKey" | "serviceRoleKey" | "publishableKey" | "secretKey" | "signUser"> {
  /** The address of the API, the value of SUPABASE_URL. */
  readonly url: string;
  databaseUrl(role?: DatabaseRole): string;
  /** Process id of the postmaster while it runs. */
  readonly databasePid: number | undefined;
  /** As role postgres, at most 4 connections. */
  readonly sql: Sql;
  readonly functions: Functions;
  readonly wakeups: WakeupControl;
  stopDatabase(mode: StopMode): Promise<void>;
  startDatabase(): Promise<void>;
  restartDatabase(mode?: StopMode): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the project in `directory`, creating it at first use. `stop()` ends everything; so does a failed start. */
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
    : NO_WAKEUPS;
  starting.defer(() => wakeups.stop());
  if (options.warm) runner.names.forEach(runner.warm);

  const restartDatabase = async (mode: StopMode = "fast") => {
    await cluster.stop(mode);
    await cluster.start();
  };
  const nextStep = options.clock ? await startTicker(sql, `${server.url}/functions/v1`) : "nothing";
  if (nextStep === "restart Postgres") await restartDatabase();
  if (nextStep === "tick externally") {
    const ticker = startExternalTicker({ databaseUrl: cluster.url("postgres"), log });
    starting.defer(() => ticker.stop());
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

/** The variables that the hosted platform sets for every edge function. */
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
