// Parts that all views use: times, states, loading, empty and error states, copyable text, buttons.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Pagination } from "../../shared/operators/fields.ts";
import type { Attempt } from "../../shared/operators/messages.ts";
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

/** The name of a message's state. For messages that ended without a failed delivery it is their error class. */
export function stateOf({ status, error_class }: { status: string; error_class: string | null }): string {
  return status === "failed" && ENDS[error_class ?? ""] || status;
}

export function State({ of }: { of: string }) {
  return <span class={`state ${of}`}>{LABELS[of] ?? of}</span>;
}

/** Shows the data, or the error that prevents it. */
export function Loaded<T>({ live, children }: { live: Live<T>; children: (data: T) => ComponentChildren }) {
  const { data, error, at, refresh } = live;
  if (data === undefined) {
    return error ? <Failure error={error} refresh={refresh} /> : <p class="loading" role="status">Loading …</p>;
  }
  return (
    <>
      {error && <Failure error={error} refresh={refresh} since={new Date(at).toISOString()} />}
      <div class={error ? "stale" : undefined}>{children(data)}</div>
    </>
  );
}

function Failure(
  { error, refresh, since }: { error: Error & { hint: string }; refresh: () => void; since?: string },
) {
  return (
    <div class="banner" role="alert">
      <p>
        <strong>{error.message.replace(/[^.?!]$/, "$&.")}</strong> {error.hint} {since && (
          // The age changes every two seconds; a screen reader must not repeat it.
          <span aria-live="off">
            The data is from <Time at={since} />.
          </span>
        )}
      </p>
      <button type="button" onClick={refresh}>Try again</button>
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

/** A text in which the ids of other messages are links. */
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

/** A remedy: a statement or command that can be copied, or a sentence. */
export function Remedy({ text }: { text: string }) {
  return STATEMENT.test(text) ? <Copyable text={text} /> : <p>{text}</p>;
}

/** A button that is disabled while its action runs, and shows the error of a failed one. */
export function ActionButton({ label, action, kind = "", title, disabled }: {
  label: string;
  action: () => Promise<unknown>;
  kind?: string;
  title?: string;
  disabled?: boolean;
}) {
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try {
      await action();
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

/** Links to the first and the next page. A search that stopped before the page was full shows how far back it came. */
export function Older({ view, query, page }: { view: string; query: Record<string, string>; page: Pagination }) {
  if (!page.hasMore && !query.cursor) return null;
  return (
    <p class="more">
      {query.cursor && <a class="button" href={linkTo([view], { ...query, cursor: undefined })}>Newest</a>}
      {page.searchedTo && (
        <>
          Searched back to <Time at={page.searchedTo} />.
        </>
      )}
      {page.hasMore && (
        <a class="button" href={linkTo([view], { ...query, cursor: page.nextCursor ?? undefined })}>
          {page.searchedTo ? "Search further" : "Older"}
        </a>
      )}
    </p>
  );
}

/** Attempts of a dead letter have no stack traces of their own. */
export function Attempts({ of }: { of: (Omit<Attempt, "fence" | "error_trace"> & { error_trace?: string | null })[] }) {
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
              <summary>Stack trace</summary>
              <pre>{attempt.error_trace}</pre>
            </details>
          )}
        </li>
      ))}
    </ol>
  );
}
