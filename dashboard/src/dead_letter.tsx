// One dead letter: its attempts, its payload, and its retry, with an edited payload if needed.
import { useState } from "preact/hooks";
import type { DeadLetter, Retried } from "../../shared/operators/dead_letters.ts";
import type { Transports } from "../../shared/operators/transports.ts";
import { callAdmin, getMonitor, withPayload } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { payloadFault, pretty } from "./format.ts";
import { useLive } from "./live.ts";
import { ActionButton, Attempts, Loaded, State, Time } from "./parts.tsx";
import { failedRetention } from "./retention.ts";
import { go, linkTo } from "./route.ts";
import { toast } from "./toast.tsx";

export function OneDeadLetter({ id }: { id: string }) {
  const path = `failed/${encodeURIComponent(id)}`;
  const live = useLive(`dead letter ${id}`, async () => {
    const [deadLetter, { transports }] = await Promise.all([
      getMonitor<DeadLetter>(path),
      getMonitor<Transports>("transports"),
    ]);
    return { deadLetter, transports };
  });
  const [dialog, setDialog] = useState<"edit" | "discard">();
  const retry = async (body?: string) => {
    const { messageId } = await callAdmin<Retried>("POST", `${path}/retry`, body);
    toast("Returned to its queue");
    go(["messages", messageId]);
  };
  const discard = async () => {
    await callAdmin("DELETE", path);
    toast("Discarded");
    setDialog(undefined);
    await live.refresh();
  };
  return (
    <Loaded live={live}>
      {({ deadLetter, transports }) => (
        <article>
          <header class="heading">
            <div>
              <p class="crumb">
                <a href={linkTo(["failed"])}>Dead letters</a>
              </p>
              <h1>{deadLetter.message_type} {deadLetter.resolution && <State of={deadLetter.resolution} />}</h1>
              <p>
                Failed <Time at={deadLetter.failed_at} />, dispatched <Time at={deadLetter.created_at} />, queue{" "}
                {deadLetter.queue_name}. <a href={linkTo(["messages", deadLetter.message_id])}>The message</a>
              </p>
            </div>
            {deadLetter.resolution === null && (
              <div class="buttons">
                <ActionButton label="Retry" kind="primary" action={() => retry()} />
                <button type="button" onClick={() => setDialog("edit")}>Edit and retry</button>
                <button type="button" class="danger" onClick={() => setDialog("discard")}>Discard</button>
              </div>
            )}
          </header>
          <section class="explain">
            <h2>{deadLetter.error_class ?? "Error"}</h2>
            <pre>{deadLetter.error}</pre>
          </section>
          <h2>Attempts</h2>
          <Attempts of={deadLetter.attempts} />
          {deadLetter.error_trace && (
            <details>
              <summary>Stack trace of the last attempt</summary>
              <pre>{deadLetter.error_trace}</pre>
            </details>
          )}
          <h2>Payload</h2>
          <pre class="json">{pretty(deadLetter.body)}</pre>
          <details>
            <summary>Headers</summary>
            <pre class="json">{pretty(deadLetter.headers)}</pre>
          </details>
          {dialog === "edit" && <Edit deadLetter={deadLetter} retry={retry} close={() => setDialog(undefined)} />}
          {dialog === "discard" && (
            <Dialog title="Discard this dead letter?" close={() => setDialog(undefined)}>
              <p>
                The message is not retried. The dead letter can be read for another{" "}
                {failedRetention(transports, [deadLetter.transport_name])}.
              </p>
              <div class="buttons">
                <ActionButton label="Discard" kind="danger" action={discard} />
                <button type="button" onClick={() => setDialog(undefined)}>Keep</button>
              </div>
            </Dialog>
          )}
        </article>
      )}
    </Loaded>
  );
}

function Edit(
  { deadLetter, retry, close }: {
    deadLetter: DeadLetter;
    retry: (body: string) => Promise<void>;
    close: () => void;
  },
) {
  const [text, setText] = useState(() => pretty(deadLetter.body));
  const fault = payloadFault(text);
  return (
    <Dialog title="Edit the payload and retry" close={close}>
      <label>
        Payload
        <textarea
          rows={14}
          spellcheck={false}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          aria-invalid={fault !== undefined}
        />
      </label>
      <p class="problem" role="status">{fault}</p>
      <div class="buttons">
        <ActionButton
          label="Retry with this payload"
          kind="primary"
          action={() => retry(withPayload(text))}
          disabled={fault !== undefined}
        />
        <button type="button" onClick={close}>Cancel</button>
      </div>
    </Dialog>
  );
}
