// Prometheus' text format: escaped labels, its number format, families without samples.
import assert from "node:assert/strict";
import { type Counters, renderPrometheus } from "../../../shared/operators/prometheus.ts";

const EMPTY: Counters = { counters: [], queues: [], dead_letters: 0, workers_awake: 0, clock_lag_seconds: null };
const NOW = Date.parse("2026-01-01T00:00:10Z");

const linesOf = (all: Partial<Counters>) => renderPrometheus({ ...EMPTY, ...all }, NOW).split("\n");
const counter = (fields: Partial<Counters["counters"][number]> = {}): Counters["counters"][number] => ({
  transport: "supabase",
  type: "Greeting",
  dispatched: 0,
  completed: 0,
  retried: 0,
  dead: 0,
  deliveries: 0,
  duration_ms_sum: 0,
  duration_ms_buckets: [],
  ...fields,
});
const queue = (fields: Partial<Counters["queues"][number]> = {}): Counters["queues"][number] => ({
  transport_name: "supabase",
  queue_name: "default",
  due: 0,
  delayed: 0,
  blocked: 0,
  processing: 0,
  oldest_due_at: null,
  ...fields,
});

for (
  const [what, raw, escaped] of [
    ["a quote", 'a"b', 'a\\"b'],
    ["a backslash", "a\\b", "a\\\\b"],
    ["a line break", "a\nb", "a\\nb"],
    ["a backslash before a quote", '\\"', '\\\\\\"'],
    ["a backslash before an n", "\\n", "\\\\n"],
    ["a line break", '"} 1\nforged 2', '\\"} 1\\nforged 2'],
    ["other scripts", "Grüße 🎺", "Grüße 🎺"],
    ["nothing", "", ""],
  ]
) {
  Deno.test(`prometheus · a label with ${what} is escaped`, () => {
    const lines = linesOf({ counters: [counter({ type: raw, transport: raw, completed: 1 })] });
    const labels = `transport="${escaped}",type="${escaped}"`;
    assert.ok(lines.includes(`symphony_messages_completed_total{${labels}} 1`), lines.join("\n"));
    assert.ok(!lines.some((line) => line.startsWith("forged")));
    const queues = linesOf({ queues: [queue({ queue_name: raw, due: 3 })] });
    assert.ok(
      queues.includes(`symphony_queue_messages{transport="supabase",queue="${escaped}",state="due"} 3`),
      queues.join("\n"),
    );
  });
}

Deno.test("prometheus · the lag of a ticker without a tick is NaN, otherwise its seconds", () => {
  assert.ok(linesOf({}).includes("symphony_clock_lag_seconds NaN"));
  assert.ok(linesOf({ clock_lag_seconds: 0 }).includes("symphony_clock_lag_seconds 0"));
  assert.ok(linesOf({ clock_lag_seconds: 1.25 }).includes("symphony_clock_lag_seconds 1.25"));
});

Deno.test("prometheus · without any messages each family is present, and the gauges are 0", () => {
  const lines = linesOf({});
  assert.deepEqual(lines.filter((line) => line !== "" && !line.startsWith("#")), [
    "symphony_dead_letters 0",
    "symphony_workers_awake 0",
    "symphony_clock_lag_seconds NaN",
  ]);
  const helped = lines.filter((line) => line.startsWith("# HELP")).map((line) => line.split(" ")[2]);
  const typed = lines.filter((line) => line.startsWith("# TYPE")).map((line) => line.split(" ")[2]);
  assert.deepEqual(helped, typed);
  assert.equal(new Set(helped).size, 10);
  assert.equal(lines.at(-1), "", "the last line ends with a line break");
});

Deno.test("prometheus · times are seconds, buckets are cumulative and end at +Inf", () => {
  const lines = linesOf({
    counters: [counter({
      deliveries: 7,
      duration_ms_sum: 1_500,
      duration_ms_buckets: [{ le: 1, count: 2 }, { le: 1_024, count: 6 }],
    })],
  });
  const labels = 'transport="supabase",type="Greeting"';
  assert.deepEqual(lines.filter((line) => line.startsWith("symphony_delivery_duration_seconds")), [
    `symphony_delivery_duration_seconds_bucket{${labels},le="0.001"} 2`,
    `symphony_delivery_duration_seconds_bucket{${labels},le="1.024"} 6`,
    `symphony_delivery_duration_seconds_bucket{${labels},le="+Inf"} 7`,
    `symphony_delivery_duration_seconds_sum{${labels}} 1.5`,
    `symphony_delivery_duration_seconds_count{${labels}} 7`,
  ]);
});

Deno.test("prometheus · the oldest message's age is never negative, and 0 if none is due", () => {
  const place = 'symphony_queue_oldest_due_seconds{transport="supabase",queue="default"}';
  for (
    const [moment, age] of [[null, 0], ["2026-01-01T00:00:00+00:00", 10], ["2026-01-01T00:00:11+00:00", 0]] as const
  ) {
    assert.ok(linesOf({ queues: [queue({ oldest_due_at: moment })] }).includes(`${place} ${age}`), `${moment}`);
  }
});
