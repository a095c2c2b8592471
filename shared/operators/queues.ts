// Queues: their figures, and their pause.
import { createRoute, z } from "@hono/zod-openapi";
import type { Database } from "../db.ts";
import { callFor, done, get, type LogAction, type OperatorApp, post, replies } from "./app.ts";
import { count, noQuery, time } from "./fields.ts";

/** Messages of one queue that are not finished. */
export const queueFigures = {
  pending: count.describe("messages that no worker has: due, delayed and blocked ones"),
  due: count.describe("messages that a worker may take now"),
  delayed: count.describe("messages that are due later"),
  blocked: count.describe("messages that wait for the one before them with the same ordering key"),
  processing: count,
  oldest_due_at: time.nullable().describe("since when the oldest message is due; null if none is"),
  estimated: z.boolean().describe("more than 10,000 messages are unfinished, and the figures are estimates"),
};

const queue = z.object({
  transport_name: z.string(),
  queue_name: z.string(),
  paused_at: time.nullable().describe("since when the queue is paused; null if it is not"),
  transport_enabled: z.boolean().nullable().describe("null if the transport does not exist"),
  runs_since: time.nullable()
    .describe("when the queue was last resumed or its transport last changed: no message was overdue before"),
  awake_workers: count.describe(
    "workers that requested messages of this queue within two poll intervals, or wait for them",
  ),
  ...queueFigures,
}).openapi("Queue");
export type Queue = z.output<typeof queue>;

export const queuesReply = z.object({ queues: z.array(queue) }).openapi("Queues");
export type Queues = z.output<typeof queuesReply>;
export const queueSwitchedReply = done.extend({ paused: z.boolean() }).openapi("QueueSwitched");

const listQueues = createRoute({
  ...get,
  path: "/queues",
  summary: "List the queues that hold unfinished messages or are paused",
  request: { query: noQuery },
  responses: replies(queuesReply, "The queues in order of transport and name"),
});

const queueInPath = z.object({ transport: z.string().min(1).max(100), queue: z.string().min(1).max(100) });

const pauseQueue = createRoute({
  ...post,
  path: "/queues/{transport}/{queue}/pause",
  summary: "Pause a queue: workers get no more of its messages; running handlers finish",
  request: { params: queueInPath },
  responses: replies(queueSwitchedReply, "The queue is paused"),
});

const resumeQueue = createRoute({
  ...post,
  path: "/queues/{transport}/{queue}/resume",
  summary: "Resume a paused queue",
  request: { params: queueInPath },
  responses: replies(queueSwitchedReply, "The queue is not paused"),
});

export function addMonitorCalls(app: OperatorApp, db: Database): void {
  app.openapi(listQueues, async (c) => c.json(await callFor(queuesReply, db, "messenger_list_queues", {}), 200));
}

export function addAdminCalls(app: OperatorApp, db: Database, logAction: LogAction): void {
  app.openapi(pauseQueue, async (c) => {
    const queue = c.req.valid("param");
    await db.call("messenger_pause", queue);
    logAction(c, "pause queue", queue);
    return c.json({ success: true as const, paused: true }, 200);
  });
  app.openapi(resumeQueue, async (c) => {
    const queue = c.req.valid("param");
    await db.call("messenger_resume", queue);
    logAction(c, "resume queue", queue);
    return c.json({ success: true as const, paused: false }, 200);
  });
}
