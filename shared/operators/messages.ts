// Messages: searched, shown in full, explained, cancelled.
import { createRoute, z } from "@hono/zod-openapi";
import type { Database } from "../db.ts";
import { SymphonyError } from "../errors.ts";
import { moment } from "../fields.ts";
import { callFor, callList, done, get, type LogAction, type OperatorApp, post, replies } from "./app.ts";
import {
  count,
  filterOf,
  idInPath,
  jsonObject,
  messageStatus,
  noQuery,
  page,
  resolution,
  routeFilter,
  searchPagination,
  searchPaginationOf,
  type SqlSearchPage,
  text,
  time,
} from "./fields.ts";

/** A failed delivery. */
export const attempt = {
  at: time,
  worker: z.string().nullable(),
  error: z.string().nullable(),
  error_class: z.string().nullable(),
  duration_ms: count.nullable().describe("milliseconds; null if the worker did not report them"),
};
const messageAttempt = z.object({
  ...attempt,
  error_trace: z.string().nullable().describe("the stack with its causes"),
  fence: count.describe("the fencing token of the delivery"),
}).openapi("Attempt");
export type Attempt = z.output<typeof messageAttempt>;

const message = z.object({
  id: z.uuid(),
  message_type: z.string(),
  transport_name: z.string(),
  queue_name: z.string(),
  priority: z.int().min(1).max(10).describe("messages of priority 10 are delivered first"),
  status: messageStatus,
  scheduled_at: time.nullable().describe("the moment that the dispatch requested; null for at once"),
  available_at: time.nullable().describe("from when on a worker may take it; null while blocked"),
  blocked: z.boolean().describe("it waits for the message before it with the same ordering key"),
  created_at: time,
  processed_at: time.nullable().describe("when it finished"),
  retry_count: count.describe("failed deliveries since the dispatch or the last retry of its dead letter"),
  max_retries: count,
  error_class: z.string().nullable(),
  last_error: z.string().nullable(),
  locked_by: z.string().nullable().describe("the worker that has the lease"),
  lock_expires_at: time.nullable().describe("when the lease ends"),
  cancel_requested_at: time.nullable(),
  ordering_key: z.string().nullable(),
  idempotency_key: z.string().nullable(),
  created_by: z.uuid().nullable().describe("the user who dispatched it; null for services"),
});

const messageSummary = message.extend({
  last_error: z.string().nullable().describe("the first 200 characters"),
}).openapi("MessageSummary");
export type MessageSummary = z.output<typeof messageSummary>;

export const messagesReply = z.object({ messages: z.array(messageSummary), pagination: searchPagination })
  .openapi("Messages");
export type Messages = z.output<typeof messagesReply>;

export const messageReply = message.extend({
  body: jsonObject.describe("the payload"),
  headers: jsonObject,
  metadata: jsonObject,
  expires_at: time.nullable(),
  updated_at: time,
  fence: count.describe("the fencing token of the last delivery"),
  locked_at: time.nullable().describe("when the lease began"),
  lease_losses: count.describe("deliveries in a row whose worker lost its lease"),
  ordering_seq: z.int().nullable().describe("the position among the messages of its ordering key"),
  result: z.unknown().describe("the return value of the handler; null until it has completed"),
  progress: z.unknown().describe("the last progress that the handler reported; null if it reported none"),
  unrouted: z.array(z.string()).nullable()
    .describe("fields that the route of its type fills in when the type is registered; null if there are none"),
  attempts: z.array(messageAttempt).describe("failed deliveries; when the message fails they move to its dead letter"),
  dead_letters: z.array(z.object({
    id: z.uuid(),
    failed_at: time,
    resolved_at: time.nullable(),
    resolution: resolution.nullable(),
  })).describe("newest first"),
}).openapi("Message");
export type Message = z.output<typeof messageReply>;

const reason = z.object({
  reason: z.string().describe("a name, see docs/troubleshooting.md"),
  detail: z.string(),
  remedy: z.string().nullable().describe("SQL or a command; null if nothing has to be done"),
}).openapi("Reason");
export type Reason = z.output<typeof reason>;

export const explanationReply = z.object({
  id: z.uuid(),
  status: messageStatus,
  reasons: z.array(reason).describe("reasons that block the message come first"),
}).openapi("Explanation");
export type Explanation = z.output<typeof explanationReply>;

export const cancelledReply = done.extend({
  outcome: z.enum(["cancelled", "requested", "finished"])
    .describe("requested: it is running, and its handler was notified; finished: it had ended before"),
}).openapi("Cancelled");
export type Cancelled = z.output<typeof cancelledReply>;

const listMessages = createRoute({
  ...get,
  path: "/messages",
  summary: "Search messages, newest first, without their payloads",
  request: {
    query: z.strictObject({
      id: z.uuid().optional(),
      status: messageStatus.optional(),
      ...routeFilter,
      errorClass: text.optional(),
      idempotencyKey: text.optional(),
      orderingKey: text.optional(),
      createdBy: z.uuid().optional(),
      from: moment.optional().describe("dispatched at this moment or later"),
      to: moment.optional().describe("dispatched before this moment"),
      ...page,
    }),
  },
  responses: replies(messagesReply, "A page of messages"),
});

const getMessage = createRoute({
  ...get,
  path: "/messages/{id}",
  summary: "Get one message with its payload, failed deliveries and dead letters",
  request: { params: idInPath, query: noQuery },
  responses: replies(messageReply, "The message"),
});

const explainMessage = createRoute({
  ...get,
  path: "/messages/{id}/explain",
  summary: "Explain why a message is not running, with remedies",
  request: { params: idInPath, query: noQuery },
  responses: replies(explanationReply, "The reasons"),
});

const cancelMessage = createRoute({
  ...post,
  path: "/messages/{id}/cancel",
  summary: "Cancel a message; the handler of a running one is requested to stop",
  request: { params: idInPath },
  responses: replies(cancelledReply, "The outcome"),
});

type MessageList = SqlSearchPage & Pick<Messages, "messages">;

export function addMonitorCalls(app: OperatorApp, db: Database): void {
  app.openapi(listMessages, async (c) => {
    const { limit, cursor, errorClass, idempotencyKey, orderingKey, createdBy, ...rest } = c.req.valid("query");
    const filter = filterOf({
      ...rest,
      error_class: errorClass,
      idempotency_key: idempotencyKey,
      ordering_key: orderingKey,
      created_by: createdBy,
    });
    const { messages, ...end } = await callList<MessageList>(db, "messenger_list_messages", {
      filter,
      cursor,
      max: limit,
    });
    return c.json({ messages, pagination: searchPaginationOf(end, limit) }, 200);
  });
  app.openapi(getMessage, async (c) => {
    const { id } = c.req.valid("param");
    const found = await callFor(messageReply.nullable(), db, "messenger_get_message", { id });
    if (!found) throw noSuchMessage();
    return c.json(found, 200);
  });
  app.openapi(explainMessage, async (c) => {
    const { id } = c.req.valid("param");
    const [message] = await db.read("messenger_messages", ["status"], { id });
    if (!message) throw noSuchMessage();
    const reasons = await callFor(explanationReply.shape.reasons, db, "messenger_explain", { id });
    return c.json({ id, status: message.status as z.output<typeof messageStatus>, reasons }, 200); // a CHECK constraint
  });
}

export function addAdminCalls(app: OperatorApp, db: Database, logAction: LogAction): void {
  app.openapi(cancelMessage, async (c) => {
    const { id } = c.req.valid("param");
    const result = await db.call("messenger_cancel", { id });
    logAction(c, "cancel", id, result);
    const outcome = cancelledReply.shape.outcome.options.find((each) => each === result);
    if (!outcome) throw noSuchMessage();
    return c.json({ success: true as const, outcome }, 200);
  });
}

function noSuchMessage(): SymphonyError {
  return new SymphonyError("SM_NOT_FOUND", "There is no such message; it may have been pruned.");
}
