// The overview: health, figures, throughput, queues and workers.
import type { Health, Status, Worker, Workers as WorkerList } from "../../shared/operators/health.ts";
import type { Metrics } from "../../shared/operators/metrics.ts";
import type { Queue, Queues as QueueList } from "../../shared/operators/queues.ts";
import { getMonitor } from "./api.ts";
import { Attention, itemsOf } from "./attention.tsx";
import { Chart } from "./chart.tsx";
import { Errors } from "./errors.tsx";
import { count, COUNTED, duration, per, percent } from "./format.ts";
import { useLive } from "./live.ts";
import { Copyable, Empty, Loaded } from "./parts.tsx";
import { Queues } from "./queues.tsx";
import { go, linkTo } from "./route.ts";
import { findStuck, type Stuck } from "./stuck.ts";
import { Workers } from "./workers.tsx";

const PERIODS: [label: string, minutes: number][] = [["15 minutes", 15], ["1 hour", 60], ["6 hours", 360], [
  "2 days",
  2_880,
]];

interface Overview {
  status: Status;
  health: Health;
  metrics: Metrics;
  queues: Queue[];
  workers: Worker[];
  stuck: Stuck | undefined;
}

async function loadAll(minutes: number): Promise<Overview> {
  const [status, health, metrics, { queues }, { workers }] = await Promise.all([
    getMonitor<Status>("status"),
    getMonitor<Health>("health"),
    getMonitor<Metrics>("metrics", { minutes }),
    getMonitor<QueueList>("queues"),
    getMonitor<WorkerList>("workers"),
  ]);
  // The message may have been taken or pruned in the meantime.
  const stuck = await findStuck(queues).catch(() => undefined);
  return { status, health, metrics, queues, workers, stuck };
}

export function Overview({ minutes }: { minutes: number }) {
  const live = useLive(`overview ${minutes}`, () => loadAll(minutes));
  return (
    <Loaded live={live}>
      {({ status, health, metrics, queues, workers, stuck }) => {
        const items = itemsOf({ health, status, queues, stuck }, live.refresh);
        const level = levelOf(health, items.length);
        const due = queues.reduce((sum, queue) => sum + queue.due, 0);
        const times = metrics.series.map(({ at }) => Date.parse(at) / 1000);
        return (
          <>
            <header class="heading">
              <h1>Overview</h1>
              <p class={`level ${level}`}>{LEVELS[level]}</p>
            </header>
            <Attention items={items} />
            <dl class="tiles">
              <Tile
                name="Due now"
                value={count(due, queues.some(({ estimated }) => estimated))}
                href={linkTo(["messages"], { status: "pending" })}
              />
              <Tile
                name="Running"
                value={count(status.queue.processing)}
                href={linkTo(["messages"], { status: "processing" })}
              />
              <Tile
                name="Dead letters"
                value={count(status.dead_letters, status.dead_letters > COUNTED)}
                href={linkTo(["failed"])}
              />
              <Tile name="Success rate" value={percent(metrics.successRate)} />
              <Tile name="p95 duration" value={duration(metrics.p95ProcessingTime)} />
            </dl>
            {status.queue.depth === 0 && metrics.totalDispatched === 0 && <FirstMessage />}
            <div class="row">
              <h2>Throughput</h2>
              <label class="inline">
                Period
                <select value={String(minutes)} onChange={(event) => go([], { minutes: event.currentTarget.value })}>
                  {PERIODS.map(([label, value]) => <option key={value} value={String(value)}>{label}</option>)}
                </select>
              </label>
            </div>
            <div class="charts">
              <Chart
                title={`Messages ${per(metrics.stepSeconds)}`}
                times={times}
                whole
                format={(value) => value === null ? "" : count(Math.round(value))}
                lines={[
                  { label: "dispatched", color: "--info", values: metrics.series.map((point) => point.dispatched) },
                  { label: "completed", color: "--good", values: metrics.series.map((point) => point.completed) },
                  { label: "failures", color: "--bad", values: metrics.series.map((point) => point.failed) },
                ]}
              />
              <Chart
                title="Handler duration"
                times={times}
                format={(value) => value === null ? "" : duration(value)}
                lines={[
                  { label: "p50", color: "--info", values: metrics.series.map((point) => point.p50) },
                  { label: "p95", color: "--warn", values: metrics.series.map((point) => point.p95) },
                ]}
              />
            </div>
            {metrics.errors.length > 0 && <Errors errors={metrics.errors} />}
            <Queues queues={queues} refresh={live.refresh} />
            <Workers workers={workers} />
          </>
        );
      }}
    </Loaded>
  );
}

const LEVELS = {
  healthy: "Healthy",
  degraded: "Degraded",
  failing: "Most deliveries fail",
  unhealthy: "Unhealthy",
};

function levelOf({ status, checks }: Health, items: number): keyof typeof LEVELS {
  const unhealthy = checks.filter((check) => check.status === "unhealthy");
  if (unhealthy.length > 0 && unhealthy.every(({ name }) => name === "error_rate")) return "failing";
  return status === "healthy" && items > 0 ? "degraded" : status;
}

function Tile({ name, value, href }: { name: string; value: string; href?: string }) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>{href ? <a href={href}>{value}</a> : value}</dd>
    </div>
  );
}

function FirstMessage() {
  return (
    <Empty title="No messages yet">
      <p>Dispatch the first one in SQL:</p>
      <Copyable text={`select * from messenger_dispatch('ExampleQuick', '{"to": "Ada"}');`} />
    </Empty>
  );
}
