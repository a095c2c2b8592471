// The report of the demo, and the check of every figure.
import type { Sql } from "postgres";
import { percentile } from "../percentile.ts";
import { newTable } from "../terminal.ts";
import type { Latency } from "./latency.ts";
import { type Kind, KINDS, type Tally, TOTAL } from "./workload.ts";

interface Row {
  kind: string;
  messages: number;
  completed: number;
  retries: number;
  dead: number;
  p50: number | null;
  p95: number | null;
}

export interface Findings {
  tallies: Map<Kind, Tally>;
  latencies: Latency[];
  /** Seconds from the first dispatch to the last outcome. */
  seconds: number;
  /** Faults were injected: a delivery lost with a killed worker counts as a retry, a lost reply as a duplicate. */
  chaos: boolean;
}

/** Prints the tables; returns the errors, one sentence each. */
export async function report(sql: Sql, { tallies, latencies, seconds, chaos }: Findings): Promise<string[]> {
  const wrong: string[] = [];
  const expect = (is: boolean, sentence: string) => void (is || wrong.push(sentence));
  const rows = await readRows(sql);
  const [{ lost }] = await sql<{ lost: number }[]>`
    select (select count(*) from messenger.attempts where error_class = 'LeaseExpired')::int
      + (select count(*) from messenger_failed_messages f, jsonb_array_elements(f.attempts) a
      where a ->> 'error_class' = 'LeaseExpired')::int as lost`;

  const table = newTable(["messages", "type", "dispatched", "completed", "retried", "dead", "p50", "p95"], 2);
  for (const kind of KINDS) {
    const row = rows.get(kind.label) ??
      { kind: "", messages: 0, completed: 0, retries: 0, dead: 0, p50: null, p95: null };
    table.push([kind.label, kind.type, row.messages, row.completed, row.retries, row.dead, ms(row.p50), ms(row.p95)]);
    expect(
      row.messages === kind.messages,
      `${kind.label}: ${row.messages} messages stored instead of ${kind.messages}`,
    );
    expect(row.completed === kind.messages - kind.dead, `${kind.label}: ${row.completed} completed`);
    const extra = row.retries - kind.retries;
    expect(extra >= 0 && extra <= lost, `${kind.label}: ${row.retries} retries instead of ${kind.retries}`);
    expect(row.dead === kind.dead, `${kind.label}: ${row.dead} dead letters instead of ${kind.dead}`);
    const accepted = tallies.get(kind)?.accepted;
    expect(chaos || accepted === kind.messages, `${kind.label}: the edge function accepted ${accepted} messages`);
  }
  const sum = (of: (row: Row) => number) => [...rows.values()].reduce((total, row) => total + of(row), 0);
  table.push([
    "all",
    "",
    sum((r) => r.messages),
    sum((r) => r.completed),
    sum((r) => r.retries),
    sum((r) => r.dead),
    "",
    "",
  ]);
  console.log(`\n${TOTAL} messages in ${seconds.toFixed(1)} s; p50 and p95 from due to completed:\n${table}`);

  const orders = await sql`select count(*)::int from demo_orders`;
  const orphans = await sql`
    select count(*)::int from messenger_messages m where m.metadata ->> 'kind' = 'from SQL, with a row'
    and not exists (select from demo_orders o where o.id = (m.body ->> 'order')::int)`;
  expect(orders[0].count === 30 && orphans[0].count === 0, "a message of a rolled back transaction was stored");
  const [{ own }] = await sql`select count(*)::int as own from messenger_messages where created_by is not null`;
  expect(own === 1, `${own} messages have a user instead of 1`);
  const duplicates = [...tallies.values()].reduce((total, tally) => total + tally.duplicates, 0);
  expect(chaos ? duplicates >= 49 : duplicates === 49, `${duplicates} duplicates were detected instead of 49`);
  expect(chaos === lost > 0, `${lost} deliveries were lost with their worker`);
  if (chaos) console.log(`Deliveries that were lost with a killed worker and repeated: ${lost}.`);
  console.log(`Dispatches rolled back with their order: 10, none stored. Duplicates detected: ${duplicates}.`);

  const speed = newTable(["dispatch over HTTP to handler start", "p50", "p95", "must be", "samples"], 1);
  for (const { label, limit, samples } of latencies) {
    const p50 = percentile(samples, 0.5);
    speed.push([label, ms(p50), ms(percentile(samples, 0.95)), limit ? `p50 < ${limit} ms` : "", samples.length]);
    expect(!limit || p50 < limit, `${label}: p50 is ${p50} ms, not under ${limit}`);
  }
  console.log(`\n${speed}`);

  const audit = await sql<{ invariant: string; violations: string }[]>`select * from messenger_audit()`;
  const broken = audit.filter(({ violations }) => violations !== "0");
  for (const { invariant, violations } of broken) wrong.push(`audit: ${violations} x ${invariant}`);
  console.log(
    `\nAudit: ${audit.length - broken.length} of ${audit.length} invariants hold, ${broken.length} violations.`,
  );

  const [clock] = await sql`
    select c.ticks::int, extract(epoch from messenger.now() - c.last_tick_at)::float8 as age,
      exists (select from pg_extension e where e.extname = 'pg_cron') as has_cron
    from messenger.clock c`;
  const runs = clock.has_cron && await sql`
    select from cron.job_run_details d where d.command like '%tick_or_note_error%' and d.status <> 'failed' limit 1`;
  expect(clock.ticks > 0 && clock.age < 5 && (!runs || runs.length > 0), "the ticker has not ticked");
  const by = runs ? "by pg_cron" : "by the gateway, because pg_cron is not installed";
  console.log(`Ticker: ${clock.ticks} ticks ${by}, the last ${clock.age.toFixed(1)} s ago.`);
  return wrong;
}

async function readRows(sql: Sql): Promise<Map<string, Row>> {
  const rows = await sql<Row[]>`
    select m.metadata ->> 'kind' as kind, count(*)::int as messages,
      count(*) filter (where m.status = 'completed')::int as completed,
      -- The delivery that ends in a dead letter counts in retry_count but is followed by no retry.
      sum(m.retry_count - (m.status = 'failed')::int)::int as retries,
      count(f.id)::int as dead,
      percentile_disc(0.5) within group
      (order by extract(epoch from m.processed_at - greatest(m.created_at, m.scheduled_at)) * 1000)::float8 as p50,
      percentile_disc(0.95) within group
      (order by extract(epoch from m.processed_at - greatest(m.created_at, m.scheduled_at)) * 1000)::float8 as p95
    from messenger_messages m
    left join messenger_failed_messages f on f.message_id = m.id and f.resolved_at is null
    where m.metadata ? 'kind'
    group by 1`;
  return new Map(rows.map((row) => [row.kind, row]));
}

function ms(value: number | null): string {
  if (value === null) return "-";
  return value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(1)} s`;
}
