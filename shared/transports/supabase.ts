// The database as a transport: a message is a row of messenger_messages.
import { fromElement } from "../database_error.ts";
import { type Database, interval, type Returns } from "../db.ts";
import type { Delivery, Receiver, Settled } from "../delivery.ts";
import type { Sender, SendResult } from "../sender.ts";

export function supabaseSender(db: Database): Sender {
  return {
    async send(messages, atomic) {
      const rows = await db.call("messenger_dispatch_batch", { messages, atomic });
      return rows.sort((a, b) => a.ord - b.ord).map(resultOf);
    },
  };
}

export function supabaseReceiver(db: Pick<Database, "call">): Receiver {
  return {
    async exchange(outcomes, { worker, batch, lease, transport, queues, types, wait = 0 }) {
      const reply = await db.call("messenger_exchange", {
        outcomes,
        worker,
        batch,
        lease: interval(lease),
        transport,
        queues,
        types: [...types],
        ...(wait > 0 && { wait: interval(wait) }),
      });
      return reply as { settled: Settled[]; claimed: Delivery[] }; // json by signature, this shape by contract
    },
    settle: (outcomes) => db.call("messenger_settle", { outcomes }),
    heartbeat: (leases, lease) => db.call("messenger_heartbeat", { leases, lease: interval(lease) }),
  };
}

function resultOf(row: Returns<"messenger_dispatch_batch">[number]): SendResult {
  if (row.error_code) return fromElement(row.error_code, row.error);
  const { id, duplicate, status, transport, queue, available_at } = row;
  return { id, duplicate, status, transport, queue, available_at };
}
