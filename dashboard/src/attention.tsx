// The list of problems on the overview, worst first, each with its remedy.
import type { ComponentChildren } from "preact";
import type { Check, Health, Status } from "../../shared/operators/health.ts";
import type { Queue } from "../../shared/operators/queues.ts";
import { callAdmin } from "./api.ts";
import { age, ago, count, COUNTED, plural } from "./format.ts";
import { ActionButton, Remedy } from "./parts.tsx";
import { ReasonRemedy } from "./remedy.tsx";
import { linkTo } from "./route.ts";
import type { Stuck } from "./stuck.ts";
import { toast } from "./toast.tsx";

export interface Item {
  key: string;
  severity: "degraded" | "unhealthy";
  title: string;
  body: ComponentChildren;
  button?: ComponentChildren;
}

const SHOWN_ELSEWHERE = ["dead_letters", "test_clock", "transports"];
const TITLES: Record<string, string> = {
  clock: "The ticker has stopped",
  clock_errors: "Scheduler errors",
  checks: "Health checks cannot run",
  error_rate: "Many deliveries fail",
  growth: "Tables are growing",
  no_handler: "Some message types have no handler",
  oldest_due: "Messages wait too long",
  own_rows: "System rows are missing",
  pg_net: "Workers cannot be woken",
  registration: "Message types are not registered",
  rights: "Database rights are too wide",
  schedules: "Schedules fail",
  set_aside: "Some rows cannot be written",
  sql_handlers: "SQL handlers are not running",
  webhook_secrets: "Webhook secrets cannot be read",
  worker_secret: "The worker secret is missing",
  workers: "No worker is active",
};
// If one of CAUSES is unhealthy, FOLLOWS only repeat it.
const CAUSES = ["clock", "pg_net", "worker_secret"];
const FOLLOWS = ["workers", "oldest_due", "no_handler"];
// The checks that a reason of a stuck message makes redundant.
const SAME_AS: Record<string, string[]> = {
  clock_stopped: ["clock"],
  no_wakeups: ["pg_net", "worker_secret"],
  worker_unreachable: ["pg_net"],
};

export interface Snapshot {
  health: Health;
  status: Status;
  queues: Queue[];
  stuck: Stuck | undefined;
}

export function itemsOf({ health, status, queues, stuck }: Snapshot, refresh: () => Promise<void>): Item[] {
  const disabled = (status.transports ?? []).filter(({ name, enabled }) =>
    !enabled && (name === "supabase" || queues.some((queue) => queue.transport_name === name))
  );
  const items = [
    ...(stuck ? [stuckItem(stuck, health, refresh)] : []),
    ...disabled.map(({ name }) => disabledItem(name, refresh)),
    ...checksToShow(health, stuck).map(checkItem),
    ...queues.filter(({ paused_at }) => paused_at !== null).map((queue) => pausedItem(queue, refresh)),
    ...(status.dead_letters > 0 ? [deadLettersItem(status.dead_letters)] : []),
  ];
  return items.toSorted((a, b) => Number(b.severity === "unhealthy") - Number(a.severity === "unhealthy"));
}

function checksToShow({ checks }: Health, stuck: Stuck | undefined): Check[] {
  const failing = checks.filter(({ status, name }) => status !== "healthy" && !SHOWN_ELSEWHERE.includes(name));
  const reason = stuck?.reason.reason ?? "";
  const isExplained = stuck !== undefined ||
    failing.some(({ name, status }) => CAUSES.includes(name) && status === "unhealthy");
  const redundant = [...(SAME_AS[reason] ?? []), ...(isExplained ? FOLLOWS : [])];
  return failing.filter(({ name }) => !redundant.includes(name));
}

function stuckItem({ message, reason }: Stuck, { checks }: Health, refresh: () => Promise<void>): Item {
  const same = [...(SAME_AS[reason.reason] ?? []), ...FOLLOWS];
  return {
    key: "stuck",
    severity: checks.some(({ name, status }) => status === "unhealthy" && same.includes(name))
      ? "unhealthy"
      : "degraded",
    title: `A message has waited ${age(message.available_at ?? "")}: ${reason.reason.replaceAll("_", " ")}`,
    body: (
      <>
        <p>
          <a href={linkTo(["messages", message.id])}>{message.message_type}</a>, queue {message.queue_name}
        </p>
        <p>{reason.detail}</p>
        <ReasonRemedy reason={reason} message={message} refresh={refresh} />
      </>
    ),
  };
}

function disabledItem(name: string, refresh: () => Promise<void>): Item {
  return {
    key: `transport ${name}`,
    severity: "unhealthy",
    title: `Transport ${name} is disabled`,
    body: <p>Dispatches to it are rejected, and its messages wait.</p>,
    button: (
      <ActionButton
        label="Enable"
        kind="primary"
        action={() => callAdmin("PUT", `transports/${encodeURIComponent(name)}`, { enabled: true }).then(refresh)}
      />
    ),
  };
}

function checkItem(check: Check): Item {
  return {
    key: check.name,
    severity: check.status === "unhealthy" ? "unhealthy" : "degraded",
    title: TITLES[check.name] ?? check.name,
    body: (
      <>
        <p>{check.detail}</p>
        {check.name === "error_rate"
          ? <p>The top errors below link to their dead letters, which list every attempt.</p>
          : check.remedy && <Remedy text={check.remedy} />}
      </>
    ),
  };
}

function pausedItem(queue: Queue, refresh: () => Promise<void>): Item {
  return {
    key: `${queue.transport_name}/${queue.queue_name}`,
    severity: "degraded",
    title: `Queue ${queue.queue_name} is paused`,
    body: (
      <p>
        Paused {ago(queue.paused_at ?? "")}. {queue.due === 0 ? "No message in it is due." : (
          <>
            {count(queue.due, queue.estimated)} due {queue.due === 1 ? "message waits" : "messages wait"}.{" "}
            <a href={linkTo(["messages"], { queue: queue.queue_name, status: "pending" })}>Show messages</a>
          </>
        )}
      </p>
    ),
    button: <ActionButton label="Resume" kind="primary" action={() => switchQueue(queue, refresh)} />,
  };
}

function deadLettersItem(open: number): Item {
  return {
    key: "dead letters",
    severity: "degraded",
    title: plural(open, "dead letter", open > COUNTED),
    body: <p>These messages failed for good. Retry or discard them.</p>,
    button: <a class="button" href={linkTo(["failed"])}>Review</a>,
  };
}

export function Attention({ items }: { items: Item[] }) {
  if (items.length === 0) {
    return (
      <p class="all-well">
        <span aria-hidden="true">✓</span> Nothing needs attention.
      </p>
    );
  }
  return (
    <section aria-labelledby="attention" class="attention">
      <h2 id="attention">Needs attention</h2>
      <ul>
        {items.map(({ key, severity, title, body, button }) => (
          <li key={key} class={severity}>
            <div>
              <strong>{title}</strong>
              {body}
            </div>
            {button}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Pauses an active queue, or resumes a paused one. */
export async function switchQueue(queue: Queue, refresh: () => void): Promise<void> {
  const verb = queue.paused_at === null ? "pause" : "resume";
  await callAdmin(
    "POST",
    `queues/${encodeURIComponent(queue.transport_name)}/${encodeURIComponent(queue.queue_name)}/${verb}`,
  );
  toast(`Queue ${queue.queue_name} is ${verb}d`);
  refresh();
}
