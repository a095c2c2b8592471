// Requests of schedules: checked before they are sent, and converted to the arguments of messenger_schedule.
import { CronExpressionParser } from "cron-parser";
import { z } from "zod";
import type { Args } from "./db.ts";
import { type ErrorCode, SymphonyError } from "./errors.ts";
import { milliseconds, moment, type Shape } from "./fields.ts";
import { isObject, type JsonObject } from "./json.ts";
import { parse } from "./parse.ts";

const SHORTEST = 1_000; // ms
const LONGEST = 31_622_400_000; // ms, 366 days

/** One of `cron`, `interval` and `at`, with the options of a schedule. Moments are ISO 8601 with a zone. */
export interface ScheduleRequest {
  /** 5 fields (minute hour day month weekday) or 6 (second first), or an alias such as `@daily`. */
  cron?: string;
  /** Milliseconds, from 1,000 to 31,622,400,000 (366 days), counted from `startAt`; default: from the creation. */
  interval?: number;
  /** The moment from which an interval counts. */
  startAt?: string;
  /** A single moment. */
  at?: string;
  /** The name of the schedule; default: the message type's. */
  name?: string;
  /** An IANA time zone; default: UTC. */
  timezone?: string;
  /** The transport of its messages; default: the type's route. */
  transport?: string;
  /** The queue of its messages; default: the type's route. */
  queue?: string;
  /** Headers of its messages, at most 16 KB. */
  headers?: JsonObject;
  /** False stores the schedule paused; default: true. */
  enabled?: boolean;
  /** Ends the schedule after this many messages; default: no end. */
  maxRuns?: number;
  /** No run before this moment. */
  startsAt?: string;
  /** No run after this moment. */
  endsAt?: string;
  /** After an outage: one message for all missed runs, none for runs later than `misfireGrace`, or one for each. */
  misfire?: "fire_once" | "skip" | "catch_up";
  /** Milliseconds by which a run may be late under `misfire: "skip"`, at most 31,622,400,000. */
  misfireGrace?: number;
  /** Missed runs that `misfire: "catch_up"` makes up for, 1 to 1,000. */
  catchUpLimit?: number;
  /** A wall-clock time that DST skips: run after the gap, or not at all. */
  dstGap?: "run_after" | "skip";
  /** A wall-clock time that DST repeats: run at the first, the second or both. */
  dstOverlap?: "first" | "second" | "both";
  /** While the previous message is unfinished: store another one, none, or replace the previous one. */
  overlap?: "allow" | "skip" | "replace";
  /** Milliseconds by which a message may be delayed at random, at most 31,622,400,000. */
  jitter?: number;
}

/**
 * The schema of a ScheduleRequest.
 * @internal
 */
export const scheduleRequest = z.strictObject(
  {
    cron: z.string().optional(),
    interval: z.int().min(SHORTEST).max(LONGEST).optional(),
    startAt: moment.optional(),
    at: moment.optional(),
    name: z.string().optional(),
    timezone: z.string().optional(),
    transport: z.string().optional(),
    queue: z.string().optional(),
    headers: z.custom<JsonObject>(isObject, { error: "expected an object" }).optional(),
    enabled: z.boolean().optional(),
    maxRuns: z.int().min(1).optional(),
    startsAt: moment.optional(),
    endsAt: moment.optional(),
    misfire: z.enum(["fire_once", "skip", "catch_up"]).optional(),
    misfireGrace: milliseconds(LONGEST).optional(),
    catchUpLimit: z.int().min(1).max(1_000).optional(),
    dstGap: z.enum(["run_after", "skip"]).optional(),
    dstOverlap: z.enum(["first", "second", "both"]).optional(),
    overlap: z.enum(["allow", "skip", "replace"]).optional(),
    jitter: milliseconds(LONGEST).optional(),
  } satisfies Shape<ScheduleRequest>,
);

/** The error code of each field of a ScheduleRequest. */
export const SCHEDULE_CODES: Record<string, ErrorCode> = {
  ...Object.fromEntries(Object.keys(scheduleRequest.shape).map((field) => [field, "SM_SCHEDULE" as const])),
  cron: "SM_CRON",
  interval: "SM_INTERVAL",
  timezone: "SM_TIMEZONE",
  transport: "SM_TRANSPORT",
  queue: "SM_QUEUE",
  headers: "SM_HEADERS_NOT_OBJECT",
};

/** The arguments of messenger_schedule that describe when to run; undefined ones are not sent. */
export type ScheduleArgs = Pick<Args<"messenger_schedule">, "schedule" | "timezone" | "options">;

/**
 * Checks a request as far as possible without the database, which checks it again.
 *
 * @param value the request, as untrusted JSON
 * @returns the arguments of messenger_schedule, and the name if the request has one
 * @throws SymphonyError SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE, SM_SCHEDULE or SM_UNKNOWN_FIELD
 *
 * @example
 * ```ts
 * import { toScheduleArgs } from "./shared/schedule.ts";
 *
 * const { schedule, timezone } = toScheduleArgs({ cron: "0 9 * * mon-fri", timezone: "Europe/Berlin" });
 * console.log(schedule, timezone);
 * ```
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

/**
 * Rejects a cron expression that SQL would reject. cron-parser accepts more: fewer fields, values by hash (H), names
 * without separators, 5#1e0.
 *
 * @param expression 5 or 6 fields, or an alias such as `@daily`
 * @throws SymphonyError SM_CRON, or SM_CRON_NEVER for a day that does not exist
 *
 * @example
 * ```ts
 * import { checkCron } from "./shared/schedule.ts";
 *
 * checkCron("0 9-17 * * mon-fri");
 * ```
 */
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
    // RangeError: an unknown zone
  }
  throw new SymphonyError("SM_TIMEZONE", `${JSON.stringify(timezone.slice(0, 60))} is not an IANA time zone.`);
}
