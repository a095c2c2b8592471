// When a message is to be sent again and again: the request of a schedule, checked before it travels, in SQL's words.
import { CronExpressionParser } from "cron-parser";
import { z } from "zod";
import type { Args } from "./db.ts";
import { type ErrorCode, SymphonyError } from "./errors.ts";
import { milliseconds, moment } from "./fields.ts";
import { isObject, type JsonObject } from "./json.ts";
import { parse } from "./parse.ts";

const SHORTEST = 1_000; // ms
const LONGEST = 31_622_400_000; // ms, 366 days

/** What a schedule is asked for with. */
export const scheduleRequest = z.strictObject({
  /** 5 fields (minute hour day month weekday) or 6 (second first), or an alias such as @daily. */
  cron: z.string().optional(),
  /** Milliseconds, from 1,000 to 366 days, counted from startAt or from the creation. */
  interval: z.int().min(SHORTEST).max(LONGEST).optional(),
  startAt: moment.optional(),
  /** One moment, once. */
  at: moment.optional(),
  /** What the schedule is called, and found again by; the message's type unless given. */
  name: z.string().optional(),
  /** IANA name; UTC unless given. */
  timezone: z.string().optional(),
  transport: z.string().optional(),
  queue: z.string().optional(),
  headers: z.custom<JsonObject>(isObject, { error: "expected an object" }).optional(),
  enabled: z.boolean().optional(),
  /** Messages after which it is over. */
  maxRuns: z.int().min(1).optional(),
  startsAt: moment.optional(),
  endsAt: moment.optional(),
  /** After an outage: one message for all that was missed, none that is later than misfireGrace, or each. */
  misfire: z.enum(["fire_once", "skip", "catch_up"]).optional(),
  misfireGrace: milliseconds(LONGEST).optional(),
  catchUpLimit: z.int().min(1).max(1_000).optional(),
  /** A wall-clock time that does not exist: moved on by the gap, or left out. */
  dstGap: z.enum(["run_after", "skip"]).optional(),
  /** A wall-clock time that exists twice. */
  dstOverlap: z.enum(["first", "second", "both"]).optional(),
  /** While the message before is unfinished: another one, none, or one in place of it. */
  overlap: z.enum(["allow", "skip", "replace"]).optional(),
  /** Milliseconds by which a message may be later than due. */
  jitter: milliseconds(LONGEST).optional(),
});

/** The errors of its fields. */
export const SCHEDULE_CODES: Record<string, ErrorCode> = {
  ...Object.fromEntries(Object.keys(scheduleRequest.shape).map((field) => [field, "SM_SCHEDULE" as const])),
  cron: "SM_CRON",
  interval: "SM_INTERVAL",
  timezone: "SM_TIMEZONE",
  transport: "SM_TRANSPORT",
  queue: "SM_QUEUE",
  headers: "SM_HEADERS_NOT_OBJECT",
};

/** One of cron, interval and at, and what else is to be said about it. */
export type ScheduleRequest = z.input<typeof scheduleRequest>;

/** What SQL calls a schedule; what is undefined does not travel. */
export type ScheduleArgs = Pick<Args<"messenger_schedule">, "schedule" | "timezone" | "options">;

/**
 * Checks a request as far as it can be checked without the database, which has the last word.
 * @throws SymphonyError SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE, SM_SCHEDULE, SM_UNKNOWN_FIELD
 */
export function toScheduleArgs(value: unknown): ScheduleArgs & { name?: string } {
  const { cron, interval, startAt, at, name, timezone, ...rest } = parse(scheduleRequest, value, SCHEDULE_CODES);
  if ([cron, interval, at].filter((kind) => kind !== undefined).length !== 1) {
    throw new SymphonyError("SM_SCHEDULE", "A schedule has exactly one of cron, interval and at.");
  }
  if (startAt !== undefined && interval === undefined) {
    throw new SymphonyError("SM_SCHEDULE", "startAt belongs to an interval.", {
      hint:
        "Leave startAt out, or send an interval with it; at is a single moment, startsAt the beginning of a schedule.",
    });
  }
  if (timezone !== undefined) checkTimezone(timezone);
  if (cron !== undefined) checkCron(cron);
  const options = {
    transport_name: rest.transport,
    queue_name: rest.queue,
    headers: rest.headers,
    enabled: rest.enabled,
    max_runs: rest.maxRuns,
    starts_at: rest.startsAt,
    ends_at: rest.endsAt,
    misfire: rest.misfire,
    misfire_grace_ms: rest.misfireGrace,
    catch_up_limit: rest.catchUpLimit,
    dst_gap: rest.dstGap,
    dst_overlap: rest.dstOverlap,
    overlap: rest.overlap,
    jitter_ms: rest.jitter,
  };
  return { schedule: { cron, interval, startAt, at }, timezone: timezone ?? "UTC", options, name };
}

const ALIASES: Record<string, string> = {
  "@YEARLY": "0 0 1 1 *",
  "@ANNUALLY": "0 0 1 1 *",
  "@MONTHLY": "0 0 1 * *",
  "@WEEKLY": "0 0 * * 0",
  "@DAILY": "0 0 * * *",
  "@MIDNIGHT": "0 0 * * *",
  "@HOURLY": "0 * * * *",
};

/** Rejects what SQL would reject. cron-parser takes more: fewer fields, values by hash (H), names run together, 5#1e0. */
export function checkCron(expression: string): void {
  const written = expression.trim().toUpperCase();
  const cron = Object.hasOwn(ALIASES, written) ? ALIASES[written] : written;
  const shown = expression.slice(0, 100);
  const fields = cron.split(/[ \t\r\n]+/);
  if (fields.length !== 5 && fields.length !== 6) {
    throw new SymphonyError(
      "SM_CRON",
      `The cron expression ${JSON.stringify(shown)} must have 5 or 6 fields, and has ${fields.length}.`,
    );
  }
  if (!fields.every((field) => field.split(",").every((item) => ITEM.test(item)))) {
    throw new SymphonyError("SM_CRON", `The cron expression ${JSON.stringify(shown)} is not understood.`);
  }
  try {
    CronExpressionParser.parse(cron);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const code = reason === "Invalid explicit day of month definition" ? "SM_CRON_NEVER" : "SM_CRON";
    throw new SymphonyError(code, `The cron expression ${JSON.stringify(shown)}: ${reason}.`, { cause: error });
  }
}

const ITEM =
  /^(([*?]|(\d{1,9}|[A-Z]{3})(-(\d{1,9}|[A-Z]{3}))?)(\/\d{1,9})?|L|(\d|[A-Z]{3})L|([*?]|\d|[A-Z]{3})#[1-5])$/;
const FIXED = /^(EST|MST|HST)$/;

function checkTimezone(timezone: string): void {
  try {
    // Intl takes offsets such as +02:00 too, which have no seasons.
    if (/^[A-Za-z]/.test(timezone) && !FIXED.test(timezone)) {
      new Intl.DateTimeFormat("en", { timeZone: timezone });
      return;
    }
  } catch {
    // RangeError: the same error
  }
  throw new SymphonyError("SM_TIMEZONE", `${JSON.stringify(timezone.slice(0, 60))} is not an IANA time zone.`);
}
