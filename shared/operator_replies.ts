// What the monitor and admin edge functions answer, as schemas: the document of their API is made from these, and tests hold replies against them.
import { z } from "@hono/zod-openapi";

const time = z.iso.datetime({ offset: true });
const count = z.int().min(0);
const json = z.record(z.string(), z.unknown());
const share = z.number().min(0).max(1).nullable().describe("0 to 1; null where nothing ended");
const ms = z.number().nullable().describe("milliseconds; null where nothing ended");

const lastPage = {
  limit: count,
  hasMore: z.boolean(),
  nextCursor: z.string().nullable().describe("give it as cursor for what follows"),
  total: count.describe("exact to 10,000, then estimated"),
  estimated: z.boolean(),
};
const searched = { searchedTo: time.nullable().describe("the look ended here without having filled the page") };

export const status = z.looseObject({
  queue: z.object({
    depth: count,
    pending: count,
    processing: count,
    completed: count,
    failed: count,
    estimated: z.boolean(),
  }),
  dead_letters: count,
  transports: z.array(z.object({ name: z.string(), type: z.string(), enabled: z.boolean() })).nullable(),
  workers: z.array(z.object({ worker: z.string(), started_at: time, polled_at: time })),
  clock: z.looseObject({ enabled: z.boolean(), last_tick_at: time.nullable() }),
  timestamp: time,
}).openapi("Status");

export const health = z.object({
  status: z.enum(["healthy", "degraded", "unhealthy"]),
  checks: z.array(z.looseObject({
    name: z.string(),
    status: z.enum(["healthy", "degraded", "unhealthy"]),
    detail: z.string(),
    remedy: z.string().optional(),
  })),
  timestamp: time,
  metrics: json,
}).openapi("Health");

const figures = {
  averageProcessingTime: ms,
  p50ProcessingTime: ms,
  p95ProcessingTime: ms,
  p99ProcessingTime: ms,
};
const group = z.record(
  z.string(),
  z.looseObject({ processed: count, succeeded: count, failed: count, retried: count, dispatched: count, ...figures }),
);

export const metrics = z.looseObject({
  from: time,
  to: time,
  totalProcessed: count,
  totalSucceeded: count,
  totalFailed: count,
  totalDispatched: count,
  totalRetried: count,
  ...figures,
  successRate: share,
  failureRate: share,
  byMessageType: group,
  byTransport: group,
  errors: z.array(z.looseObject({ errorClass: z.string(), messageType: z.string(), count })),
  series: z.array(z.looseObject({ at: time, dispatched: count, completed: count, failed: count })),
}).openapi("Metrics");

const message = z.looseObject({
  id: z.uuid(),
  message_type: z.string(),
  transport_name: z.string(),
  queue_name: z.string(),
  priority: z.int(),
  status: z.enum(["pending", "processing", "completed", "failed"]),
  available_at: time.nullable().describe("null while blocked"),
  blocked: z.boolean().describe("it waits for the message before it with the same ordering key"),
  created_at: time,
  processed_at: time.nullable(),
  retry_count: count,
  max_retries: count,
  error_class: z.string().nullable(),
  last_error: z.string().nullable(),
});
export const messages = z.object({
  messages: z.array(message.openapi("MessageSummary")),
  pagination: z.object({ ...lastPage, ...searched }),
}).openapi("Messages");

export const oneMessage = message.extend({
  body: json,
  headers: json,
  metadata: json,
  attempts: z.array(json),
  dead_letters: z.array(json),
}).openapi("Message");

export const explanation = z.object({
  id: z.uuid(),
  status: z.string(),
  reasons: z.array(z.object({ reason: z.string(), detail: z.string(), remedy: z.string().nullable() })),
}).openapi("Explanation");

const deadLetter = z.looseObject({
  id: z.uuid(),
  message_id: z.uuid(),
  transport_name: z.string(),
  queue_name: z.string(),
  message_type: z.string(),
  error: z.string().nullable(),
  error_class: z.string().nullable(),
  retry_count: count,
  failed_at: time,
  resolved_at: time.nullable(),
  resolution: z.enum(["retried", "discarded"]).nullable(),
});
export const failed = z.object({
  messages: z.array(deadLetter.openapi("DeadLetterSummary")),
  pagination: z.object({ ...lastPage, ...searched, offset: count }),
}).openapi("DeadLetters");
export const oneFailed = deadLetter.extend({ body: json, headers: json, attempts: z.array(json) }).openapi(
  "DeadLetter",
);

export const queues = z.object({
  queues: z.array(z.looseObject({
    transport_name: z.string(),
    queue_name: z.string(),
    paused_at: time.nullable(),
    pending: count,
    due: count,
    processing: count,
    oldest_due_at: time.nullable(),
    awake_workers: count,
  })),
}).openapi("Queues");

const transport = z.looseObject({ name: z.string(), type: z.string(), config: json, enabled: z.boolean() });
export const oneTransport = transport.openapi("Transport");
export const transports = z.object({ transports: z.array(oneTransport) }).openapi("Transports");

export const workers = z.object({
  workers: z.array(z.looseObject({ worker: z.string(), polled_at: time, awake: z.boolean(), processing: count })),
}).openapi("Workers");

export const audit = z.object({
  invariants: z.array(z.object({ invariant: z.string(), violations: count })),
  violations: count,
}).openapi("Audit");

export const oneSchedule = z.looseObject({
  name: z.string(),
  message_type: z.string(),
  schedule_type: z.enum(["once", "cron", "interval"]),
  schedule_config: json,
  timezone: z.string(),
  next_run_at: time.nullable(),
  enabled: z.boolean(),
}).openapi("Schedule");
export const schedules = z.object({ schedules: z.array(oneSchedule), pagination: z.object(lastPage) })
  .openapi("Schedules");
export const preview = z.object({
  runs: z.array(z.object({ runAt: time.nullable(), localTime: z.string(), note: z.string().nullable() })),
}).openapi("Preview");

const done = z.object({ success: z.literal(true) });
export const removed = done.openapi("Done");
export const retried = done.extend({ outcome: z.literal("retried"), id: z.uuid(), messageId: z.uuid() })
  .openapi("Retried");
export const retriedMany = done.extend({
  retried: count,
  results: z.array(z.object({ id: z.uuid(), messageId: z.uuid().nullable(), outcome: z.string() })),
}).openapi("RetriedMany");
export const discarded = done.extend({ discarded: count }).openapi("Discarded");
export const cancelled = done.extend({ outcome: z.enum(["cancelled", "requested", "finished"]) }).openapi("Cancelled");
export const switched = done.extend({ enabled: z.boolean(), nextRunAt: time.nullable() }).openapi("ScheduleSwitched");
export const paused = done.extend({ paused: z.boolean() }).openapi("QueueSwitched");
export const flag = z.object({
  name: z.string(),
  percent: count.max(100),
  updated_by: z.string().nullable(),
  updated_at: time,
}).openapi("Flag");

export const error = z.object({
  error: z.object({ code: z.string(), message: z.string(), hint: z.string(), request_id: z.string() }),
}).openapi("Refusal");
