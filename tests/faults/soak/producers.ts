// The soak's producers: they repeat each call to the edge functions until it is acknowledged, with the same keys, and
// keep the acknowledged ids.
import { pause } from "../../pause.ts";
import { EFFECT, EFFECTS_QUEUE } from "./consumer.ts";

/** Deliveries that a message may lose to faults before it becomes a dead letter. */
const MAX_RETRIES = 30;
const BATCH = 500;
const PRODUCERS = 3;
const ALONE = 50; // one message in this many is sent in a call of its own
const BACKLOG = 6_000;

export interface Producing {
  /** Acknowledged ids, kept outside the database, which cannot lose them. */
  readonly acknowledged: Set<string>;
  /** Calls without a reply, or with 503. */
  readonly unanswered: number;
  readonly done: Promise<void>;
}

export interface ProducingOptions {
  messages: number;
  /** Base of the edge functions. */
  url: string;
  key: string;
  /** Number of messages that may be dispatched by now. */
  allowed: () => number;
  /** Number of finished messages; it bounds the backlog. */
  finished: () => number;
  /** Milliseconds until the instant at which a twentieth of the messages falls due. */
  dueIn: number;
  signal: AbortSignal;
}

interface Dispatch {
  message: { type: string; payload: Record<string, unknown> };
  options: Record<string, unknown>;
}

export function produce({ messages, url, key, allowed, finished, dueIn, signal }: ProducingOptions): Producing {
  const acknowledged = new Set<string>();
  const sharedInstant = new Date(Date.now() + dueIn).toISOString();
  let unanswered = 0;
  let next = 0;

  async function produceSome() {
    while (next < messages && !signal.aborted) {
      if (next >= allowed() || acknowledged.size - finished() > BACKLOG) {
        await pause(50, signal);
        continue;
      }
      const first = next;
      next = Math.min(allowed(), first + BATCH);
      const all = Array.from({ length: next - first }, (_, n) => dispatchOf(first + n, sharedInstant));
      const alone = all.filter((_, n) => n % ALONE === 0);
      const together = all.filter((_, n) => n % ALONE !== 0);
      for (const one of alone) keep([await send("dispatch", one)]);
      if (together.length > 0) keep((await send("dispatch/batch", { messages: together })).results);
    }
  }

  function keep(replies: { messageId: string }[]) {
    for (const { messageId } of replies) acknowledged.add(messageId);
  }

  // Only broken connections and 503 may be repeated; any other error is wrong.
  async function send(path: string, body: unknown) {
    for (;; await pause(200, signal)) {
      if (signal.aborted) throw new Error("the soak ended while a producer waited for a reply");
      const reply = await fetch(`${url}/functions/v1/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", apikey: key },
        body: JSON.stringify(body),
      }).then(async (response) => ({ status: response.status, body: await response.json() })).catch(() => undefined);
      if (reply && [200, 201, 207].includes(reply.status)) return reply.body;
      if (reply && ![500, 502, 503, 504].includes(reply.status)) {
        throw new Error(`${path}: ${JSON.stringify(reply)}`);
      }
      unanswered++;
    }
  }

  return {
    acknowledged,
    get unanswered() {
      return unanswered;
    },
    done: Promise.all(Array.from({ length: PRODUCERS }, produceSome)).then(() => {}),
  };
}

function dispatchOf(n: number, sharedInstant: string): Dispatch {
  const options = {
    idempotencyKey: crypto.randomUUID(),
    maxRetries: MAX_RETRIES,
    ...(n % 20 === 19 && { scheduledAt: sharedInstant }),
    ...(n % 7 === 0 && { priority: 1 + n % 10 }),
  };
  if (n % 5 < 2) return { message: { type: EFFECT, payload: { n } }, options: { ...options, queue: EFFECTS_QUEUE } };
  // Longer than a lease, so that heartbeats must extend it.
  if (n % 5_000 === 4) return { message: { type: "ExampleSlow", payload: { ms: 8_000 } }, options };
  if (n % 40 === 34) return { message: { type: "ExampleSlow", payload: { ms: 500 } }, options };
  if (n % 100 === 53) return { message: { type: "ExampleFlaky", payload: { failures: 1 } }, options };
  return { message: { type: "ExampleQuick", payload: { n } }, options };
}
