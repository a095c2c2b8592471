// The message that has been due the longest, and the reason why no worker takes it.
import type { Explanation, Messages, MessageSummary, Reason } from "../../shared/operators/messages.ts";
import type { Queue } from "../../shared/operators/queues.ts";
import { getMonitor } from "./api.ts";

export interface Stuck {
  message: MessageSummary;
  reason: Reason;
}

const MAY_WAIT = 15_000; // ms
const SEARCHED = 50; // messages

/** Returns undefined if no message is overdue. Paused queues and disabled transports are left out. */
export async function findStuck(queues: Queue[], now = Date.now()): Promise<Stuck | undefined> {
  const [oldest] = queues
    .flatMap((queue) => queue.oldest_due_at && queue.paused_at === null && queue.transport_enabled ? [queue] : [])
    .toSorted((a, b) => dueAt(a) - dueAt(b));
  if (!oldest || now - dueAt(oldest) < MAY_WAIT) return undefined;
  const { messages } = await getMonitor<Messages>("messages", {
    transport: oldest.transport_name,
    queue: oldest.queue_name,
    status: "pending",
    to: new Date(dueAt(oldest) + 1).toISOString(), // a due message was dispatched before
    limit: SEARCHED,
  });
  const [message] = messages.filter(({ available_at }) => available_at !== null && Date.parse(available_at) <= now)
    .toSorted((a, b) => Date.parse(a.available_at ?? "") - Date.parse(b.available_at ?? ""));
  if (!message) return undefined;
  const { reasons: [reason] } = await getMonitor<Explanation>(`messages/${message.id}/explain`);
  return reason && { message, reason };
}

/** Since when a worker could have taken its oldest message. */
function dueAt({ oldest_due_at, runs_since }: Queue): number {
  return Math.max(Date.parse(oldest_due_at ?? ""), Date.parse(runs_since ?? "") || 0);
}
