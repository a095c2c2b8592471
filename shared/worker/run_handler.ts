// Runs one handler: checks the payload, limits the time, runs middleware, and returns the outcome.
import type { Clock } from "../clock.ts";
import { Completion } from "./completion.ts";
import type { Database } from "../db.ts";
import { StaleLease } from "../errors.ts";
import { InvalidPayload, outcomeOf, unreserved } from "./failure.ts";
import { type Json, type JsonObject, toJson } from "../json.ts";
import type { Log } from "../log.ts";
import { type HandlerContext, senderOf } from "../handler_context.ts";
import { DEFAULT_TIMEOUT, type MessageType, type Registry } from "../message.ts";
import { chain, type DeliveryResult, logging, type Middleware, timing } from "../middleware.ts";
import { invalidPayloadError, parsePayload } from "../payload.ts";
import { storableResult } from "./result.ts";
import type { Tracer } from "../tracing/span.ts";
import { traceDelivery } from "../tracing/instrument.ts";
import type { Delivery } from "../delivery.ts";

export interface HandlerRuntime {
  registry: Registry;
  db: Database;
  log: Log;
  clock: Clock;
  /** Runs inside logging and timing; the first is the outermost. */
  middleware?: readonly Middleware[];
  /** Receives the spans of deliveries; default: none are recorded. */
  tracer?: Tracer;
}

export interface Execution {
  /** Never rejects. Null: the lease was lost, so nothing is recorded. */
  readonly result: Promise<DeliveryResult>;
  /** Aborts the handler's signal; with StaleLease as the reason the outcome is null at once. */
  abort(reason: Error): void;
}

class Timeout extends Error {
  override readonly name = "Timeout";
}

/** Calls a type's handler with a parsed payload; its result is the message's. */
export type Invoke = (messageType: MessageType, payload: unknown, ctx: HandlerContext) => unknown;

/** Starts the handler of a claimed message. `onProgress` gets each value that the handler reports. */
export function runHandler(
  delivery: Delivery,
  runtime: HandlerRuntime,
  onProgress: (value: Json) => void,
  invoke: Invoke,
): Execution {
  const { registry, clock, db } = runtime;
  const { id, fence } = delivery;
  const controller = new AbortController();
  const lost = Promise.withResolvers<null>();
  const abort = (reason: Error) => {
    controller.abort(reason);
    if (reason instanceof StaleLease) lost.resolve(null);
  };
  const completion = new Completion({ id, fence }, db, clock, controller.signal, abort);
  const messageType = registry.find(delivery.message_type);
  const ctx = contextOf(delivery, runtime, completion, onProgress);
  const endSpan = traceDelivery(ctx, runtime.tracer);

  let isInvalid = false;
  const attempt = async (): Promise<DeliveryResult> => {
    // The type is unknown only if its definition was removed after the claim; another worker may still have it.
    if (!messageType) return { id, fence, outcome: "released" };
    try {
      const result = await withTimeout(messageType.timeout ?? DEFAULT_TIMEOUT, clock, controller, async () => {
        const parsed = await parsePayload(messageType, delivery.body);
        isInvalid = !parsed.success;
        if (!parsed.success) {
          throw new InvalidPayload(invalidPayloadError(messageType.type, parsed.error, delivery.body).message);
        }
        const result = await invoke(messageType, parsed.data, ctx);
        await completion.idle();
        return completion.completed ? null : storableResult(result, ctx.log);
      });
      return recorded() ?? { id, fence, outcome: "completed", result };
    } catch (error) {
      if (completion.completed) ctx.log.warn("the handler failed after its message was completed", { error });
      return recorded() ?? (error instanceof StaleLease ? null : { id, fence, ...outcomeOf(error) });
    }
  };
  const recorded = (): DeliveryResult | undefined => {
    const { completed } = completion;
    if (!completed) return undefined;
    const result = completed.outcome === "completed" ? completed.result : null;
    return { id, fence, outcome: "completed", result, recorded: true };
  };
  const around = [logging, timing(clock), ...runtime.middleware ?? []];
  const ended = chain(around, ctx, attempt)()
    .catch((error: unknown): DeliveryResult => ({ id, fence, ...outcomeOf(error) }))
    .then((outcome) => {
      // Middleware may replace outcomes, but the reserved class is for invalid payloads only, and never with a retry.
      const isOfSchema = isInvalid && outcome?.outcome === "failed" && !outcome.retryable;
      if (runtime.middleware?.length && outcome?.outcome === "completed") {
        outcome = { ...outcome, result: storableResult(outcome.result, ctx.log) };
      }
      return recorded() ?? (isOfSchema ? outcome : unreserved(outcome));
    });
  const result = Promise.race([ended, lost.promise]);
  result.then(endSpan);
  return {
    result,
    abort(reason) {
      // A heartbeat beside a completion may find the lease gone because the completion has ended it.
      const isCompleting = reason instanceof StaleLease && (completion.isRunning || completion.completed);
      if (!isCompleting) abort(reason);
    },
  };
}

/** A handler that ignores its signal keeps running; its result is discarded. */
async function withTimeout<T>(
  ms: number,
  clock: Clock,
  controller: AbortController,
  run: () => Promise<T>,
): Promise<T> {
  const finished = new AbortController();
  const late = clock.sleep(ms, finished.signal).then(() => {
    const timeout = new Timeout(`The handler did not finish within ${ms} ms.`);
    if (!finished.signal.aborted) controller.abort(timeout);
    throw timeout;
  });
  late.catch(() => {}); // after the race nothing awaits it
  try {
    return await Promise.race([run(), late]);
  } finally {
    finished.abort();
  }
}

function contextOf(
  delivery: Delivery,
  runtime: HandlerRuntime,
  completion: Completion,
  onProgress: (value: Json) => void,
): HandlerContext {
  const { id, message_type: type, retry_count: retryCount, max_retries: maxRetries, fence } = delivery;
  const headers = delivery.headers as JsonObject; // CHECK constraints make both columns objects
  return {
    envelope: {
      id,
      type,
      queue: delivery.queue_name,
      priority: delivery.priority,
      sender: senderOf(headers),
      headers,
      metadata: delivery.metadata as JsonObject,
      retryCount,
      maxRetries,
      createdAt: delivery.created_at,
    },
    fence,
    signal: completion.signal,
    log: runtime.log.with({ id, type, attempt: retryCount + 1 }),
    traceparent: "", // set by traceDelivery
    progress: (value) => onProgress(toJson(value)),
    completeWith: (functionName, args) => completion.with(functionName, args),
    db: runtime.db,
  };
}
