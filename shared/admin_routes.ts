// The calls of the admin edge function: what each takes and answers.
import { createRoute, z } from "@hono/zod-openapi";
import { moment } from "./fields.ts";
import * as reply from "./operator_replies.ts";
import { bodyOf, boundedBody, replies, SECURITY } from "./operators/app.ts";
import { scheduleRequest } from "./schedule.ts";

const one = z.object({ id: z.uuid() });
const named = z.object({ name: z.string().min(1).max(300) });
const queue = z.object({ transport: z.string().min(1).max(100), queue: z.string().min(1).max(100) });
const payload = z.record(z.string(), z.unknown());

const filter = z.strictObject({
  transport: z.string().optional(),
  queue: z.string().optional(),
  type: z.string().optional(),
  errorClass: z.string().optional(),
  from: moment.optional(),
  to: moment.optional(),
}).describe("what is left out is not asked for; {} means all");
const deadLetters = {
  ids: z.array(z.uuid()).max(10_000).optional().describe("either these"),
  filter: filter.optional().describe("or these"),
  max: z.int().min(1).max(10_000).optional().describe("1,000 unless told"),
};

const common = { tags: ["admin"], security: SECURITY };
const post = { ...common, method: "post" as const };
const put = { ...common, method: "put" as const };
const remove = { ...common, method: "delete" as const };
const required = boundedBody(false);
const optional = boundedBody(true);

export const retryOne = createRoute({
  ...post,
  path: "/failed/{id}/retry",
  summary: "Put the message of a dead letter back into its queue, with another payload if one is given",
  middleware: optional,
  request: { params: one, body: bodyOf(z.strictObject({ payload: payload.optional() }), false) },
  responses: replies(reply.retried, "It waits again, with all its retries"),
});

export const retryMany = createRoute({
  ...post,
  path: "/failed/retry",
  summary: "Retry many dead letters, so many a second if told",
  middleware: required,
  request: {
    body: bodyOf(z.strictObject({
      ...deadLetters,
      perSecond: z.int().min(1).max(1_000).optional().describe("stops when more than a fifth die again"),
    })),
  },
  responses: replies(reply.retriedMany, "What became of each"),
});

export const discardOne = createRoute({
  ...remove,
  path: "/failed/{id}",
  summary: "Give up on a dead letter",
  request: { params: one },
  responses: replies(reply.discarded, "It is resolved as discarded"),
});

export const discardMany = createRoute({
  ...post,
  path: "/failed/discard",
  summary: "Give up on many dead letters",
  middleware: required,
  request: { body: bodyOf(z.strictObject(deadLetters)) },
  responses: replies(reply.discarded, "How many were open"),
});

export const cancelMessage = createRoute({
  ...post,
  path: "/messages/{id}/cancel",
  summary: "Cancel a message; one that is running is asked to stop",
  request: { params: one },
  responses: replies(reply.cancelled, "What became of it"),
});

export const putSchedule = createRoute({
  ...put,
  path: "/schedules/{name}",
  summary: "Make or change a schedule",
  middleware: required,
  request: {
    params: named,
    body: bodyOf(
      scheduleRequest.omit({ name: true }).extend({
        type: z.string(),
        payload: payload.optional(),
        headers: payload.optional(),
      }),
    ),
  },
  responses: replies(reply.oneSchedule, "The schedule"),
});

export const removeSchedule = createRoute({
  ...remove,
  path: "/schedules/{name}",
  summary: "Remove a schedule; what it has dispatched stays",
  request: { params: named },
  responses: replies(reply.removed, "It is gone"),
});

export const pauseSchedule = createRoute({
  ...post,
  path: "/schedules/{name}/pause",
  summary: "Let a schedule rest",
  request: { params: named },
  responses: replies(reply.switched, "It rests"),
});

export const resumeSchedule = createRoute({
  ...post,
  path: "/schedules/{name}/resume",
  summary: "Let a schedule run again, from its next moment on",
  request: { params: named },
  responses: replies(reply.switched, "It runs"),
});

export const pauseQueue = createRoute({
  ...post,
  path: "/queues/{transport}/{queue}/pause",
  summary: "Hand out nothing more of a queue; what runs may finish",
  request: { params: queue },
  responses: replies(reply.paused, "It is paused"),
});

export const resumeQueue = createRoute({
  ...post,
  path: "/queues/{transport}/{queue}/resume",
  summary: "Let a queue run again",
  request: { params: queue },
  responses: replies(reply.paused, "It runs"),
});

export const putTransport = createRoute({
  ...put,
  path: "/transports/{name}",
  summary: "Make a transport, or change what is given of it",
  middleware: required,
  request: {
    params: named,
    body: bodyOf(z.strictObject({
      type: z.enum(["sync", "supabase", "redis", "rabbitmq", "sqs"]).optional(),
      config: payload.optional().describe("replaces the whole of it; secrets are named, never held"),
      enabled: z.boolean().optional(),
    })),
  },
  responses: replies(reply.oneTransport, "The transport"),
});

export const putFlag = createRoute({
  ...put,
  path: "/flags/{name}",
  summary: "Set a flag to a percentage of its subjects; raising it only adds subjects",
  middleware: required,
  request: {
    params: named,
    body: bodyOf(z.union([
      z.strictObject({ percent: z.int().min(0).max(100) }),
      z.strictObject({ enabled: z.boolean() }),
    ], { error: 'expected {"percent": a whole number from 0 to 100} or {"enabled": true or false}' })),
  },
  responses: replies(reply.flag, "The flag"),
});
