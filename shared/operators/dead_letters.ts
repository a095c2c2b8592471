// Dead letters: searched, shown in full, retried, discarded.
import { createRoute, z } from "@hono/zod-openapi";
import type { Database } from "../db.ts";
import { SymphonyError } from "../errors.ts";
import { moment } from "../fields.ts";
import type { JsonObject } from "../json.ts";
import {
  bodyOf,
  boundedBody,
  callFor,
  callList,
  done,
  get,
  type LogAction,
  type OperatorApp,
  post,
  remove,
  replies,
} from "./app.ts";
import {
  boolean,
  count,
  filterOf,
  idInPath,
  jsonObject,
  noQuery,
  page,
  resolution,
  routeFilter,
  searchPagination,
  searchPaginationOf,
  type SqlSearchPage,
  text,
  time,
  whole,
} from "./fields.ts";
import { attempt } from "./messages.ts";

const deadLetter = z.object({
  id: z.uuid(),
  message_id: z.uuid(),
  transport_name: z.string(),
  queue_name: z.string(),
  message_type: z.string(),
  error: z.string().nullable(),
  error_class: z.string().nullable(),
  retry_count: count.describe("failed deliveries"),
  max_retries: count,
  failed_at: time,
  created_at: time.describe("when the message was dispatched"),
  idempotency_key: z.string().nullable(),
  resolved_at: time.nullable().describe("null while it is open"),
  resolution: resolution.nullable(),
});

const deadLetterSummary = deadLetter.extend({
  error: z.string().nullable().describe("the first 500 characters"),
  attempt_count: count.describe("stored attempts, at most 20"),
}).openapi("DeadLetterSummary");
export type DeadLetterSummary = z.output<typeof deadLetterSummary>;

export const deadLettersReply = z.object({
  messages: z.array(deadLetterSummary),
  pagination: searchPagination.extend({ offset: count }),
}).openapi("DeadLetters");
export type DeadLetters = z.output<typeof deadLettersReply>;

export const deadLetterReply = deadLetter.extend({
  body: jsonObject.describe("the payload"),
  headers: jsonObject,
  metadata: jsonObject,
  error_trace: z.string().nullable().describe("the stack of the last attempt with its causes"),
  attempts: z.array(z.object(attempt).openapi("DeadLetterAttempt")).describe("the last 20, oldest first"),
  created_by: z.uuid().nullable().describe("the user who dispatched the message; null for services"),
}).openapi("DeadLetter");
export type DeadLetter = z.output<typeof deadLetterReply>;

export const retriedReply = done.extend({ outcome: z.literal("retried"), id: z.uuid(), messageId: z.uuid() })
  .openapi("Retried");
export type Retried = z.output<typeof retriedReply>;

const retryOutcome = z.enum(["retried", "unknown", "resolved", "conflict"]).describe(
  "unknown: no such dead letter; resolved: retried or discarded before; conflict: another message has its key",
);
export const retriedManyReply = done.extend({
  retried: count,
  results: z.array(z.object({
    id: z.uuid(),
    messageId: z.uuid().nullable().describe("null if the dead letter is unknown"),
    outcome: retryOutcome,
  })),
}).openapi("RetriedMany");
export type RetriedMany = z.output<typeof retriedManyReply>;

export const discardedReply = done.extend({ discarded: count.describe("how many were open") }).openapi("Discarded");
export type Discarded = z.output<typeof discardedReply>;

const listFailed = createRoute({
  ...get,
  path: "/failed",
  summary: "Search dead letters, newest first, without their payloads",
  request: {
    query: z.strictObject({
      ...routeFilter,
      errorClass: text.optional(),
      from: moment.optional().describe("failed at this moment or later"),
      to: moment.optional().describe("failed before this moment"),
      resolved: boolean.optional().describe("true: those that were retried or discarded; default: the open ones"),
      ...page,
      offset: whole(0, 10_000).default(0),
    }),
  },
  responses: replies(deadLettersReply, "A page of dead letters"),
});

const getFailed = createRoute({
  ...get,
  path: "/failed/{id}",
  summary: "Get one dead letter with its payload and attempts",
  request: { params: idInPath, query: noQuery },
  responses: replies(deadLetterReply, "The dead letter"),
});

const retryOne = createRoute({
  ...post,
  path: "/failed/{id}/retry",
  summary: "Put the message of a dead letter back into its queue, with another payload if one is given",
  middleware: boundedBody(true),
  request: { params: idInPath, body: bodyOf(z.strictObject({ payload: jsonObject.optional() }), false) },
  responses: replies(retriedReply, "The message is pending, with all its retries"),
});

/** The dead letters of a call for many: exactly one of `ids` and `filter` names them. */
const selection = {
  ids: z.array(z.uuid()).max(10_000).optional(),
  filter: z.strictObject({
    transport: z.string().optional(),
    queue: z.string().optional(),
    type: z.string().optional(),
    errorClass: z.string().optional(),
    from: moment.optional(),
    to: moment.optional(),
  }).optional().describe("{} selects all open dead letters"),
  max: z.int().min(1).max(10_000).optional().describe("how many at most; default: 1,000"),
};

const retryMany = createRoute({
  ...post,
  path: "/failed/retry",
  summary: "Retry many dead letters, optionally at a rate",
  middleware: boundedBody(false),
  request: {
    body: bodyOf(z.strictObject({
      ...selection,
      perSecond: z.int().min(1).max(1_000).optional()
        .describe("messages per second; the retry stops if more than a fifth of them fail again"),
    })),
  },
  responses: replies(retriedManyReply, "The outcome of each dead letter"),
});

const discardOne = createRoute({
  ...remove,
  path: "/failed/{id}",
  summary: "Discard a dead letter",
  request: { params: idInPath },
  responses: replies(discardedReply, "The dead letter is resolved as discarded"),
});

const discardMany = createRoute({
  ...post,
  path: "/failed/discard",
  summary: "Discard many dead letters",
  middleware: boundedBody(false),
  request: { body: bodyOf(z.strictObject(selection)) },
  responses: replies(discardedReply, "How many were discarded"),
});

type DeadLetterList = SqlSearchPage & Pick<DeadLetters, "messages">;

export function addMonitorCalls(app: OperatorApp, db: Database): void {
  app.openapi(listFailed, async (c) => {
    const { limit, cursor, offset, errorClass, ...rest } = c.req.valid("query");
    const filter = filterOf({ ...rest, error_class: errorClass });
    const { messages, ...end } = await callList<DeadLetterList>(db, "messenger_list_failed", {
      filter,
      cursor,
      skip: offset,
      max: limit,
    });
    return c.json({ messages, pagination: { ...searchPaginationOf(end, limit), offset } }, 200);
  });
  app.openapi(getFailed, async (c) => {
    const { id } = c.req.valid("param");
    const found = await callFor(deadLetterReply.nullable(), db, "messenger_get_failed", { id });
    if (!found) throw new SymphonyError("SM_NOT_FOUND", "There is no such dead letter; it may have been pruned.");
    return c.json(found, 200);
  });
}

export function addAdminCalls(app: OperatorApp, db: Database, logAction: LogAction): void {
  app.openapi(retryOne, async (c) => {
    const { id } = c.req.valid("param");
    const { payload } = c.req.valid("json") ?? {};
    const [{ outcome, message_id }] = await db.call("messenger_retry_failed", {
      ids: [id],
      payload: payload as JsonObject, // from a JSON body
    });
    logAction(c, "retry", id, outcome);
    if (outcome !== "retried") throw notRetried(outcome);
    return c.json({ success: true as const, outcome: "retried" as const, id, messageId: message_id }, 200);
  });
  app.openapi(retryMany, async (c) => {
    const { perSecond, ...selected } = c.req.valid("json");
    const rows = await db.call("messenger_retry_failed", { ...argsOf(selected), per_second: perSecond });
    const retried = rows.filter(({ outcome }) => outcome === "retried").length;
    logAction(c, "retry many", selected, retried);
    const results = rows.map(({ id, message_id, outcome }) => ({
      id,
      messageId: message_id,
      outcome: outcome as z.output<typeof retryOutcome>, // the function's own list
    }));
    return c.json({ success: true as const, retried, results }, 200);
  });
  app.openapi(discardOne, async (c) => {
    const { id } = c.req.valid("param");
    const discarded = await db.call("messenger_discard_failed", { ids: [id] });
    logAction(c, "discard", id, discarded);
    if (discarded === 0) throw new SymphonyError("SM_NOT_FOUND", "There is no such dead letter, or it is resolved.");
    return c.json({ success: true as const, discarded }, 200);
  });
  app.openapi(discardMany, async (c) => {
    const selected = c.req.valid("json");
    const discarded = await db.call("messenger_discard_failed", argsOf(selected));
    logAction(c, "discard many", selected, discarded);
    return c.json({ success: true as const, discarded }, 200);
  });
}

interface Selection {
  ids?: string[];
  filter?: { errorClass?: string; [key: string]: string | undefined };
  max?: number;
}

function argsOf({ ids, filter, max }: Selection) {
  if (!filter) return { ids, max };
  const { errorClass, ...rest } = filter;
  return { ids, filter: filterOf({ ...rest, error_class: errorClass }), max };
}

function notRetried(outcome: string): SymphonyError {
  if (outcome === "unknown") return new SymphonyError("SM_NOT_FOUND", "There is no such dead letter.");
  return outcome === "resolved"
    ? new SymphonyError("SM_CONFLICT", "The dead letter was retried or discarded before.")
    : new SymphonyError("SM_CONFLICT", "Another message holds its idempotency key, or it is not failed any more.");
}
