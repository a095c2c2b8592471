// One message: why it is not running, its timeline, its deliveries and its payload.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Cancelled, Explanation, Message } from "../../shared/operators/messages.ts";
import { callAdmin, getMonitor } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { absolute, pretty } from "./format.ts";
import { useLive } from "./live.ts";
import { ReasonRemedy } from "./remedy.tsx";
import { ActionButton, Attempts, Linked, Loaded, State, stateOf } from "./parts.tsx";
import { linkTo } from "./route.ts";
import { Timeline } from "./timeline.tsx";
import { toast } from "./toast.tsx";

const OUTCOMES: Record<Cancelled["outcome"], string> = {
  cancelled: "The message is cancelled",
  requested: "The message is running. Its handler was requested to stop",
  finished: "The message had already finished",
};

export function OneMessage({ id }: { id: string }) {
  const path = `messages/${encodeURIComponent(id)}`;
  const live = useLive(`message ${id}`, async () => {
    const [message, { reasons }] = await Promise.all([
      getMonitor<Message>(path),
      getMonitor<Explanation>(`${path}/explain`),
    ]);
    return { message, reasons };
  });
  const [isCancelling, setCancelling] = useState(false);
  const cancel = async () => {
    const { outcome } = await callAdmin<Cancelled>("POST", `${path}/cancel`);
    toast(OUTCOMES[outcome]);
    setCancelling(false);
    await live.refresh();
  };
  return (
    <Loaded live={live}>
      {({ message, reasons }) => (
        <article>
          <header class="heading">
            <div>
              <p class="crumb">
                <a href={linkTo(["messages"])}>Messages</a>
              </p>
              <h1>
                {message.message_type} <State of={stateOf(message)} />
              </h1>
              <p class="mono faint">{message.id}</p>
            </div>
            {(message.status === "pending" || message.status === "processing") && (
              <button
                type="button"
                class="danger"
                onClick={() => setCancelling(true)}
                disabled={message.cancel_requested_at !== null}
              >
                {message.cancel_requested_at ? "Stop requested" : "Cancel"}
              </button>
            )}
          </header>
          <section aria-labelledby="why" class="explain">
            <h2 id="why">{message.status === "pending" ? "Why it is not running" : "Explanation"}</h2>
            <ol>
              {reasons.map((reason) => (
                <li key={reason.reason}>
                  <strong>{reason.reason.replaceAll("_", " ")}</strong>
                  <p>
                    <Linked
                      text={reason.detail}
                      except={[message.id, ...message.dead_letters.map((deadLetter) => deadLetter.id)]}
                    />
                  </p>
                  <ReasonRemedy reason={reason} message={message} refresh={live.refresh} />
                </li>
              ))}
            </ol>
          </section>
          {message.dead_letters.map((deadLetter) => (
            <p key={deadLetter.id}>
              <a href={linkTo(["failed", deadLetter.id])}>Dead letter of {absolute(deadLetter.failed_at)}</a>{" "}
              {deadLetter.resolution && <span class="faint">{deadLetter.resolution}</span>}
            </p>
          ))}
          <dl class="facts">
            <Fact name="Queue">
              {message.queue_name} <span class="faint">{message.transport_name}</span>
            </Fact>
            <Fact name="Priority">{message.priority}</Fact>
            <Fact name="Failures">
              {message.retry_count} <span class="faint">of at most {message.max_retries + 1}</span>
            </Fact>
            <Fact name="Worker">{message.locked_by ?? "–"}</Fact>
            <Fact name="User">{message.created_by ?? "–"}</Fact>
            <Fact name="Ordering key">{message.ordering_key ?? "–"}</Fact>
            <Fact name="Idempotency key">{message.idempotency_key ?? "–"}</Fact>
          </dl>
          <h2>Timeline</h2>
          <Timeline of={message} />
          <h2>Failed deliveries</h2>
          {message.attempts.length === 0 && message.dead_letters.length > 0
            ? <p class="faint">They are listed in its dead letter.</p>
            : <Attempts of={message.attempts} />}
          <h2>Payload</h2>
          <pre class="json">{pretty(message.body)}</pre>
          {message.result !== null && (
            <>
              <h2>Result</h2>
              <pre class="json">{pretty(message.result)}</pre>
            </>
          )}
          {message.progress !== null && (
            <>
              <h2>Progress</h2>
              <pre class="json">{pretty(message.progress)}</pre>
            </>
          )}
          <details>
            <summary>Headers and metadata</summary>
            <pre class="json">{pretty({ headers: message.headers, metadata: message.metadata })}</pre>
          </details>
          {isCancelling && (
            <Dialog title="Cancel this message?" close={() => setCancelling(false)}>
              <p>
                {message.status === "processing"
                  ? "The message is running. Its handler is requested to stop; it does not undo its effects."
                  : "No worker will handle the message. It can be read until its retention has passed."}
              </p>
              <div class="buttons">
                <ActionButton label="Cancel the message" kind="danger" action={cancel} />
                <button type="button" onClick={() => setCancelling(false)}>Keep</button>
              </div>
            </Dialog>
          )}
        </article>
      )}
    </Loaded>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
