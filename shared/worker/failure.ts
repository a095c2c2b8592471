// Anything that a handler throws, as an outcome that Postgres can store.
import { FunctionFailed, RetryAfter, Snooze, SymphonyError, Unrecoverable } from "../errors.ts";
import { redact } from "../log.ts";
import type { Outcome } from "../delivery.ts";

const LONGEST = 8_192; // bytes, cut before the call: a megabyte of error text would travel for nothing
const HOPELESS = "PT422"; // the SQLSTATE by which a function says what Unrecoverable says here; SQL handlers raise the same
const LONGEST_CLASS = 128;
const MOST_CAUSES = 5; // they may go round in a circle
const LONGEST_DELAY = 10 * 365 * 86_400_000; // ms; the database rejects a century, and with it the whole outcome

/** The part of an outcome that says what happened, without whose it is. */
export type Happening = Outcome extends infer O ? O extends Outcome ? Omit<O, "id" | "fence" | "duration_ms"> : never
  : never;

/**
 * A payload fails its type's schema. The class is reserved: SQL ends a user's message of this class without a dead
 * letter and outside the error rate, and cannot know who chose the name.
 */
export class InvalidPayload extends Unrecoverable {
  override readonly name = "InvalidPayload";
}

/** An outcome that is not the schema's: the reserved class becomes the handler's own, as SQL does with the others. */
export function unreserved<T extends { outcome: string; error_class?: string } | null>(outcome: T): T {
  return outcome?.error_class === "InvalidPayload" ? { ...outcome, error_class: "HandlerInvalidPayload" } : outcome;
}

export function outcomeOf(thrown: unknown): Happening {
  if (thrown instanceof Snooze) return { outcome: "snoozed", delay_ms: delayOf(thrown.ms) };
  const retryable = !(thrown instanceof Unrecoverable || thrown instanceof FunctionFailed && thrown.code === HOPELESS);
  const delay = thrown instanceof RetryAfter ? { delay_ms: delayOf(thrown.ms) } : {};
  const failed: Happening = { outcome: "failed", ...describe(thrown), retryable, ...delay };
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
    ...(stack && { error_trace: storable(traceOf(thrown)) }),
  };
}

/** The stack, and those of its causes: a failed fetch or call of the database may have its reason only there. */
function traceOf(error: Error): string {
  const stacks = [];
  for (let each: unknown = error; stacks.length <= MOST_CAUSES; each = each.cause) {
    if (!(each instanceof Error)) {
      if (isFailure(each)) stacks.push(`${each.code}: ${each.message}`);
      break;
    }
    stacks.push(String(each.stack || each));
  }
  return stacks.join("\nCaused by: ");
}

/** PostgREST's error, which is no Error. */
function isFailure(value: unknown): value is { code: unknown; message: string } {
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

/** Without secrets, NUL (shown as its symbol) and halves of surrogate pairs, at most 8 KB of UTF-8. */
export function storable(text: string): string {
  const clean = redact(text.slice(0, LONGEST)).replaceAll("\0", "\u2400").toWellFormed();
  const bytes = new TextEncoder().encode(clean);
  if (bytes.length <= LONGEST) return clean;
  return new TextDecoder().decode(bytes.subarray(0, LONGEST)).replace(/\uFFFD+$/, "");
}
