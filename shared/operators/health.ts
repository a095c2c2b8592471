// The state of the whole installation: figures, health checks, workers and the audit of the invariants.
import { createRoute, z } from "@hono/zod-openapi";
import type { Database } from "../db.ts";
import { callFor, get, type OperatorApp, replies } from "./app.ts";
import { count, jsonObject, noQuery, time } from "./fields.ts";

const messageCounts = z.object({
  depth: count.describe("unfinished messages"),
  pending: count,
  processing: count,
  completed: count,
  failed: count,
  estimated: z.boolean().describe("some of them are above 10,000 and estimates"),
}).openapi("MessageCounts");

const replay = z.object({
  id: z.uuid(),
  started_at: time,
  per_second: count.describe("messages per second"),
  total: count,
  completed: count,
  dead: count.describe("messages that are dead letters again"),
  lapsed: count.describe("messages that expired or were cancelled"),
  returned: count.describe("messages that became dead letters again because the replay was stopped"),
  remaining: count,
  stopped_at: time.nullable(),
  stop_reason: z.string().nullable(),
  finished_at: time.nullable(),
}).openapi("Replay");
export type Replay = z.output<typeof replay>;

export const statusReply = z.object({
  queue: messageCounts,
  dead_letters: count.describe("open dead letters; estimated above 10,000"),
  transports: z.array(z.object({ name: z.string(), type: z.string(), enabled: z.boolean() })).nullable()
    .describe("null if there are none"),
  workers: z.array(z.object({ worker: z.string(), started_at: time, polled_at: time }))
    .describe("workers that requested messages within the last minute"),
  clock: z.object({
    enabled: z.boolean(),
    last_tick_at: time.nullable(),
    ticks: count.nullable(),
    last_error: z.string().nullable(),
    last_error_at: time.nullable(),
  }).describe("the ticker"),
  replays: z.array(replay).describe("retries at a rate: running ones, and those that ended within a day"),
  functions_url: z.string().nullable().describe("the URL to which wake-ups are sent"),
  pruned: count.describe("messages pruned since the installation"),
  timestamp: time.describe("the database's time"),
}).openapi("Status");
export type Status = z.output<typeof statusReply>;

const level = z.enum(["healthy", "degraded", "unhealthy"]);
const check = z.object({
  name: z.string(),
  status: level,
  detail: z.string(),
  remedy: z.string().optional().describe("the fix; left out if the check is healthy"),
  figures: jsonObject.optional().describe("the numbers behind the check"),
}).openapi("Check");
export type Check = z.output<typeof check>;

export const healthReply = z.object({
  status: level.describe("that of the worst check"),
  checks: z.array(check),
  timestamp: time,
  metrics: messageCounts,
}).openapi("Health");
export type Health = z.output<typeof healthReply>;

const worker = z.object({
  worker: z.string(),
  transport_name: z.string().nullable().describe("null for all transports"),
  queues: z.array(z.string()).nullable().describe("null for all queues"),
  types: z.array(z.string()).nullable().describe("null for all message types"),
  started_at: time,
  polled_at: time.describe("when it last requested messages"),
  active_until: time.nullable().describe("the end of the wait for messages that it has announced"),
  awake: z.boolean().describe("it requested messages within two poll intervals, or waits for them"),
  processing: count,
}).openapi("Worker");
export type Worker = z.output<typeof worker>;

export const workersReply = z.object({ workers: z.array(worker) }).openapi("Workers");
export type Workers = z.output<typeof workersReply>;

export const auditReply = z.object({
  invariants: z.array(z.object({ invariant: z.string(), violations: count.describe("rows that violate it") })),
  violations: count.describe("the sum; it must be 0"),
}).openapi("Audit");

const getStatus = createRoute({
  ...get,
  path: "/status",
  summary: "Get the figures of the whole installation",
  request: { query: noQuery },
  responses: replies(statusReply, "The figures"),
});

const getHealth = createRoute({
  ...get,
  path: "/health",
  summary: "Run the health checks",
  request: { query: noQuery },
  responses: {
    ...replies(healthReply, "Healthy, or degraded: messages are handled, and something needs attention"),
    503: {
      description: "Unhealthy: messages are not handled",
      content: { "application/json": { schema: healthReply } },
    },
  },
});

const listWorkers = createRoute({
  ...get,
  path: "/workers",
  summary: "List the workers that requested messages within the last hour",
  request: { query: noQuery },
  responses: replies(workersReply, "The workers, the latest first"),
});

const runAudit = createRoute({
  ...get,
  path: "/audit",
  summary: "Check the invariants in one snapshot",
  request: { query: noQuery },
  responses: replies(auditReply, "The invariants, each with the number of rows that violate it"),
});

export function addMonitorCalls(app: OperatorApp, db: Database): void {
  app.openapi(getStatus, async (c) => c.json(await callFor(statusReply, db, "messenger_status", {}), 200));
  app.openapi(getHealth, async (c) => {
    const health = await callFor(healthReply, db, "messenger_health", {});
    return c.json(health, health.status === "unhealthy" ? 503 : 200);
  });
  app.openapi(listWorkers, async (c) => c.json(await callFor(workersReply, db, "messenger_list_workers", {}), 200));
  app.openapi(runAudit, async (c) => {
    const invariants = await db.call("messenger_audit", {});
    return c.json({ invariants, violations: invariants.reduce((sum, { violations }) => sum + violations, 0) }, 200);
  });
}
