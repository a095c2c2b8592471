// Server cost: CPU time of all Postgres processes, and write-ahead log.
import type { Sql } from "postgres";

const TICK = 10_000; // microseconds; USER_HZ is 100 on Linux

export interface Spent {
  /** Microseconds of server CPU. */
  cpu: number;
  /** Bytes of write-ahead log. */
  wal: number;
}

export interface ServerMeter {
  /** Server cost while `work` runs, background processes included. */
  around<Result>(work: () => Promise<Result>): Promise<{ result: Result; spent: Spent }>;
}

export function createServerMeter(sql: Sql, postmaster: () => number | undefined): ServerMeter {
  const read = async (): Promise<Spent> => {
    const [{ wal }] = await sql<{ wal: string }[]>`select pg_current_wal_insert_lsn() - '0/0' as wal`;
    return { cpu: cpuOf(postmaster()), wal: Number(wal) };
  };
  return {
    async around(work) {
      const before = await read();
      const result = await work();
      const after = await read();
      return { result, spent: { cpu: after.cpu - before.cpu, wal: after.wal - before.wal } };
    },
  };
}

/** The postmaster's account includes its children that have ended. */
function cpuOf(postmaster: number | undefined): number {
  if (postmaster === undefined) throw new Error("Postgres is not running");
  let ticks = 0;
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(name);
    if (Number(name) === postmaster) ticks += stat.own + stat.ended;
    else if (stat.parent === postmaster) ticks += stat.own;
  }
  return ticks * TICK;
}

function statOf(pid: string): { parent: number; own: number; ended: number } {
  try {
    // The second field is the process name in brackets and may contain any character; the third is the state.
    const [, parent, , , , , , , , , , utime, stime, cutime, cstime] = Deno.readTextFileSync(`/proc/${pid}/stat`)
      .replace(/^.*\) /s, "").split(" ").map(Number);
    return { parent, own: utime + stime, ended: cutime + cstime };
  } catch {
    return { parent: 0, own: 0, ended: 0 }; // the process ended during the reading
  }
}
