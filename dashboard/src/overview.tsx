// The overview: is it well, how much is there, who works, and what was done in the last hour.
import { type Health, look, type Metrics, type Queue, type Status, type Worker } from "./api.ts";
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

const WINDOWS: [label: string, minutes: number][] = [["15 minutes", 15], ["1 hour", 60], ["6 hours", 360], [
  "2 days",
  2_880,
]];

interface Everything {
  status: Status;
  health: Health;
  metrics: Metrics;
  queues: Queue[];
  workers: Worker[];
  stuck: Stuck | undefined;
}

async function lookAtAll(minutes: number): Promise<Everything> {
  const [status, health, metrics, { queues }, { workers }] = await Promise.all([
    look<Status>("status"),
    look<Health>("health"),
    look<Metrics>("metrics", { minutes }),
    look<{ queues: Queue[] }>("queues"),
    look<{ workers: Worker[] }>("workers"),
  ]);
  return { status, health, metrics, queues, workers, stuck: await findStuck(queues).catch(() => undefined) }; // taken or gone meanwhile
}

export function Overview({ minutes }: { minutes: number }) {
  const live = useLive(`overview ${minutes}`, () => lookAtAll(minutes));
  return (
    <Loaded live={live}>
      {({ status, health, metrics, queues, workers, stuck }) => {
        const items = itemsOf({ health, status, queues, stuck }, live.again);
        const result = verdictOf(health, items.length);
        const due = queues.reduce((sum, queue) => sum + queue.due, 0);
        const times = metrics.series.map(({ at }) => Date.parse(at) / 1000);
        return (
          <>
            <header class="heading">
              <h1>Overview</h1>
              <p class={`outcome ${result}`}>{VERDICTS[result]}</p>
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
              <Tile name="95 % within" value={duration(metrics.p95ProcessingTime)} />
            </dl>
            {status.queue.depth === 0 && metrics.totalDispatched === 0 && <FirstMessage />}
            <div class="row">
              <h2>What was done</h2>
              <label class="inline">
                Window
                <select value={String(minutes)} onChange={(event) => go([], { minutes: event.currentTarget.value })}>
                  {WINDOWS.map(([label, value]) => <option key={value} value={String(value)}>{label}</option>)}
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
                title="How long handlers take"
                times={times}
                format={(value) => value === null ? "" : duration(value)}
                lines={[
                  { label: "half within", color: "--info", values: metrics.series.map((point) => point.p50) },
                  { label: "95 % within", color: "--warn", values: metrics.series.map((point) => point.p95) },
                ]}
              />
            </div>
            {metrics.errors.length > 0 && <Errors errors={metrics.errors} />}
            <Queues queues={queues} again={live.again} />
            <Workers workers={workers} />
          </>
        );
      }}
    </Loaded>
  );
}

const VERDICTS = {
  healthy: "Everything runs",
  degraded: "It runs, something wants attention",
  failing: "Messages are handled, and most fail",
  unhealthy: "Messages are not handled",
};

function verdictOf({ status, checks }: Health, items: number): keyof typeof VERDICTS {
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
    <Empty title="No message yet">
      <p>Dispatch one, and watch it here:</p>
      <Copyable text={`select * from messenger_dispatch('ExampleQuick', '{"to": "Ada"}');`} />
    </Empty>
  );
}
