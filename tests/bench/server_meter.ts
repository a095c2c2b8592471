// What the server spent: CPU time of all its processes, and write-ahead log.
import type { Sql } from "postgres";

const TICK = 10_000; // microseconds; USER_HZ is 100 on Linux

export interface Spent {
  /** Microseconds of server CPU. */
  cpu: number;
  /** Bytes of write-ahead log. */
  wal: number;
}

export interface ServerMeter {
  /** What the server spends while `work` runs, background processes included. */
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

/** The postmaster's account holds those of its children that have ended. */
function cpuOf(postmaster: number | undefined): number {
  if (postmaster === undefined) throw new Error("Postgres does not run");
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
    // The second field is the name in brackets and may hold anything; the third is the state.
    const [, parent, , , , , , , , , , utime, stime, cutime, cstime] = Deno.readTextFileSync(`/proc/${pid}/stat`)
      .replace(/^.*\) /s, "").split(" ").map(Number);
    return { parent, own: utime + stime, ended: cutime + cstime };
  } catch {
    return { parent: 0, own: 0, ended: 0 }; // it ended while we looked
  }
}
