// The message that has been due the longest, and why nobody takes it.
import { look, type Message, type Queue, type Reason } from "./api.ts";

export interface Stuck {
  message: Message;
  reason: Reason;
}

const PATIENCE = 15_000; // ms that a due message may wait before its reason is asked for
const LOOKED_AT = 50;

/** Undefined where nothing waits longer than it should, or its queue says why: paused, or its transport disabled. */
export async function findStuck(queues: Queue[], now = Date.now()): Promise<Stuck | undefined> {
  const [oldest] = queues
    .flatMap((queue) => queue.oldest_due_at && queue.paused_at === null && queue.transport_enabled ? [queue] : [])
    .toSorted((a, b) => dueAt(a) - dueAt(b));
  if (!oldest || now - dueAt(oldest) < PATIENCE) return undefined;
  const { messages } = await look<{ messages: Message[] }>("messages", {
    transport: oldest.transport_name,
    queue: oldest.queue_name,
    status: "pending",
    to: new Date(dueAt(oldest) + 1).toISOString(), // what is due was dispatched before
    limit: LOOKED_AT,
  });
  const [message] = messages.filter(({ available_at }) => available_at !== null && Date.parse(available_at) <= now)
    .toSorted((a, b) => Date.parse(a.available_at ?? "") - Date.parse(b.available_at ?? ""));
  if (!message) return undefined;
  const { reasons: [reason] } = await look<{ reasons: Reason[] }>(`messages/${message.id}/explain`);
  return reason && { message, reason };
}

/** Since when its oldest message could have been taken. */
function dueAt({ oldest_due_at, runs_since }: Queue): number {
  return Math.max(Date.parse(oldest_due_at ?? ""), Date.parse(runs_since ?? "") || 0);
}
