// The timeline of a message: past and expected events, in order.
import type { Message } from "../../shared/operators/messages.ts";
import { duration } from "./format.ts";
import { stateOf, Time } from "./parts.tsx";

interface Moment {
  at: string;
  what: string;
  kind: "pending" | "processing" | "completed" | "failed";
}

function momentsOf(message: Message): Moment[] {
  const { status, created_at, available_at, processed_at, lock_expires_at, expires_at } = message;
  const moments: Moment[] = [{ at: created_at, what: "dispatched", kind: "pending" }];
  for (const { at, error_class, duration_ms } of message.attempts) {
    const took = duration_ms === null ? "" : ` after ${duration(duration_ms)}`;
    moments.push({ at, what: `delivery failed${took}: ${error_class ?? "Error"}`, kind: "failed" });
  }
  if (status === "pending" && available_at) moments.push({ at: available_at, what: "due", kind: "pending" });
  if (message.locked_at) {
    moments.push({ at: message.locked_at, what: `taken by ${message.locked_by}`, kind: "processing" });
  }
  if (message.cancel_requested_at) {
    moments.push({ at: message.cancel_requested_at, what: "stop requested", kind: "failed" });
  }
  if (lock_expires_at) {
    moments.push({ at: lock_expires_at, what: "lease ends if it is not extended", kind: "processing" });
  }
  if (processed_at) {
    const end = stateOf(message);
    moments.push({
      at: processed_at,
      what: end === "failed" ? "failed for good" : end,
      kind: status === "completed" ? "completed" : "failed",
    });
  }
  if (expires_at && !processed_at) moments.push({ at: expires_at, what: "expires", kind: "failed" });
  return moments.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

export function Timeline({ of }: { of: Message }) {
  return (
    <ol class="timeline">
      {momentsOf(of).map(({ at, what, kind }) => (
        <li key={at + what} class={Date.parse(at) > Date.now() ? "ahead" : kind}>
          <Time at={at} /> <span>{what}</span>
        </li>
      ))}
    </ol>
  );
}
