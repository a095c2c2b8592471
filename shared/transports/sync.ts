// The transport `sync`: the message is stored as a row, and its handler runs inside the call that dispatches it.
import { interval } from "../db.ts";
import { SymphonyError, toSymphonyError } from "../errors.ts";
import { execute, type HandlerRuntime } from "../worker/execute.ts";
import { DEFAULT_TIMEOUT } from "../message.ts";
import { Outbox } from "../worker/outbox.ts";
import { newStats } from "../worker/stats.ts";
import type { Delivery, Receiver, Settled } from "../delivery.ts";
import type { NewMessage, Sender, Sent } from "../sender.ts";

// ms; keeps workers from claiming the message before it is claimed here, and the lease longer than the timeout
const LEAD = 30_000;
const SETTLE_ATTEMPTS = 4;
const MOVING = new Set(["reschedule", "debounce"]); // LEAD would become the new time of the stored message
const STATUSES: Record<string, string> = {
  completed: "completed",
  retry: "pending",
  snoozed: "pending",
  released: "pending",
  dead: "failed",
  cancelled: "failed",
};

export interface InlineOptions extends HandlerRuntime {
  receiver: Receiver;
  worker: string;
}

/**
 * Stores messages through `store`, then runs those that are due now. These are stored only, and workers run them later:
 * delayed, ordered and expiring messages, and those whose idempotency mode moves a stored message. Workers also run a
 * message whose handler failed here.
 */
export function syncSender(store: Sender, options: InlineOptions): Sender {
  const runsNow = (message: NewMessage) =>
    options.registry.find(message.type) !== undefined && !MOVING.has(message.idempotency_mode ?? "") &&
    [message.delay, message.available_at, message.expires_at, message.ordering_key].every((value) =>
      value === undefined
    );
  return {
    async send(messages, atomic) {
      const delayed = messages.map((message) => runsNow(message) ? { ...message, delay: interval(LEAD) } : message);
      const results = await store.send(delayed, atomic);
      for (const [index, sent] of results.entries()) {
        if (sent instanceof SymphonyError || sent.duplicate || !runsNow(messages[index])) continue;
        results[index] = await runInline(sent, messages[index].type, options);
      }
      return results;
    },
  };
}

/** Never throws: the row is stored, so after any failure here a worker runs the message. */
async function runInline(sent: Sent, type: string, options: InlineOptions): Promise<Sent> {
  const { db, registry, worker, log } = options;
  const lease = (registry.find(type)?.timeout ?? DEFAULT_TIMEOUT) + LEAD;
  try {
    const [delivery] = await db.call("messenger_claim_one", { id: sent.id, worker, lease: interval(lease) });
    return delivery ? await handle(sent, delivery, lease, options) : sent;
  } catch (error) {
    log.warn("sync message left to the workers", { id: sent.id, error: toSymphonyError(error) });
    return sent;
  }
}

async function handle(sent: Sent, delivery: Delivery, lease: number, options: InlineOptions): Promise<Sent> {
  const outcome = await execute(delivery, options, () => {}).result;
  if (!outcome) return { ...sent, status: "processing" };
  const done = { ...sent, status: "completed", available_at: delivery.created_at };
  if (outcome.recorded) return outcome.outcome === "completed" ? { ...done, result: outcome.result } : done;
  let settled: Settled | undefined;
  const outbox = new Outbox(options.receiver, options.clock, options.log, newStats(), lease);
  outbox.add(outcome);
  for (let attempt = 0; attempt < SETTLE_ATTEMPTS; attempt++) {
    if (!outbox.hasDue && outbox.nextDue === Infinity) break;
    if (!outbox.hasDue) await options.clock.sleep(outbox.nextDue - options.clock.now());
    await outbox.flush(async (outcomes) => {
      const reply = await options.receiver.settle(outcomes);
      settled = reply[0];
      return reply;
    });
  }
  const recorded = settled?.outcome === "already" ? outcome.outcome : settled?.outcome ?? "";
  const status = STATUSES[recorded] ?? "processing";
  if (status === "pending") return { ...sent, status, available_at: settled?.available_at ?? null };
  return outcome.outcome === "completed" && status === "completed"
    ? { ...done, result: outcome.result }
    : { ...done, status };
}
