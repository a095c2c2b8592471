// Metrics of a period, and counters for Prometheus.
import { createRoute, z } from "@hono/zod-openapi";
import type { Database } from "../db.ts";
import { moment } from "../fields.ts";
import { callFor, errors, get, type OperatorApp, replies } from "./app.ts";
import { count, duration, noQuery, time, whole } from "./fields.ts";
import { type Counters, renderPrometheus } from "./prometheus.ts";

const share = z.number().min(0).max(1).nullable().describe("0 to 1; null if no message ended");
const wait = z.number().nullable().describe("milliseconds from due to taken; null if no message was taken");

const durations = {
  averageProcessingTime: duration,
  p50ProcessingTime: duration,
  p95ProcessingTime: duration,
  p99ProcessingTime: duration,
};

const group = z.record(
  z.string(),
  z.object({
    processed: count,
    succeeded: count,
    failed: count.describe("messages that became dead letters"),
    retried: count.describe("failed deliveries that are tried again"),
    dispatched: count,
    ...durations,
  }).openapi("MetricsGroup"),
);

const point = z.object({
  at: time.describe("where the step begins"),
  dispatched: count,
  completed: count,
  failed: count.describe("failed deliveries: retried and dead"),
  retried: count,
  dead: count.describe("messages that became dead letters"),
  p50: duration,
  p95: duration,
  averageWait: wait,
}).openapi("MetricsPoint");

export const metricsReply = z.object({
  from: time,
  to: time,
  totalProcessed: count.describe("completed and dead messages"),
  totalSucceeded: count,
  totalFailed: count.describe("messages that became dead letters"),
  totalDispatched: count,
  totalRetried: count.describe("failed deliveries that are tried again"),
  ...durations,
  averageWait: wait,
  successRate: share,
  failureRate: share,
  byMessageType: group,
  byTransport: group,
  errors: z.array(z.object({
    errorClass: z.string(),
    messageType: z.string(),
    error: z.string().nullable().describe("the text of the latest one"),
    count,
    lastAt: time,
  })).describe("the ten most frequent errors"),
  series: z.array(point).describe("at most 180 points"),
  stepSeconds: count.describe("seconds between two points of the series"),
}).openapi("Metrics");
export type Metrics = z.output<typeof metricsReply>;

const getMetrics = createRoute({
  ...get,
  path: "/metrics",
  summary: "Get totals, durations, errors and a time series of a period",
  request: {
    query: z.strictObject({
      minutes: whole(1, 525_600).optional().describe("the last so many minutes; default: 60"),
      from: moment.optional(),
      to: moment.optional(),
    }),
  },
  responses: replies(metricsReply, "The figures of the period"),
});

const getPrometheus = createRoute({
  ...get,
  path: "/metrics.prom",
  summary: "Get counters and gauges for Prometheus",
  request: { query: noQuery },
  responses: {
    200: { description: "Exposition format 0.0.4", content: { "text/plain": { schema: z.string() } } },
    ...errors,
  },
});

export function addMonitorCalls(app: OperatorApp, db: Database): void {
  app.openapi(getMetrics, async (c) => {
    const { minutes, from, to } = c.req.valid("query");
    return c.json(await callFor(metricsReply, db, "messenger_metrics", { minutes, from_time: from, to_time: to }), 200);
  });
  app.openapi(getPrometheus, async (c) => {
    // The function's comment describes the type.
    const counters = await db.call("messenger_counters", {}) as unknown as Counters;
    return c.text(renderPrometheus(counters, Date.now()), 200, {
      "content-type": "text/plain; version=0.0.4; charset=utf-8",
    });
  });
}
