// The calls of the monitor edge function: what each takes and answers.
import { createRoute, z } from "@hono/zod-openapi";
import { moment } from "./fields.ts";
import * as reply from "./operator_replies.ts";
import { replies, SECURITY } from "./operators/app.ts";

const whole = (min: number, max: number) =>
  z.string().regex(/^\d{1,9}$/, { error: `expected a whole number from ${min} to ${max}` }).transform(Number)
    .pipe(z.int().min(min).max(max)).openapi({ type: "integer", minimum: min, maximum: max });
const flag = z.enum(["true", "false"]).transform((text) => text === "true").openapi({ type: "boolean" });
const text = z.string().max(300);

const page = { limit: whole(1, 200).default(50), cursor: z.string().max(2_000).optional() };
const range = { from: moment.optional(), to: moment.optional() };
const route = { transport: text.optional(), queue: text.optional(), type: text.optional() };
const one = z.object({ id: z.uuid() });

const get = { method: "get" as const, tags: ["monitor"], security: SECURITY };
const nothing = z.strictObject({});

export const getStatus = createRoute({
  ...get,
  path: "/status",
  summary: "How much there is",
  request: { query: nothing },
  responses: replies(reply.status, "Figures of the whole installation"),
});

export const getHealth = createRoute({
  ...get,
  path: "/health",
  summary: "Whether it moves",
  request: { query: nothing },
  responses: {
    ...replies(reply.health, "Healthy, or degraded: something wants attention"),
    503: {
      description: "Unhealthy: messages are not handled",
      content: { "application/json": { schema: reply.health } },
    },
  },
});

export const getMetrics = createRoute({
  ...get,
  path: "/metrics",
  summary: "What was done in a window of time: totals, times, errors, and a series to draw",
  request: { query: z.strictObject({ minutes: whole(1, 525_600).optional(), ...range }) },
  responses: replies(reply.metrics, "Figures of the window; the last 60 minutes unless told"),
});

export const getPrometheus = createRoute({
  ...get,
  path: "/metrics.prom",
  summary: "Counters for Prometheus",
  request: { query: nothing },
  responses: {
    200: { description: "Exposition format 0.0.4", content: { "text/plain": { schema: z.string() } } },
    default: { description: "An error", content: { "application/json": { schema: reply.error } } },
  },
});

export const getQueues = createRoute({
  ...get,
  path: "/queues",
  summary: "Queues that hold unfinished messages or are paused",
  request: { query: nothing },
  responses: replies(reply.queues, "Queues"),
});

export const getMessages = createRoute({
  ...get,
  path: "/messages",
  summary: "Messages, newest first, without their bodies",
  request: {
    query: z.strictObject({
      id: z.uuid().optional(),
      status: z.enum(["pending", "processing", "completed", "failed"]).optional(),
      ...route,
      errorClass: text.optional(),
      idempotencyKey: text.optional(),
      orderingKey: text.optional(),
      createdBy: z.uuid().optional(),
      ...range,
      ...page,
    }),
  },
  responses: replies(reply.messages, "A page"),
});

export const getMessage = createRoute({
  ...get,
  path: "/messages/{id}",
  summary: "One message with its body and failed deliveries",
  request: { params: one, query: nothing },
  responses: replies(reply.oneMessage, "The message"),
});

export const getExplanation = createRoute({
  ...get,
  path: "/messages/{id}/explain",
  summary: "Why a message is not running, and what fixes it",
  request: { params: one, query: nothing },
  responses: replies(reply.explanation, "Reasons, those that block first"),
});

export const getFailed = createRoute({
  ...get,
  path: "/failed",
  summary: "Dead letters, newest first, without their bodies",
  request: {
    query: z.strictObject({
      ...route,
      errorClass: text.optional(),
      ...range,
      resolved: flag.optional(),
      ...page,
      offset: whole(0, 10_000).default(0),
    }),
  },
  responses: replies(reply.failed, "A page; open ones unless resolved is true"),
});

export const getOneFailed = createRoute({
  ...get,
  path: "/failed/{id}",
  summary: "One dead letter with its body and attempts",
  request: { params: one, query: nothing },
  responses: replies(reply.oneFailed, "The dead letter"),
});

export const getSchedules = createRoute({
  ...get,
  path: "/schedules",
  summary: "Schedules in order of their names",
  request: {
    query: z.strictObject({ type: text.optional(), name: text.optional(), enabled: flag.optional(), ...page }),
  },
  responses: replies(reply.schedules, "A page"),
});

export const getPreview = createRoute({
  ...get,
  path: "/schedules/preview",
  summary: "When a schedule would run: a stored one by its name, or one that is described here",
  request: {
    query: z.strictObject({
      name: text.optional(),
      cron: text.optional(),
      interval: whole(1, 999_999_999).optional(),
      at: moment.optional(),
      startAt: moment.optional(),
      timezone: text.optional(),
      dstGap: z.enum(["run_after", "skip"]).optional(),
      dstOverlap: z.enum(["first", "second", "both"]).optional(),
      startsAt: moment.optional(),
      endsAt: moment.optional(),
      from: moment.optional(),
      count: whole(1, 100).default(10),
    }),
  },
  responses: replies(reply.preview, "The next runs"),
});

export const getTransports = createRoute({
  ...get,
  path: "/transports",
  summary: "Transports with their settings",
  request: { query: nothing },
  responses: replies(reply.transports, "Transports"),
});

export const getWorkers = createRoute({
  ...get,
  path: "/workers",
  summary: "Workers that asked within the last hour",
  request: { query: nothing },
  responses: replies(reply.workers, "Workers"),
});

export const getAudit = createRoute({
  ...get,
  path: "/audit",
  summary: "The invariants, checked in one snapshot",
  request: { query: nothing },
  responses: replies(reply.audit, "Each with the number of rows that break it: zero, always"),
});
