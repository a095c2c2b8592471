// The admin's calls: each is one SQL function, and one line in the log that says who did what to which thing.
import type { OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import * as routes from "./admin_routes.ts";
import type { Database } from "./db.ts";
import { SymphonyError } from "./errors.ts";
import type { JsonObject } from "./json.ts";
import type { Log } from "./log.ts";
import * as reply from "./operator_replies.ts";
import { createOperatorApp, type OperatorEnv, rejectInvalid } from "./operators/app.ts";
import { SCHEDULE_CODES, toScheduleArgs } from "./schedule.ts";

/** Answers the calls of `admin_routes.ts`. */
export function createAdmin(db: Database, log: Log, guard?: MiddlewareHandler<OperatorEnv>): OpenAPIHono<OperatorEnv> {
  const app = createOperatorApp(guard);
  const note = (c: Context<OperatorEnv>, action: string, target: unknown, outcome?: unknown) =>
    log.info("operator", { actor: c.get("actor"), action, target, outcome });

  app.openapi(routes.retryOne, async (c) => {
    const { id } = c.req.valid("param");
    const { payload } = c.req.valid("json") ?? {};
    const [{ outcome, message_id }] = await db.call("messenger_retry_failed", {
      ids: [id],
      payload: payload as JsonObject,
    }); // JSON from a body
    note(c, "retry", id, outcome);
    if (outcome !== "retried") throw notRetried(outcome);
    return c.json({ success: true as const, outcome: "retried" as const, id, messageId: message_id }, 200);
  });
  app.openapi(routes.retryMany, async (c) => {
    const { perSecond, ...deadLetters } = c.req.valid("json");
    const rows = await db.call("messenger_retry_failed", { ...deadLettersOf(deadLetters), per_second: perSecond });
    const retried = rows.filter(({ outcome }) => outcome === "retried").length;
    note(c, "retry many", deadLetters, retried);
    const results = rows.map(({ id, message_id, outcome }) => ({ id, messageId: message_id, outcome }));
    return c.json({ success: true as const, retried, results }, 200);
  });
  app.openapi(routes.discardOne, async (c) => {
    const { id } = c.req.valid("param");
    const discarded = await db.call("messenger_discard_failed", { ids: [id] });
    note(c, "discard", id, discarded);
    if (discarded === 0) throw new SymphonyError("SM_NOT_FOUND", "There is no such dead letter, or it is resolved.");
    return c.json({ success: true as const, discarded }, 200);
  });
  app.openapi(routes.discardMany, async (c) => {
    const deadLetters = c.req.valid("json");
    const discarded = await db.call("messenger_discard_failed", deadLettersOf(deadLetters));
    note(c, "discard many", deadLetters, discarded);
    return c.json({ success: true as const, discarded }, 200);
  });

  app.openapi(routes.cancelMessage, async (c) => {
    const { id } = c.req.valid("param");
    const said = await db.call("messenger_cancel", { id });
    note(c, "cancel", id, said);
    const outcome = reply.cancelled.shape.outcome.options.find((each) => each === said);
    if (!outcome) throw new SymphonyError("SM_NOT_FOUND", "There is no such message; it may have been pruned.");
    return c.json({ success: true as const, outcome }, 200);
  });

  app.openapi(routes.putSchedule, async (c) => {
    const { name } = c.req.valid("param");
    const { type, payload, ...request } = c.req.valid("json");
    const { name: _, ...args } = toScheduleArgs(request);
    const row = await db.call("messenger_schedule", { name, type, payload: payload as JsonObject, ...args }); // as above
    note(c, "schedule", name);
    return c.json(row as Schedule, 200); // a row of messenger_schedules
  }, rejectInvalid({ ...SCHEDULE_CODES, type: "SM_TYPE" }));
  app.openapi(routes.removeSchedule, async (c) => {
    const { name } = c.req.valid("param");
    const found = await db.call("messenger_unschedule", { name });
    note(c, "unschedule", name, found);
    if (!found) throw new SymphonyError("SM_NOT_FOUND", "There is no schedule of this name.");
    return c.json({ success: true as const }, 200);
  });
  app.openapi(routes.pauseSchedule, async (c) => {
    const { name } = c.req.valid("param");
    await db.call("messenger_pause_schedule", { name });
    note(c, "pause schedule", name);
    return c.json({ success: true as const, ...await stateOf(db, name) }, 200);
  });
  app.openapi(routes.resumeSchedule, async (c) => {
    const { name } = c.req.valid("param");
    await db.call("messenger_resume_schedule", { name });
    note(c, "resume schedule", name);
    return c.json({ success: true as const, ...await stateOf(db, name) }, 200);
  });

  app.openapi(routes.pauseQueue, async (c) => {
    const place = c.req.valid("param");
    await db.call("messenger_pause", place);
    note(c, "pause queue", place);
    return c.json({ success: true as const, paused: true }, 200);
  });
  app.openapi(routes.resumeQueue, async (c) => {
    const place = c.req.valid("param");
    await db.call("messenger_resume", place);
    note(c, "resume queue", place);
    return c.json({ success: true as const, paused: false }, 200);
  });

  app.openapi(routes.putTransport, async (c) => {
    const { name } = c.req.valid("param");
    const { type, config, enabled } = c.req.valid("json");
    const row = await db.call("messenger_put_transport", { name, type, config: config as JsonObject, enabled }); // as above
    note(c, "transport", name, { type, enabled });
    return c.json(row as Transport, 200); // a row of messenger_transports
  }, rejectInvalid({ type: "SM_TRANSPORT" }));
  app.openapi(routes.putFlag, async (c) => {
    const { name } = c.req.valid("param");
    const body = c.req.valid("json");
    const percent = "percent" in body ? body.percent : body.enabled ? 100 : 0;
    const row = await db.call("messenger_set_flag", { name, percent, updated_by: c.get("actor") });
    note(c, "flag", name, percent);
    return c.json(row as Flag, 200); // a row of messenger.flags
  });
  return app;
}

type Schedule = z.output<typeof reply.oneSchedule>;
type Transport = z.output<typeof reply.oneTransport>;
type Flag = z.output<typeof reply.flag>;

interface Letters {
  ids?: string[];
  filter?: { errorClass?: string; [key: string]: string | undefined };
  max?: number;
}

function deadLettersOf({ ids, filter, max }: Letters) {
  if (!filter) return { ids, max };
  const { errorClass, ...rest } = filter;
  return { ids, filter: { ...rest, ...(errorClass !== undefined && { error_class: errorClass }) }, max };
}

function notRetried(outcome: string): SymphonyError {
  if (outcome === "unknown") return new SymphonyError("SM_NOT_FOUND", "There is no such dead letter.");
  return outcome === "resolved"
    ? new SymphonyError("SM_CONFLICT", "The dead letter was retried or discarded before.")
    : new SymphonyError("SM_CONFLICT", "Another message holds its idempotency key, or it is not failed any more.");
}

async function stateOf(db: Database, name: string) {
  const [row] = await db.read("messenger_schedules", ["enabled", "next_run_at"], { name });
  if (!row) throw new SymphonyError("SM_NOT_FOUND", "There is no schedule of this name.");
  return { enabled: row.enabled, nextRunAt: row.next_run_at };
}
