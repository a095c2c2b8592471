// What an edge function opens once, when its isolate starts.
import { systemClock } from "./clock.ts";
import { connect, connectionOf } from "./db.ts";
import { readEnv } from "./env.ts";
import { createLog } from "./log.ts";
import { createRegistry, type MessageType } from "./message.ts";
import type { Middleware } from "./middleware.ts";
import { createRegistration } from "./registration.ts";
import { openTracer } from "./tracing/tracer.ts";
import { supabaseReceiver } from "./transports/supabase.ts";
import { createWorkerSecret } from "./http/worker_secret.ts";

/**
 * @param messageTypes what this deployment can handle
 * @param middleware what runs around each delivery, in this order
 */
export function bootstrap(
  app: string,
  messageTypes: readonly MessageType[],
  middleware: readonly Middleware[] = [],
) {
  const env = readEnv();
  const worker = `edge-${env.region.slice(0, 40)}-${crypto.randomUUID().slice(0, 8)}`;
  const log = createLog({ app, worker });
  const db = connect(connectionOf(env));
  // One bad definition must not keep the others, or the dispatch of anything else, from working.
  const registry = createRegistry(messageTypes, ({ type, field, message }) => {
    log.error("message type rejected", { type, field, reason: message });
  });
  const resource = { "service.instance.id": worker, "faas.name": app, "cloud.region": env.region };
  const tracer = openTracer(env.traces, resource, log, systemClock);
  return {
    env,
    log,
    db,
    registry,
    middleware,
    tracer,
    /** Unique per isolate, and telling where it runs. */
    worker,
    clock: systemClock,
    receiver: supabaseReceiver(db),
    register: createRegistration(db, registry, log, env.retry),
    workerSecret: createWorkerSecret(db, systemClock, env.worker.secret),
  };
}
