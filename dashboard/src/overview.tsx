// The overview: is it well, how much is there, who works, and what was done in the last hour.
import { type Health, look, type Metrics, type Queue, type Worker } from "./api.ts";
import { Attention, switchQueue } from "./attention.tsx";
import { Chart } from "./chart.tsx";
import { count, duration, per, percent } from "./format.ts";
import { useLive } from "./live.ts";
import { Copyable, Do, Empty, Loaded, Time } from "./parts.tsx";
import { go, linkTo } from "./route.ts";
import { findStuck, type Stuck } from "./stuck.ts";

const WINDOWS: [label: string, minutes: number][] = [["15 minutes", 15], ["1 hour", 60], ["6 hours", 360], [
  "2 days",
  2_880,
]];

interface Everything {
  status: { queue: { depth: number; processing: number; completed: number; estimated: boolean }; dead_letters: number };
  health: Health;
  metrics: Metrics;
  queues: Queue[];
  workers: Worker[];
  stuck: Stuck | undefined;
}

async function lookAtAll(minutes: number): Promise<Everything> {
  const [status, health, metrics, { queues }, { workers }] = await Promise.all([
    look<Everything["status"]>("status"),
    look<Health>("health"),
    look<Metrics>("metrics", { minutes }),
    look<{ queues: Queue[] }>("queues"),
    look<{ workers: Worker[] }>("workers"),
  ]);
  return { status, health, metrics, queues, workers, stuck: await findStuck(queues) };
}

export function Overview({ minutes }: { minutes: number }) {
  const live = useLive(`overview ${minutes}`, () => lookAtAll(minutes));
  return (
    <Loaded live={live}>
      {({ status, health, metrics, queues, workers, stuck }) => {
        const due = queues.reduce((sum, queue) => sum + queue.due, 0);
        const times = metrics.series.map(({ at }) => Date.parse(at) / 1000);
        return (
          <>
            <header class="heading">
              <h1>Overview</h1>
              <p class={`verdict ${health.status}`}>{VERDICTS[health.status]}</p>
            </header>
            <Attention
              health={health}
              queues={queues}
              stuck={stuck}
              deadLetters={status.dead_letters}
              again={live.again}
            />
            <dl class="tiles">
              <Tile name="Due now" value={count(due)} href={linkTo(["messages"], { status: "pending" })} />
              <Tile
                name="Running"
                value={count(status.queue.processing)}
                href={linkTo(["messages"], { status: "processing" })}
              />
              <Tile name="Dead letters" value={count(status.dead_letters)} href={linkTo(["failed"])} />
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
                format={(value) => value === null ? "–" : count(Math.round(value))}
                lines={[
                  { label: "dispatched", color: "--info", values: metrics.series.map((point) => point.dispatched) },
                  { label: "completed", color: "--good", values: metrics.series.map((point) => point.completed) },
                  { label: "failed", color: "--bad", values: metrics.series.map((point) => point.failed) },
                ]}
              />
              <Chart
                title="How long handlers take"
                times={times}
                format={duration}
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
  unhealthy: "Messages are not handled",
};

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

function Queues({ queues, again }: { queues: Queue[]; again: () => void }) {
  return (
    <section aria-labelledby="queues">
      <h2 id="queues">Queues</h2>
      {queues.length === 0 ? <p class="faint">No queue holds anything.</p> : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th>Queue</th>
                <th class="number">Due</th>
                <th class="number">Later</th>
                <th class="number">Blocked</th>
                <th class="number">Running</th>
                <th>Oldest due</th>
                <th class="number">Workers</th>
                <th>
                  <span class="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {queues.map((queue) => (
                <tr key={`${queue.transport_name}/${queue.queue_name}`}>
                  <td>
                    <a href={linkTo(["messages"], { queue: queue.queue_name, transport: queue.transport_name })}>
                      {queue.queue_name}
                    </a>{" "}
                    {queue.transport_name !== "supabase" && <span class="faint">{queue.transport_name}</span>}{" "}
                    {queue.paused_at && <span class="state paused">paused</span>}
                  </td>
                  <td class="number">{count(queue.due, queue.estimated)}</td>
                  <td class="number">{count(queue.delayed, queue.estimated)}</td>
                  <td class="number">{count(queue.blocked)}</td>
                  <td class="number">{count(queue.processing)}</td>
                  <td>
                    <Time at={queue.oldest_due_at} />
                  </td>
                  <td class="number">{queue.awake_workers}</td>
                  <td class="actions">
                    <Do
                      label={queue.paused_at ? "Resume" : "Pause"}
                      act={() => switchQueue(queue, again)}
                      title={`${queue.paused_at ? "Resume" : "Pause"} ${queue.queue_name}`}
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Workers({ workers }: { workers: Worker[] }) {
  return (
    <section aria-labelledby="workers">
      <h2 id="workers">Workers</h2>
      {workers.length === 0
        ? <p class="faint">None asked within the last hour. They are woken when something is due.</p>
        : (
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th>Worker</th>
                  <th>State</th>
                  <th class="number">Running</th>
                  <th>Asked</th>
                  <th>Since</th>
                  <th>Types</th>
                </tr>
              </thead>
              <tbody>
                {workers.slice(0, 20).map((worker) => (
                  <tr key={worker.worker}>
                    <td class="mono">{worker.worker}</td>
                    <td>
                      <span class={`state ${worker.awake ? "completed" : "asleep"}`}>
                        {worker.awake ? "awake" : "asleep"}
                      </span>
                    </td>
                    <td class="number">{worker.processing}</td>
                    <td>
                      <Time at={worker.polled_at} />
                    </td>
                    <td>
                      <Time at={worker.started_at} />
                    </td>
                    <td title={worker.types?.join(", ")}>{worker.types === null ? "all" : worker.types.length}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
    </section>
  );
}

function Errors({ errors }: { errors: Metrics["errors"] }) {
  return (
    <section aria-labelledby="errors">
      <h2 id="errors">What failed most</h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th>Error</th>
              <th>Type</th>
              <th class="number">Times</th>
              <th>Last</th>
            </tr>
          </thead>
          <tbody>
            {errors.map((error) => (
              <tr key={error.messageType + error.errorClass}>
                <td>
                  <strong>{error.errorClass}</strong> <span class="clip">{error.error}</span>
                </td>
                <td>
                  <a href={linkTo(["failed"], { type: error.messageType, errorClass: error.errorClass })}>
                    {error.messageType}
                  </a>
                </td>
                <td class="number">{count(error.count)}</td>
                <td>
                  <Time at={error.lastAt} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
