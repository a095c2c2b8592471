// Renders counters and gauges in the text format 0.0.4 of Prometheus. No maintained library renders histograms that
// were counted elsewhere.

/** The reply of messenger_counters. */
export interface Counters {
  counters: {
    transport: string;
    type: string;
    dispatched: number;
    completed: number;
    retried: number;
    dead: number;
    deliveries: number;
    duration_ms_sum: number;
    /** Cumulative; `le` is in milliseconds. */
    duration_ms_buckets: { le: number; count: number }[];
  }[];
  queues: {
    transport_name: string;
    queue_name: string;
    due: number;
    delayed: number;
    blocked: number;
    processing: number;
    oldest_due_at: string | null;
  }[];
  dead_letters: number;
  workers_awake: number;
  clock_lag_seconds: number | null;
}

type Labels = Record<string, string>;
type Sample = [labels: Labels, value: number, suffix?: string];

/** @param now milliseconds since 1970, for ages */
export function renderPrometheus(all: Counters, now: number): string {
  const byType = (read: (counter: Counters["counters"][number]) => number): Sample[] =>
    all.counters.map((counter) => [{ transport: counter.transport, type: counter.type }, read(counter)]);
  const states = ["due", "delayed", "blocked", "processing"] as const;
  return [
    family("messages_dispatched_total", "counter", "Messages stored.", byType((counter) => counter.dispatched)),
    family("messages_completed_total", "counter", "Messages completed.", byType((counter) => counter.completed)),
    family("messages_dead_total", "counter", "Messages that became dead letters.", byType((counter) => counter.dead)),
    family(
      "deliveries_retried_total",
      "counter",
      "Failed deliveries that are tried again.",
      byType((counter) => counter.retried),
    ),
    family("delivery_duration_seconds", "histogram", "Durations of handlers.", all.counters.flatMap(histogram)),
    family(
      "queue_messages",
      "gauge",
      "Unfinished messages by state; above 10,000 estimated.",
      all.queues.flatMap((queue) => states.map((state): Sample => [{ ...queueLabels(queue), state }, queue[state]])),
    ),
    family(
      "queue_oldest_due_seconds",
      "gauge",
      "Age of the oldest due message; 0 if none is due.",
      all.queues.map((queue): Sample => [queueLabels(queue), age(queue.oldest_due_at, now)]),
    ),
    family("dead_letters", "gauge", "Open dead letters; above 10,000 estimated.", [[{}, all.dead_letters]]),
    family("workers_awake", "gauge", "Workers that requested messages within two poll intervals, or wait for them.", [[
      {},
      all.workers_awake,
    ]]),
    family(
      "clock_lag_seconds",
      "gauge",
      "Seconds since the last tick of the ticker; NaN before the first.",
      [[{}, all.clock_lag_seconds ?? NaN]],
    ),
  ].join("");
}

function family(name: string, type: "counter" | "gauge" | "histogram", help: string, samples: Sample[]): string {
  const full = `symphony_${name}`;
  const lines = samples.map(([labels, value, suffix = ""]) => `${full}${suffix}${labelText(labels)} ${value}`);
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...lines, ""].join("\n");
}

function histogram(counter: Counters["counters"][number]): Sample[] {
  const labels = { transport: counter.transport, type: counter.type };
  return [
    ...counter.duration_ms_buckets.map(({ le, count }): Sample => [
      { ...labels, le: String(le / 1000) },
      count,
      "_bucket",
    ]),
    [{ ...labels, le: "+Inf" }, counter.deliveries, "_bucket"],
    [labels, counter.duration_ms_sum / 1000, "_sum"],
    [labels, counter.deliveries, "_count"],
  ];
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, escaped)}"`);
  return pairs.length > 0 ? `{${pairs.join(",")}}` : "";
}

function escaped(character: string): string {
  return character === "\n" ? "\\n" : `\\${character}`;
}

function queueLabels(queue: Counters["queues"][number]): Labels {
  return { transport: queue.transport_name, queue: queue.queue_name };
}

function age(moment: string | null, now: number): number {
  return moment === null ? 0 : Math.max(0, (now - Date.parse(moment)) / 1000);
}
