// The calls that the rows measure: claims, ticks, pruning, the first call of a session, and monitoring.
import type { JSONValue, Sql } from "postgres";
import { median } from "../bench/line.ts";
import { timed } from "../bench/timed.ts";
import { figure, type Line } from "./line.ts";
import { openSession, type ScaleSetup } from "./setup.ts";

/** The median duration in ms; the first call fills caches and is left out. */
export async function medianMs(calls: number, call: () => Promise<unknown>): Promise<number> {
  await call();
  const durations: number[] = [];
  for (let n = 0; n < calls; n++) durations.push(await timed(call));
  return median(durations);
}

/** The duration in ms of the first call in sessions of their own; connecting is not part of it. */
export async function firstCallMs(
  { project, sizes }: ScaleSetup,
  call: (sql: Sql) => Promise<unknown>,
): Promise<number> {
  const durations: number[] = [];
  for (let n = 0; n < sizes.calls; n++) {
    const sql = openSession(project);
    await sql`select 1`;
    durations.push(await timed(() => call(sql)));
    await sql.end({ timeout: 5 });
  }
  return median(durations);
}

export interface Claimed {
  id: string;
  fence: number;
}

/** Settles nothing and claims, as a worker does that has been idle. */
export async function claim(sql: Sql, batch: number, types: string[] | null = null): Promise<Claimed[]> {
  const [{ reply }] = await sql<{ reply: { claimed: Claimed[] } }[]>`
    select messenger_exchange('[]', 'scale', ${batch}, '60 s', null, null, ${types}) as reply`;
  return reply.claimed;
}

/** The median duration of a tick; the note names the slowest step of the slowest tick. */
export async function tickLine({ service, admin, sizes }: ScaleSetup, beside: string): Promise<Line> {
  await admin`truncate messenger.ticks`;
  const value = await medianMs(sizes.calls, () => service`select messenger_tick()`);
  const [slowest] = await admin<{ slowest_step: string; slowest_ms: number; duration_ms: number }[]>`
    select slowest_step, slowest_ms, duration_ms from messenger.ticks order by duration_ms desc limit 1`;
  return {
    label: `tick beside ${beside}`,
    unit: "ms",
    value,
    note: `The slowest of ${sizes.calls + 1} ticks took ${slowest.duration_ms} ms, its step ${slowest.slowest_step} ` +
      `${slowest.slowest_ms} ms.`,
  };
}

export interface Pruned {
  rows: number;
  ms: number;
}

/** Runs a pruning step as that many ticks do (150 ms each), or until it deletes nothing. */
export async function prune(admin: Sql, step: string, table: string, ticks: number): Promise<Pruned> {
  const stored = async () => Number((await admin`select count(*) as count from ${admin(table)}`)[0].count);
  const before = await stored();
  let ms = 0;
  for (let n = 0; n < ticks; n++) {
    const begin = performance.now();
    await admin`
      select messenger.run_step(${step}, messenger.now(), 100, clock_timestamp() + interval '150 milliseconds')`;
    ms += performance.now() - begin;
  }
  return { rows: before - await stored(), ms };
}

/** The slowest of the functions that the dashboard and scrapers call; the note has the median of each. */
export async function monitoringLine(setup: ScaleSetup, beside: string, more: string[] = []): Promise<Line> {
  const durations = new Map<string, number>();
  for (const call of [...MONITORING, ...more]) {
    durations.set(call, await medianMs(setup.sizes.calls, () => setup.service.unsafe(`select ${call}`)));
  }
  const slowest = [...durations].sort(([, a], [, b]) => b - a);
  setup.report(`monitoring beside ${beside}: ${slowest[0][0]}, ${figure(slowest[0][1])} ms`);
  return {
    label: `slowest monitoring call beside ${beside}`,
    unit: "ms",
    value: slowest[0][1],
    note: `In ms: ${slowest.map(([call, ms]) => `${call} ${figure(ms)}`).join(", ")}.`,
  };
}

const MONITORING = [
  "messenger_status()",
  "messenger_health()",
  "messenger_list_queues()",
  "messenger_list_workers()",
  "messenger_counters()",
  "messenger_metrics(60)",
  "messenger_list_messages()",
  `messenger_list_messages('{"status": "pending"}')`,
  `messenger_list_messages('{"status": "failed"}')`,
  "messenger_list_failed()",
];

export function asJson(value: unknown): JSONValue {
  return value as JSONValue; // plain JSON by construction
}
