// Converts anything that a handler throws to an outcome that Postgres can store.
import { FunctionFailed, RetryAfter, Snooze, SymphonyError, Unrecoverable } from "../errors.ts";
import { redact } from "../log.ts";
import type { Outcome } from "../delivery.ts";

const LONGEST = 8_192; // bytes; SQL cuts at the same length, and a megabyte need not be sent
const UNRECOVERABLE = "PT422"; // raised by a database function or a SQL handler that must not be retried
const LONGEST_CLASS = 128;
const MOST_CAUSES = 5; // causes may form a cycle
const LONGEST_DELAY = 10 * 365 * 86_400_000; // ms; for a century the database rejects the whole outcome

/** An outcome without the message and the delivery that it belongs to. */
export type OutcomeDetails = Outcome extends infer O
  ? O extends Outcome ? Omit<O, "id" | "fence" | "duration_ms"> : never
  : never;

/**
 * A payload fails its type's schema. The class is reserved, because SQL treats it by its name: a user's message of this
 * class ends without a dead letter and does not count in the error rate.
 */
export class InvalidPayload extends Unrecoverable {
  override readonly name = "InvalidPayload";
}

/** Renames the reserved class in an outcome that is not the schema's, as SQL does with its reserved classes. */
export function unreserved<T extends { outcome: string; error_class?: string } | null>(outcome: T): T {
  return outcome?.error_class === "InvalidPayload" ? { ...outcome, error_class: "HandlerInvalidPayload" } : outcome;
}

export function outcomeOf(thrown: unknown): OutcomeDetails {
  if (thrown instanceof Snooze) return { outcome: "snoozed", delay_ms: delayOf(thrown.ms) };
  const retryable =
    !(thrown instanceof Unrecoverable || thrown instanceof FunctionFailed && thrown.code === UNRECOVERABLE);
  const delay = thrown instanceof RetryAfter ? { delay_ms: delayOf(thrown.ms) } : {};
  const failed: OutcomeDetails = { outcome: "failed", ...describe(thrown), retryable, ...delay };
  return thrown instanceof InvalidPayload ? failed : unreserved(failed);
}

function describe(thrown: unknown): { error: string; error_class: string; error_trace?: string } {
  if (!(thrown instanceof Error)) return { error: storable(textOf(thrown)), error_class: "NotAnError" };
  const { message, stack } = thrown;
  const hasCode = thrown instanceof SymphonyError || thrown instanceof FunctionFailed;
  const name = hasCode ? thrown.code : String(thrown.name);
  return {
    error: storable(message || name),
    error_class: storable(name).slice(0, LONGEST_CLASS) || "Error",
    ...(stack && { error_trace: storable(stackWithCauses(thrown)) }),
  };
}

/** The stack of the error and of its causes: only a cause may hold the reason of a failed fetch or database call. */
function stackWithCauses(error: Error): string {
  const stacks = [];
  for (let each: unknown = error; stacks.length <= MOST_CAUSES; each = each.cause) {
    if (!(each instanceof Error)) {
      if (isPostgrestFailure(each)) stacks.push(`${each.code}: ${each.message}`);
      break;
    }
    stacks.push(String(each.stack || each));
  }
  return stacks.join("\nCaused by: ");
}

/** PostgREST's error, which is not an Error. */
function isPostgrestFailure(value: unknown): value is { code: unknown; message: string } {
  return typeof value === "object" && value !== null && "code" in value && "message" in value &&
    typeof value.message === "string";
}

function delayOf(ms: number): number {
  return Math.min(Math.max(0, Math.ceil(ms) || 0), LONGEST_DELAY);
}

function textOf(thrown: unknown): string {
  try {
    return typeof thrown === "object" ? JSON.stringify(thrown) : String(thrown);
  } catch {
    return "The handler threw a value that cannot be shown.";
  }
}

/** Removes secrets, NUL (replaced by its symbol) and halves of surrogate pairs; cuts the text at 8 KB of UTF-8. */
export function storable(text: string): string {
  const clean = redact(text.slice(0, LONGEST)).replaceAll("\0", "\u2400").toWellFormed();
  const bytes = new TextEncoder().encode(clean);
  if (bytes.length <= LONGEST) return clean;
  return new TextDecoder().decode(bytes.subarray(0, LONGEST)).replace(/\uFFFD+$/, "");
}
