// One delivery: find the handler, check the payload, run within the timeout, and say what happened.
import type { Clock } from "./clock.ts";
import type { Database } from "./db.ts";
import { StaleLease, Unrecoverable } from "./errors.ts";
import { happeningOf } from "./failure.ts";
import { type Json, type JsonObject, toJson } from "./json.ts";
import type { Log } from "./log.ts";
import { DEFAULT_TIMEOUT, type HandlerContext, type MessageType, type Registry } from "./message.ts";
import { chain, logging, type Middleware, timing, type Verdict } from "./middleware.ts";
import { refusalOf } from "./payload.ts";
import type { Delivery } from "./transports/receiver.ts";

export interface Workshop {
  registry: Registry;
  db: Database;
  log: Log;
  clock: Clock;
  /** Runs inside logging and timing, in this order. */
  middleware?: readonly Middleware[];
}

export interface Execution {
  /** Never rejects. Null when the lease was lost: nothing to record. */
  readonly verdict: Promise<Verdict>;
  /** Aborts the handler's signal; with StaleLease as the reason the verdict is null at once. */
  abort(reason: Error): void;
}

class Timeout extends Error {
  override readonly name = "Timeout";
}

class InvalidPayload extends Unrecoverable {
  override readonly name = "InvalidPayload";
}

class UnstorableResult extends Unrecoverable {
  override readonly name = "UnstorableResult";
}

/** Starts the handler of a claimed message. `onProgress` gets each value the handler reports. */
export function execute(delivery: Delivery, workshop: Workshop, onProgress: (value: Json) => void): Execution {
  const { registry, clock } = workshop;
  const { id, fence } = delivery;
  const controller = new AbortController();
  const lost = Promise.withResolvers<null>();
  const messageType = registry.find(delivery.message_type);
  const ctx = contextOf(delivery, workshop, controller.signal, onProgress);

  const attempt = async (): Promise<Verdict> => {
    // Only a handler that left the code after the claim; somebody else may still have it.
    if (!messageType) return { id, fence, outcome: "released" };
    try {
      const result = await within(
        messageType.timeout ?? DEFAULT_TIMEOUT,
        clock,
        controller,
        () => handle(messageType, delivery, ctx),
      );
      return { id, fence, outcome: "completed", result };
    } catch (error) {
      return error instanceof StaleLease ? null : { id, fence, ...happeningOf(error) };
    }
  };
  const around = [logging, timing(clock), ...workshop.middleware ?? []];
  const verdict = chain(around, ctx, attempt)().catch((error: unknown): Verdict => ({
    id,
    fence,
    ...happeningOf(error),
  }));
  return {
    verdict: Promise.race([verdict, lost.promise]),
    abort(reason) {
      controller.abort(reason);
      if (reason instanceof StaleLease) lost.resolve(null);
    },
  };
}

async function handle(messageType: MessageType, delivery: Delivery, ctx: HandlerContext): Promise<Json> {
  const parsed = await messageType.payload.safeParseAsync(delivery.body);
  if (!parsed.success) throw new InvalidPayload(refusalOf(messageType.type, parsed.error).message);
  const result = await messageType.handle(parsed.data, ctx);
  try {
    return toJson(result);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UnstorableResult(`The handler finished, but its result cannot be stored: ${reason}`);
  }
}

/** A handler that ignores its signal keeps running, but nobody waits for it. */
async function within<T>(ms: number, clock: Clock, controller: AbortController, run: () => Promise<T>): Promise<T> {
  const finished = new AbortController();
  const late = clock.sleep(ms, finished.signal).then(() => {
    const timeout = new Timeout(`The handler did not finish within ${ms} ms.`);
    if (!finished.signal.aborted) controller.abort(timeout);
    throw timeout;
  });
  late.catch(() => {}); // after the race nobody listens
  try {
    return await Promise.race([run(), late]);
  } finally {
    finished.abort();
  }
}

function contextOf(
  delivery: Delivery,
  workshop: Workshop,
  signal: AbortSignal,
  onProgress: (value: Json) => void,
): HandlerContext {
  const { id, message_type: type, retry_count: retryCount, max_retries: maxRetries, fence } = delivery;
  return {
    envelope: {
      id,
      type,
      queue: delivery.queue_name,
      priority: delivery.priority,
      headers: delivery.headers as JsonObject, // CHECK constraints make both columns objects
      metadata: delivery.metadata as JsonObject,
      retryCount,
      maxRetries,
      createdAt: delivery.created_at,
    },
    fence,
    signal,
    log: workshop.log.with({ id, type, attempt: retryCount + 1 }),
    progress: (value) => onProgress(toJson(value)),
    db: workshop.db,
  };
}
