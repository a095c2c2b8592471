// Races without sleeping: a test continues when Postgres reports that the other session waits for a lock.
import type { Sql } from "postgres";

/** The server process of a session with one connection. */
export async function pidOf(sql: Sql): Promise<number> {
  const [{ pid }] = await sql`select pg_backend_pid() as pid`;
  return pid;
}

/** Waits until the server process is blocked by another's lock; throws if it never is. */
export async function untilBlocked(watcher: Sql, pid: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    const [{ blocked }] = await watcher`select cardinality(pg_blocking_pids(${pid})) > 0 as blocked`;
    if (blocked) return;
  }
  throw new Error(`Process ${pid} did not wait for a lock.`);
}

/** Waits until the server process sleeps between two looks: for the row of a message, or for messages. */
export async function untilPolling(watcher: Sql, pid: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    const [{ polls }] = await watcher`select wait_event = 'PgSleep' as polls from pg_stat_activity where pid = ${pid}`;
    if (polls) return;
  }
  throw new Error(`Process ${pid} did not sleep between two looks.`);
}

/** Lets this session wait for a locked message for a minute instead of 250 ms. Returns its server process. */
export async function waitLongForRows(sql: Sql): Promise<number> {
  await sql`set messenger.lock_wait = '1 minute'`;
  return await pidOf(sql);
}

/**
 * Lets a statement of a later session, or of this one, wait for a lock for ten seconds: a test that would hang fails
 * instead.
 */
export async function limitLockWaits(sql: Sql): Promise<void> {
  await sql`alter database postgres set lock_timeout = '10 s'`;
  await sql`set lock_timeout = '10 s'`;
}
