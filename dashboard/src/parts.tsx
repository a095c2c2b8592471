// Small parts of every view: times, states, what is loading, empty or broken, copyable text.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Attempt, Page } from "./api.ts";
import { absolute, ago, duration } from "./format.ts";
import type { Live } from "./live.ts";
import { linkTo } from "./route.ts";
import { toast } from "./toast.tsx";

export function Time({ at }: { at: string | null | undefined }) {
  return at ? <time dateTime={at} title={absolute(at)}>{ago(at)}</time> : <span class="faint">–</span>;
}

const LABELS: Record<string, string> = {
  pending: "waiting",
  processing: "running",
  completed: "completed",
  failed: "failed",
};

const ENDS: Record<string, string> = { Cancelled: "cancelled", Expired: "expired", Discarded: "discarded" };

/** What a message's state is called: of those that failed, how they ended where that was no delivery. */
export function stateOf({ status, error_class }: { status: string; error_class: string | null }): string {
  return status === "failed" && ENDS[error_class ?? ""] || status;
}

export function State({ of }: { of: string }) {
  return <span class={`state ${of}`}>{LABELS[of] ?? of}</span>;
}

/** What was asked for, or why it is not there. */
export function Loaded<T>({ live, children }: { live: Live<T>; children: (data: T) => ComponentChildren }) {
  const { data, error, at, again } = live;
  if (data === undefined) {
    return error ? <Broken error={error} again={again} /> : <p class="loading" role="status">Loading …</p>;
  }
  return (
    <>
      {error && <Broken error={error} again={again} since={new Date(at).toISOString()} />}
      <div class={error ? "stale" : undefined}>{children(data)}</div>
    </>
  );
}

function Broken({ error, again, since }: { error: Error & { hint: string }; again: () => void; since?: string }) {
  return (
    <div class="banner" role="alert">
      <p>
        <strong>{error.message.replace(/[^.?!]$/, "$&.")}</strong> {error.hint} {since && (
          // Its age changes with each turn: read aloud once is enough.
          <span aria-live="off">
            What you see is from <Time at={since} />.
          </span>
        )}
      </p>
      <button type="button" onClick={again}>Try again</button>
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h3>{title}</h3>
      {children}
    </div>
  );
}

export function Copyable({ text }: { text: string }) {
  const copy = () =>
    navigator.clipboard.writeText(text).then(() => toast("Copied"), () => toast("Select the text and copy it", true));
  return (
    <div class="copyable">
      <code>{text}</code>
      <button type="button" class="quiet" onClick={copy} aria-label={`Copy: ${text.slice(0, 60)}`}>Copy</button>
    </div>
  );
}

const ID = /([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/;

/** A text whose ids of other messages lead to them. */
export function Linked({ text, except }: { text: string; except: string[] }) {
  return (
    <>
      {text.split(ID).map((part, n) =>
        n % 2 === 1 && !except.includes(part) ? <a key={n} href={linkTo(["messages", part])}>{part}</a> : part
      )}
    </>
  );
}

const STATEMENT = /^(select|insert|update|delete|create|alter|drop|grant|call|do|curl|npm|supabase) /i;

/** What fixes something: a statement or command to be pasted, or words to be read. */
export function Remedy({ text }: { text: string }) {
  return STATEMENT.test(text) ? <Copyable text={text} /> : <p>{text}</p>;
}

/** A button that shows it is at work, and says what went wrong. */
export function Do({ label, act, kind = "", title, disabled }: {
  label: string;
  act: () => Promise<unknown>;
  kind?: string;
  title?: string;
  disabled?: boolean;
}) {
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try {
      await act();
    } catch (error) {
      toast(
        error instanceof Error ? [error.message, "hint" in error ? error.hint : ""].join(" ") : String(error),
        true,
      );
    } finally {
      setBusy(false);
    }
  };
  return (
    <button
      type="button"
      class={kind}
      onClick={run}
      disabled={busy || disabled}
      aria-label={title}
      title={title}
      aria-busy={busy}
    >
      {label}
    </button>
  );
}

/** The ways to the first and the next page; where a look ended before the page was full, how far back it came. */
export function Older({ view, query, page }: { view: string; query: Record<string, string>; page: Page }) {
  if (!page.hasMore && !query.cursor) return null;
  return (
    <p class="more">
      {query.cursor && <a class="button" href={linkTo([view], { ...query, cursor: undefined })}>Newest</a>}
      {page.searchedTo && (
        <>
          Looked back to <Time at={page.searchedTo} />.
        </>
      )}
      {page.hasMore && (
        <a class="button" href={linkTo([view], { ...query, cursor: page.nextCursor ?? undefined })}>
          {page.searchedTo ? "Keep looking" : "Older"}
        </a>
      )}
    </p>
  );
}

export function Attempts({ of }: { of: Attempt[] }) {
  if (of.length === 0) return <p class="faint">No delivery has failed.</p>;
  return (
    <ol class="attempts">
      {of.map((attempt) => (
        <li key={attempt.at}>
          <div>
            <strong>{attempt.error_class ?? "Error"}</strong> <Time at={attempt.at} />
            <span class="faint">{attempt.worker} · {duration(attempt.duration_ms)}</span>
          </div>
          <pre>{attempt.error}</pre>
          {attempt.error_trace && (
            <details>
              <summary>Trace</summary>
              <pre>{attempt.error_trace}</pre>
            </details>
          )}
        </li>
      ))}
    </ol>
  );
}
