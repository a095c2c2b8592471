// One dead letter: every attempt, and a second chance with the same payload or a fixed one.
import { useState } from "preact/hooks";
import { act, type FullDeadLetter, look, withPayload } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { pretty, problemOf } from "./format.ts";
import { useLive } from "./live.ts";
import { Attempts, Do, Loaded, State, Time } from "./parts.tsx";
import { go, linkTo } from "./route.ts";
import { toast } from "./toast.tsx";

export function OneDeadLetter({ id }: { id: string }) {
  const path = `failed/${encodeURIComponent(id)}`;
  const live = useLive(`letter ${id}`, () => look<FullDeadLetter>(path));
  const [asking, ask] = useState<"edit" | "discard">();
  const retry = async (body?: string) => {
    const { messageId } = await act<{ messageId: string }>("POST", `${path}/retry`, body);
    toast("It waits in its queue again");
    go(["messages", messageId]);
  };
  const discard = async () => {
    await act("DELETE", path);
    toast("Discarded");
    ask(undefined);
    await live.again();
  };
  return (
    <Loaded live={live}>
      {(deadLetter) => (
        <article>
          <header class="heading">
            <div>
              <p class="crumb">
                <a href={linkTo(["failed"])}>Dead deadLetters</a>
              </p>
              <h1>{deadLetter.message_type} {deadLetter.resolution && <State of={deadLetter.resolution} />}</h1>
              <p>
                Failed <Time at={deadLetter.failed_at} />, dispatched <Time at={deadLetter.created_at} />, queue{" "}
                {deadLetter.queue_name}. <a href={linkTo(["messages", deadLetter.message_id])}>The message</a>
              </p>
            </div>
            {deadLetter.resolution === null && (
              <div class="buttons">
                <Do label="Retry" kind="primary" act={() => retry()} />
                <button type="button" onClick={() => ask("edit")}>Edit and retry</button>
                <button type="button" class="danger" onClick={() => ask("discard")}>Discard</button>
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
              <summary>Trace of the last one</summary>
              <pre>{deadLetter.error_trace}</pre>
            </details>
          )}
          <h2>Payload</h2>
          <pre class="json">{pretty(deadLetter.body)}</pre>
          <details>
            <summary>Headers</summary>
            <pre class="json">{pretty(deadLetter.headers)}</pre>
          </details>
          {asking === "edit" && <Edit deadLetter={deadLetter} retry={retry} close={() => ask(undefined)} />}
          {asking === "discard" && (
            <Dialog title="Discard this dead letter?" close={() => ask(undefined)}>
              <p>It is given up for good. What it held can be read for 30 days more.</p>
              <div class="buttons">
                <Do label="Discard" kind="danger" act={discard} />
                <button type="button" onClick={() => ask(undefined)}>Keep it</button>
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
    deadLetter: FullDeadLetter;
    retry: (body: string) => Promise<void>;
    close: () => void;
  },
) {
  const [text, setText] = useState(() => pretty(deadLetter.body));
  const problem = problemOf(text);
  return (
    <Dialog title="Edit the payload and retry" close={close}>
      <label>
        Payload
        <textarea
          rows={14}
          spellcheck={false}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          aria-invalid={problem !== undefined}
        />
      </label>
      <p class="problem" role="status">{problem}</p>
      <div class="buttons">
        <Do
          label="Retry with this"
          kind="primary"
          act={() => retry(withPayload(text))}
          disabled={problem !== undefined}
        />
        <button type="button" onClick={close}>Leave it</button>
      </div>
    </Dialog>
  );
}
