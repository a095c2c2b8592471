// What wants attention, worst first, each with what to do about it one click away.
import { act, type Health, type Queue } from "./api.ts";
import { age, ago, count, COUNTED } from "./format.ts";
import { Do, Remedy } from "./parts.tsx";
import { Mend } from "./mend.tsx";
import { linkTo } from "./route.ts";
import type { Stuck } from "./stuck.ts";
import { toast } from "./toast.tsx";

const TOLD_ELSEWHERE = ["dead_letters", "test_clock"];
const TITLES: Record<string, string> = {
  clock: "The clock stands still",
  clock_errors: "The clock stumbles",
  error_rate: "Many deliveries fail",
  no_handler: "Nobody handles some messages",
  oldest_due: "Messages wait too long",
  pg_net: "Workers cannot be called",
  worker_secret: "The worker secret is missing",
  workers: "No worker is awake",
};

export function Attention({ health, queues, stuck, deadLetters, again }: {
  health: Health;
  queues: Queue[];
  stuck: Stuck | undefined;
  deadLetters: number;
  again: () => Promise<void>;
}) {
  const checks = health.checks.filter(({ status, name }) =>
    status !== "healthy" && !TOLD_ELSEWHERE.includes(name) &&
    !(stuck && ["oldest_due", stuck.reason.reason].includes(name))
  )
    .toSorted((a, b) => Number(b.status === "unhealthy") - Number(a.status === "unhealthy"));
  const paused = queues.filter(({ paused_at }) => paused_at !== null);
  const disabled = [
    ...new Set(queues.filter((queue) => queue.transport_enabled === false).map((queue) => queue.transport_name)),
  ];
  if (checks.length + paused.length + disabled.length === 0 && deadLetters === 0 && !stuck) {
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
        {paused.map((queue) => (
          <li key={`${queue.transport_name}/${queue.queue_name}`} class="degraded">
            <div>
              <strong>Queue {queue.queue_name} is paused</strong>
              <p>
                Paused {ago(queue.paused_at ?? "")}; {count(queue.due, queue.estimated)} due{" "}
                {queue.due === 1 ? "message waits" : "messages wait"}.{" "}
                <a href={linkTo(["messages"], { queue: queue.queue_name, status: "pending" })}>Look at them</a>
              </p>
            </div>
            <Do label="Resume" kind="primary" act={() => switchQueue(queue, again)} />
          </li>
        ))}
        {disabled.map((name) => (
          <li key={name} class="degraded">
            <div>
              <strong>Transport {name} is disabled</strong>
              <p>Its messages wait.</p>
            </div>
            <Do
              label="Enable"
              kind="primary"
              act={() => act("PUT", `transports/${encodeURIComponent(name)}`, { enabled: true }).then(again)}
            />
          </li>
        ))}
        {stuck && (
          <li class="degraded">
            <div>
              <strong>
                A message has waited {age(stuck.message.available_at ?? "")}: {stuck.reason.reason.replaceAll("_", " ")}
              </strong>
              <p>
                <a href={linkTo(["messages", stuck.message.id])}>{stuck.message.message_type}</a>, queue{" "}
                {stuck.message.queue_name}
              </p>
              <p>{stuck.reason.detail}</p>
              <Mend reason={stuck.reason} message={stuck.message} again={again} />
            </div>
          </li>
        )}
        {checks.map((check) => (
          <li key={check.name} class={check.status}>
            <div>
              <strong>{TITLES[check.name] ?? check.name}</strong>
              <p>{check.detail}</p>
              {check.remedy && <Remedy text={check.remedy} />}
            </div>
          </li>
        ))}
        {deadLetters > 0 && (
          <li class="degraded">
            <div>
              <strong>
                {count(deadLetters, deadLetters > COUNTED)} dead {deadLetters === 1 ? "letter" : "letters"}
              </strong>
              <p>Messages that failed for good wait for a decision: retry, or discard.</p>
            </div>
            <a class="button" href={linkTo(["failed"])}>Decide</a>
          </li>
        )}
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
