// What wants attention, worst first, each with what to do about it one click away.
import type { ComponentChildren } from "preact";
import { act, type Check, type Health, type Queue, type Status } from "./api.ts";
import { age, ago, count, COUNTED } from "./format.ts";
import { Do, Remedy } from "./parts.tsx";
import { Mend } from "./remedy.tsx";
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
  clock: "The clock stands still",
  clock_errors: "The clock stumbles",
  checks: "Health cannot be checked",
  error_rate: "Many deliveries fail",
  growth: "Tables are growing",
  no_handler: "Nobody handles some messages",
  oldest_due: "Messages wait too long",
  own_rows: "Rows of the bus are missing",
  pg_net: "Workers cannot be called",
  registration: "Message types are not registered",
  rights: "Rights are too wide",
  schedules: "Schedules fail",
  set_aside: "Rows that cannot be written were set aside",
  sql_handlers: "SQL handlers are not running",
  webhook_secrets: "Webhook secrets cannot be read",
  worker_secret: "The worker secret is missing",
  workers: "No worker is awake",
};
// What follows from a cause that is told already.
const CAUSES = ["clock", "pg_net", "worker_secret"];
const FOLLOWS = ["workers", "oldest_due", "no_handler"];
const SAME_AS: Record<string, string[]> = {
  clock_stopped: ["clock"],
  no_wakeups: ["pg_net", "worker_secret"],
  worker_unreachable: ["pg_net"],
};

export interface Seen {
  health: Health;
  status: Status;
  queues: Queue[];
  stuck: Stuck | undefined;
}

export function itemsOf({ health, status, queues, stuck }: Seen, again: () => Promise<void>): Item[] {
  const disabled = status.transports.filter(({ name, enabled }) =>
    !enabled && (name === "supabase" || queues.some((queue) => queue.transport_name === name))
  );
  const items = [
    ...(stuck ? [stuckItem(stuck, health, again)] : []),
    ...disabled.map(({ name }) => disabledItem(name, again)),
    ...checksToShow(health, stuck).map(checkItem),
    ...queues.filter(({ paused_at }) => paused_at !== null).map((queue) => pausedItem(queue, again)),
    ...(status.dead_letters > 0 ? [deadLettersItem(status.dead_letters)] : []),
  ];
  return items.toSorted((a, b) => Number(b.severity === "unhealthy") - Number(a.severity === "unhealthy"));
}

function checksToShow({ checks }: Health, stuck: Stuck | undefined): Check[] {
  const bad = checks.filter(({ status, name }) => status !== "healthy" && !SHOWN_ELSEWHERE.includes(name));
  const reason = stuck?.reason.reason ?? "";
  const isExplained = stuck !== undefined ||
    bad.some(({ name, status }) => CAUSES.includes(name) && status === "unhealthy");
  const told = [...(SAME_AS[reason] ?? []), ...(isExplained ? FOLLOWS : [])];
  return bad.filter(({ name }) => !told.includes(name));
}

function stuckItem({ message, reason }: Stuck, { checks }: Health, again: () => Promise<void>): Item {
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
        <Mend reason={reason} message={message} again={again} />
      </>
    ),
  };
}

function disabledItem(name: string, again: () => Promise<void>): Item {
  return {
    key: `transport ${name}`,
    severity: "unhealthy",
    title: `Transport ${name} is disabled`,
    body: <p>What is dispatched to it is rejected; the messages in it wait.</p>,
    button: (
      <Do
        label="Enable"
        kind="primary"
        act={() => act("PUT", `transports/${encodeURIComponent(name)}`, { enabled: true }).then(again)}
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
          ? <p>What failed most is told below, every attempt with its dead deadLetter.</p>
          : check.remedy && <Remedy text={check.remedy} />}
      </>
    ),
  };
}

function pausedItem(queue: Queue, again: () => Promise<void>): Item {
  return {
    key: `${queue.transport_name}/${queue.queue_name}`,
    severity: "degraded",
    title: `Queue ${queue.queue_name} is paused`,
    body: (
      <p>
        Paused {ago(queue.paused_at ?? "")}; {queue.due === 0 ? "nothing is due in it." : (
          <>
            {count(queue.due, queue.estimated)} due {queue.due === 1 ? "message waits" : "messages wait"}.{" "}
            <a href={linkTo(["messages"], { queue: queue.queue_name, status: "pending" })}>Look at them</a>
          </>
        )}
      </p>
    ),
    button: <Do label="Resume" kind="primary" act={() => switchQueue(queue, again)} />,
  };
}

function deadLettersItem(open: number): Item {
  return {
    key: "dead letters",
    severity: "degraded",
    title: `${count(open, open > COUNTED)} dead ${open === 1 ? "deadLetter" : "deadLetters"}`,
    body: <p>Messages that failed for good wait for a decision: retry, or discard.</p>,
    button: <a class="button" href={linkTo(["failed"])}>Decide</a>,
  };
}

export function Attention({ items }: { items: Item[] }) {
  if (items.length === 0) {
    return (
      <p class="all-well">
        <span aria-hidden="true">✓</span> Nothing wants attention.
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

/** Pauses a queue that runs, resumes one that is paused. */
export async function switchQueue(queue: Queue, again: () => void): Promise<void> {
  const verb = queue.paused_at === null ? "pause" : "resume";
  await act(
    "POST",
    `queues/${encodeURIComponent(queue.transport_name)}/${encodeURIComponent(queue.queue_name)}/${verb}`,
  );
  toast(verb === "pause" ? `Queue ${queue.queue_name} is paused` : `Queue ${queue.queue_name} runs again`);
  again();
}
