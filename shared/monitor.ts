// The monitor's calls: each asks one SQL function and hands on what it says.
import type { OpenAPIHono, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import type { Args, Database, FunctionName } from "./db.ts";
import { SymphonyError } from "./errors.ts";
import type { JsonObject } from "./json.ts";
import * as reply from "./operator_replies.ts";
import { createOperatorApp, type OperatorEnv } from "./operators/app.ts";
import * as routes from "./monitor_routes.ts";
import { type Counters, renderPrometheus } from "./operators/prometheus.ts";
import { toScheduleArgs } from "./schedule.ts";

/** What the lists of SQL say beside their rows. */
interface Ending {
  next_cursor: string | null;
  total: number;
  estimated: boolean;
}
interface SearchEnding extends Ending {
  searched_to: string | null;
}
type MessageList = SearchEnding & Pick<z.output<typeof reply.messages>, "messages">;
type FailedList = SearchEnding & Pick<z.output<typeof reply.failed>, "messages">;
type ScheduleList = Ending & Pick<z.output<typeof reply.schedules>, "schedules">;

/** Answers the calls of `monitor_routes.ts`. */
export function createMonitor(db: Database, guard?: MiddlewareHandler<OperatorEnv>): OpenAPIHono<OperatorEnv> {
  const app = createOperatorApp(guard);
  async function ask<F extends FunctionName, S extends z.ZodType>(name: F, args: Args<F>, _schema: S) {
    return await db.call(name, args) as z.output<S>; // SQL is ours, and tests hold every reply against its schema
  }
  async function list<T>(
    name: FunctionName,
    args: { cursor?: string; max: number; filter: JsonObject; skip?: number },
  ) {
    return await db.call(name, args) as T; // as above
  }

  app.openapi(routes.getStatus, async (c) => c.json(await ask("messenger_status", {}, reply.status), 200));
  app.openapi(routes.getHealth, async (c) => {
    const health = await ask("messenger_health", {}, reply.health);
    return c.json(health, health.status === "unhealthy" ? 503 : 200);
  });
  app.openapi(routes.getQueues, async (c) => c.json(await ask("messenger_list_queues", {}, reply.queues), 200));
  app.openapi(
    routes.getTransports,
    async (c) => c.json(await ask("messenger_list_transports", {}, reply.transports), 200),
  );
  app.openapi(routes.getWorkers, async (c) => c.json(await ask("messenger_list_workers", {}, reply.workers), 200));
  app.openapi(routes.getAudit, async (c) => {
    const invariants = await db.call("messenger_audit", {});
    return c.json({ invariants, violations: invariants.reduce((sum, { violations }) => sum + violations, 0) }, 200);
  });

  app.openapi(routes.getMessages, async (c) => {
    const { limit, cursor, errorClass, idempotencyKey, orderingKey, createdBy, ...rest } = c.req.valid("query");
    const filter = filterOf({
      ...rest,
      error_class: errorClass,
      idempotency_key: idempotencyKey,
      ordering_key: orderingKey,
      created_by: createdBy,
    });
    const { messages, ...end } = await list<MessageList>("messenger_list_messages", { filter, cursor, max: limit });
    return c.json({ messages, pagination: { ...pagination(end, limit), searchedTo: end.searched_to } }, 200);
  });
  app.openapi(routes.getMessage, async (c) => {
    const { id } = c.req.valid("param");
    const found = await ask("messenger_get_message", { id }, reply.oneMessage.nullable());
    if (!found) throw new SymphonyError("SM_NOT_FOUND", "There is no such message; it may have been pruned.");
    return c.json(found, 200);
  });

  app.openapi(routes.getFailed, async (c) => {
    const { limit, cursor, offset, errorClass, ...rest } = c.req.valid("query");
    const filter = filterOf({ ...rest, error_class: errorClass });
    const { messages, ...end } = await list<FailedList>("messenger_list_failed", {
      filter,
      cursor,
      skip: offset,
      max: limit,
    });
    return c.json({ messages, pagination: { ...pagination(end, limit), offset, searchedTo: end.searched_to } }, 200);
  });
  app.openapi(routes.getOneFailed, async (c) => {
    const { id } = c.req.valid("param");
    const found = await ask("messenger_get_failed", { id }, reply.oneFailed.nullable());
    if (!found) throw new SymphonyError("SM_NOT_FOUND", "There is no such dead letter; it may have been pruned.");
    return c.json(found, 200);
  });

  app.openapi(routes.getExplanation, async (c) => {
    const { id } = c.req.valid("param");
    const [message] = await db.read("messenger_messages", ["status"], { id });
    if (!message) throw new SymphonyError("SM_NOT_FOUND", "There is no such message; it may have been pruned.");
    return c.json({ id, status: message.status, reasons: await db.call("messenger_explain", { id }) }, 200);
  });

  app.openapi(routes.getMetrics, async (c) => {
    const { minutes, from, to } = c.req.valid("query");
    return c.json(await ask("messenger_metrics", { minutes, from_time: from, to_time: to }, reply.metrics), 200);
  });
  app.openapi(routes.getPrometheus, async (c) => {
    const counters = await db.call("messenger_counters", {}) as unknown as Counters; // as the function says
    return c.text(renderPrometheus(counters, Date.now()), 200, {
      "content-type": "text/plain; version=0.0.4; charset=utf-8",
    });
  });

  app.openapi(routes.getPreview, async (c) => {
    const { name, from, count, ...request } = c.req.valid("query");
    const args = name === undefined ? toScheduleArgs(request) : await storedSchedule(db, name);
    const runs = await db.call("messenger_schedule_preview", { ...args, from_time: from, count });
    return c.json({ runs: runs.map((run) => ({ runAt: run.run_at, localTime: run.local_time, note: run.note })) }, 200);
  });
  app.openapi(routes.getSchedules, async (c) => {
    const { limit, cursor, ...filter } = c.req.valid("query");
    const { schedules, ...end } = await list<ScheduleList>("messenger_list_schedules", {
      filter: filterOf(filter),
      cursor,
      max: limit,
    });
    return c.json({ schedules, pagination: pagination(end, limit) }, 200);
  });
  return app;
}

/** Filters of SQL: what was not asked for is left out. */
function filterOf(filter: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}

function pagination({ next_cursor, total, estimated }: Ending, limit: number) {
  return { limit, hasMore: next_cursor !== null, nextCursor: next_cursor, total, estimated };
}

const POLICIES = ["starts_at", "ends_at", "dst_gap", "dst_overlap", "max_runs"] as const;

/** A stored schedule as the preview takes it; of max_runs what is left. */
async function storedSchedule(db: Database, name: string) {
  const columns = ["schedule_config", "timezone", "run_count", ...POLICIES] as const;
  const [row] = await db.read("messenger_schedules", columns, { name });
  if (!row) throw new SymphonyError("SM_NOT_FOUND", "There is no schedule of this name.");
  const { schedule_config: schedule, timezone, run_count, max_runs, ...rest } = row;
  const left = max_runs === null ? undefined : Math.max(1, max_runs - run_count);
  const policies = Object.entries({ ...rest, max_runs: left }).filter(([, value]) =>
    value !== null && value !== undefined
  );
  return { schedule, timezone, options: Object.fromEntries(policies) };
}
