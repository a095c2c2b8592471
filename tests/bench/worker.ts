// A worker in the process of the bench: the shipped consume loop with the default settings of the worker edge function,
// except for the limit of an isolate's life.
import { systemClock } from "../../shared/clock.ts";
import type { Database } from "../../shared/db.ts";
import type { Receiver } from "../../shared/delivery.ts";
import { readEnv } from "../../shared/env.ts";
import { createLog } from "../../shared/log.ts";
import { createRegistry, type MessageType } from "../../shared/message.ts";
import { createConsumer, type Limits } from "../../shared/worker/consume.ts";

export const LIMITS: Limits = { ...readEnv({ SUPABASE_URL: "http://127.0.0.1" }).worker, timeLimit: Infinity };

/** Starts a worker that claims at once and lingers for `linger` milliseconds after its last message. */
export function startWorker(
  receiver: Receiver,
  db: Database,
  messages: readonly MessageType[],
  linger = LIMITS.linger,
): { stop(): Promise<unknown> } {
  const consumer = createConsumer({
    registry: createRegistry(messages),
    db,
    log: createLog({}, () => {}),
    clock: systemClock,
    receiver,
    worker: `bench-${crypto.randomUUID()}`,
  });
  const { done } = consumer.wake({ ...LIMITS, linger });
  return {
    stop() {
      consumer.stop();
      return done;
    },
  };
}
