// One dead letter: every attempt, and a second chance with the same payload or a mended one.
import { useState } from "preact/hooks";
import { act, type FullLetter, look, withPayload } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { pretty, problemOf } from "./format.ts";
import { useLive } from "./live.ts";
import { Attempts, Do, Loaded, State, Time } from "./parts.tsx";
import { go, linkTo } from "./route.ts";
import { toast } from "./toast.tsx";

export function OneLetter({ id }: { id: string }) {
  const path = `failed/${encodeURIComponent(id)}`;
  const live = useLive(`letter ${id}`, () => look<FullLetter>(path));
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
      {(letter) => (
        <article>
          <header class="heading">
            <div>
              <p class="crumb">
                <a href={linkTo(["failed"])}>Dead letters</a>
              </p>
              <h1>{letter.message_type} {letter.resolution && <State of={letter.resolution} />}</h1>
              <p>
                Failed <Time at={letter.failed_at} />, dispatched <Time at={letter.created_at} />, queue{" "}
                {letter.queue_name}. <a href={linkTo(["messages", letter.message_id])}>The message</a>
              </p>
            </div>
            {letter.resolution === null && (
              <div class="buttons">
                <Do label="Retry" kind="primary" act={() => retry()} />
                <button type="button" onClick={() => ask("edit")}>Edit and retry</button>
                <button type="button" class="danger" onClick={() => ask("discard")}>Discard</button>
              </div>
            )}
          </header>
          <section class="explain">
            <h2>{letter.error_class ?? "Error"}</h2>
            <pre>{letter.error}</pre>
          </section>
          <h2>Attempts</h2>
          <Attempts of={letter.attempts} />
          {letter.error_trace && (
            <details>
              <summary>Trace of the last one</summary>
              <pre>{letter.error_trace}</pre>
            </details>
          )}
          <h2>Payload</h2>
          <pre class="json">{pretty(letter.body)}</pre>
          <details>
            <summary>Headers</summary>
            <pre class="json">{pretty(letter.headers)}</pre>
          </details>
          {asking === "edit" && <Edit letter={letter} retry={retry} close={() => ask(undefined)} />}
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
  { letter, retry, close }: { letter: FullLetter; retry: (body: string) => Promise<void>; close: () => void },
) {
  const [text, setText] = useState(() => pretty(letter.body));
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
