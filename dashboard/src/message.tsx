// One message: why it is where it is, what it holds, what was tried.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { act, type FullMessage, look, type Reason } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { absolute, pretty } from "./format.ts";
import { useLive } from "./live.ts";
import { Mend } from "./remedy.tsx";
import { Attempts, Do, Linked, Loaded, State, stateOf } from "./parts.tsx";
import { linkTo } from "./route.ts";
import { Timeline } from "./timeline.tsx";
import { toast } from "./toast.tsx";

const ANSWERS: Record<string, string> = {
  cancelled: "The message is cancelled",
  requested: "It is running: its handler is asked to stop",
  finished: "It was finished already",
};

export function OneMessage({ id }: { id: string }) {
  const path = `messages/${encodeURIComponent(id)}`;
  const live = useLive(`message ${id}`, async () => {
    const [message, { reasons }] = await Promise.all([
      look<FullMessage>(path),
      look<{ reasons: Reason[] }>(`${path}/explain`),
    ]);
    return { message, reasons };
  });
  const [asking, ask] = useState(false);
  const cancel = async () => {
    const { outcome } = await act<{ outcome: string }>("POST", `${path}/cancel`);
    toast(ANSWERS[outcome] ?? outcome);
    ask(false);
    await live.again();
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
                onClick={() => ask(true)}
                disabled={message.cancel_requested_at !== null}
              >
                {message.cancel_requested_at ? "Asked to stop" : "Cancel"}
              </button>
            )}
          </header>
          <section aria-labelledby="why" class="explain">
            <h2 id="why">{message.status === "pending" ? "Why it is not running" : "What became of it"}</h2>
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
                  <Mend reason={reason} message={message} again={live.again} />
                </li>
              ))}
            </ol>
          </section>
          {message.dead_letters.map((deadLetter) => (
            <p key={deadLetter.id}>
              <a href={linkTo(["failed", deadLetter.id])}>Dead deadLetter of {absolute(deadLetter.failed_at)}</a>
              {deadLetter.resolution && <span class="faint">{deadLetter.resolution}</span>}
            </p>
          ))}
          <dl class="facts">
            <Fact name="Queue">
              {message.queue_name} <span class="faint">{message.transport_name}</span>
            </Fact>
            <Fact name="Priority">{message.priority}</Fact>
            <Fact name="Failures">{message.retry_count}, with up to {message.max_retries} retries</Fact>
            <Fact name="Held by">{message.locked_by ?? "–"}</Fact>
            <Fact name="User">{message.created_by ?? "–"}</Fact>
            <Fact name="Ordering key">{message.ordering_key ?? "–"}</Fact>
            <Fact name="Idempotency key">{message.idempotency_key ?? "–"}</Fact>
          </dl>
          <h2>Timeline</h2>
          <Timeline of={message} />
          <h2>Failed deliveries</h2>
          {message.attempts.length === 0 && message.dead_letters.length > 0
            ? <p class="faint">They stand in its dead deadLetter.</p>
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
          {asking && (
            <Dialog title="Cancel this message?" close={() => ask(false)}>
              <p>
                {message.status === "processing"
                  ? "It is running: its handler is asked to stop, and what it has done stays done."
                  : "Nobody will handle it. It stays to be read until its retention has passed."}
              </p>
              <div class="buttons">
                <Do label="Cancel the message" kind="danger" act={cancel} />
                <button type="button" onClick={() => ask(false)}>Keep it</button>
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
