// Opens the shared parts of an edge function once, when its isolate starts: environment, log, database and registry.
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
 * @param app the name of the edge function, for logs and traces
 * @param messageTypes the message types of this deployment
 * @param middleware runs around each delivery; the first is the outermost
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
  // A definition with a fault must not stop the other types.
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
    /** Unique per isolate; contains its region. */
    worker,
    clock: systemClock,
    receiver: supabaseReceiver(db),
    register: createRegistration(db, registry, log, env.retry),
    workerSecret: createWorkerSecret(db, systemClock, env.worker.secret),
  };
}
