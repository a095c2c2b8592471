// Schedules: listed, previewed, created and changed, paused, removed.
import { createRoute, z } from "@hono/zod-openapi";
import type { Database } from "../db.ts";
import { SymphonyError } from "../errors.ts";
import { moment } from "../fields.ts";
import type { JsonObject } from "../json.ts";
import { SCHEDULE_CODES, scheduleRequest, toScheduleArgs } from "../schedule.ts";
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
  put,
  rejectInvalid,
  remove,
  replies,
} from "./app.ts";
import {
  boolean,
  count,
  filterOf,
  jsonObject,
  messageStatus,
  nameInPath,
  page,
  pagination,
  paginationOf,
  type SqlPage,
  text,
  time,
  whole,
} from "./fields.ts";

const dstGap = z.enum(["run_after", "skip"]);
const dstOverlap = z.enum(["first", "second", "both"]);

const schedule = z.object({
  id: z.uuid(),
  name: z.string(),
  message_type: z.string(),
  transport_name: z.string(),
  queue_name: z.string(),
  body: jsonObject.describe("the payload"),
  headers: jsonObject,
  schedule_type: z.enum(["once", "cron", "interval"]),
  schedule_config: z.object({
    cron: z.string().optional(),
    interval: z.int().optional().describe("milliseconds"),
    startAt: z.string().optional().describe("the moment from which an interval is counted"),
    at: z.string().optional().describe("the moment of a schedule that runs once"),
  }),
  timezone: z.string().describe("an IANA name"),
  next_run_at: time.nullable().describe("the next due moment; null if there is none"),
  last_run_at: time.nullable().describe("the due moment of the last message"),
  run_count: count.describe("messages it has dispatched"),
  max_runs: z.int().nullable().describe("messages after which it ends; null for no limit"),
  enabled: z.boolean().describe("false while it is paused"),
  starts_at: time.nullable(),
  ends_at: time.nullable(),
  misfire: z.enum(["fire_once", "skip", "catch_up"]).describe("the policy for missed runs"),
  misfire_grace_ms: count.describe("milliseconds that a run may be late with the policy skip"),
  catch_up_limit: count.describe("messages at most with the policy catch_up"),
  dst_gap: dstGap.describe("the policy for a wall-clock time that does not exist"),
  dst_overlap: dstOverlap.describe("the policy for a wall-clock time that exists twice"),
  overlap: z.enum(["allow", "skip", "replace"]).describe("the policy while the previous message is unfinished"),
  jitter_ms: count.describe("milliseconds by which a message may become available later than due"),
  last_error: z.string().nullable(),
  created_at: time,
  updated_at: time,
});
export const scheduleReply = schedule.openapi("Schedule");

const scheduleInList = schedule.extend({
  last_message_id: z.uuid().nullable().describe("the message of the last run"),
  last_message_status: messageStatus.nullable()
    .describe("null if that message was pruned"),
}).openapi("ScheduleSummary");
export type Schedule = z.output<typeof scheduleInList>;

export const schedulesReply = z.object({ schedules: z.array(scheduleInList), pagination }).openapi("Schedules");
export type Schedules = z.output<typeof schedulesReply>;

export const previewReply = z.object({
  runs: z.array(z.object({
    runAt: time.nullable().describe("null if the run is skipped"),
    localTime: z.string().describe("the wall-clock time in the schedule's zone, without an offset"),
    note: z.string().nullable().describe("how a change of the clocks moves or skips the run"),
  })),
}).openapi("Preview");
export type Preview = z.output<typeof previewReply>;

export const scheduleSwitchedReply = done.extend({ enabled: z.boolean(), nextRunAt: time.nullable() })
  .openapi("ScheduleSwitched");
export const scheduleRemovedReply = done.openapi("ScheduleRemoved");

const listSchedules = createRoute({
  ...get,
  path: "/schedules",
  summary: "List schedules in order of their names",
  request: {
    query: z.strictObject({
      type: text.optional(),
      name: text.optional().describe("how the name begins"),
      enabled: boolean.optional(),
      ...page,
    }),
  },
  responses: replies(schedulesReply, "A page of schedules"),
});

const previewSchedule = createRoute({
  ...get,
  path: "/schedules/preview",
  summary: "Preview the next runs of a stored schedule, by its name, or of the one that the query describes",
  request: {
    query: z.strictObject({
      name: text.optional(),
      cron: text.optional(),
      interval: whole(1, 999_999_999).optional().describe("milliseconds"),
      at: moment.optional(),
      startAt: moment.optional(),
      timezone: text.optional(),
      dstGap: dstGap.optional(),
      dstOverlap: dstOverlap.optional(),
      startsAt: moment.optional(),
      endsAt: moment.optional(),
      from: moment.optional().describe("default: now"),
      count: whole(1, 100).default(10),
    }),
  },
  responses: replies(previewReply, "The next runs"),
});

const putSchedule = createRoute({
  ...put,
  path: "/schedules/{name}",
  summary: "Create a schedule, or replace the one of this name",
  middleware: boundedBody(false),
  request: {
    params: nameInPath,
    body: bodyOf(
      scheduleRequest.omit({ name: true }).extend({
        type: z.string(),
        payload: jsonObject.optional(),
        headers: jsonObject.optional(),
      }),
    ),
  },
  responses: replies(scheduleReply, "The schedule"),
});

const removeSchedule = createRoute({
  ...remove,
  path: "/schedules/{name}",
  summary: "Remove a schedule; the messages it has dispatched stay",
  request: { params: nameInPath },
  responses: replies(scheduleRemovedReply, "The schedule is removed"),
});

const pauseSchedule = createRoute({
  ...post,
  path: "/schedules/{name}/pause",
  summary: "Pause a schedule",
  request: { params: nameInPath },
  responses: replies(scheduleSwitchedReply, "The schedule is paused"),
});

const resumeSchedule = createRoute({
  ...post,
  path: "/schedules/{name}/resume",
  summary: "Resume a schedule, from its next due moment on",
  request: { params: nameInPath },
  responses: replies(scheduleSwitchedReply, "The schedule is enabled"),
});

type ScheduleList = SqlPage & Pick<Schedules, "schedules">;

export function addMonitorCalls(app: OperatorApp, db: Database): void {
  app.openapi(previewSchedule, async (c) => {
    const { name, from, count, ...request } = c.req.valid("query");
    const args = name === undefined ? toScheduleArgs(request) : await storedSchedule(db, name);
    const runs = await db.call("messenger_schedule_preview", { ...args, from_time: from, count });
    return c.json({ runs: runs.map((run) => ({ runAt: run.run_at, localTime: run.local_time, note: run.note })) }, 200);
  });
  app.openapi(listSchedules, async (c) => {
    const { limit, cursor, ...filter } = c.req.valid("query");
    const { schedules, ...end } = await callList<ScheduleList>(db, "messenger_list_schedules", {
      filter: filterOf(filter),
      cursor,
      max: limit,
    });
    return c.json({ schedules, pagination: paginationOf(end, limit) }, 200);
  });
}

export function addAdminCalls(app: OperatorApp, db: Database, logAction: LogAction): void {
  app.openapi(putSchedule, async (c) => {
    const { name } = c.req.valid("param");
    const { type, payload, ...request } = c.req.valid("json");
    const { name: _, ...args } = toScheduleArgs(request);
    const row = await callFor(scheduleReply, db, "messenger_schedule", {
      name,
      type,
      payload: payload as JsonObject, // from a JSON body
      ...args,
    });
    logAction(c, "schedule", name);
    return c.json(row, 200);
  }, rejectInvalid({ ...SCHEDULE_CODES, type: "SM_TYPE" }));
  app.openapi(removeSchedule, async (c) => {
    const { name } = c.req.valid("param");
    const found = await db.call("messenger_unschedule", { name });
    logAction(c, "unschedule", name, found);
    if (!found) throw noSuchSchedule();
    return c.json({ success: true as const }, 200);
  });
  app.openapi(pauseSchedule, async (c) => {
    const { name } = c.req.valid("param");
    await db.call("messenger_pause_schedule", { name });
    logAction(c, "pause schedule", name);
    return c.json({ success: true as const, ...await stateOf(db, name) }, 200);
  });
  app.openapi(resumeSchedule, async (c) => {
    const { name } = c.req.valid("param");
    await db.call("messenger_resume_schedule", { name });
    logAction(c, "resume schedule", name);
    return c.json({ success: true as const, ...await stateOf(db, name) }, 200);
  });
}

async function stateOf(db: Database, name: string) {
  const [row] = await db.read("messenger_schedules", ["enabled", "next_run_at"], { name });
  if (!row) throw noSuchSchedule();
  return { enabled: row.enabled, nextRunAt: row.next_run_at };
}

const POLICIES = ["starts_at", "ends_at", "dst_gap", "dst_overlap", "max_runs"] as const;

/** A stored schedule as arguments of the preview; max_runs becomes the number of runs that are left. */
async function storedSchedule(db: Database, name: string) {
  const columns = ["schedule_config", "timezone", "run_count", ...POLICIES] as const;
  const [row] = await db.read("messenger_schedules", columns, { name });
  if (!row) throw noSuchSchedule();
  const { schedule_config: schedule, timezone, run_count, max_runs, ...rest } = row;
  const left = max_runs === null ? undefined : Math.max(1, max_runs - run_count);
  const policies = Object.entries({ ...rest, max_runs: left }).filter(([, value]) =>
    value !== null && value !== undefined
  );
  return { schedule, timezone, options: Object.fromEntries(policies) };
}

function noSuchSchedule(): SymphonyError {
  return new SymphonyError("SM_NOT_FOUND", "There is no schedule of this name.");
}
