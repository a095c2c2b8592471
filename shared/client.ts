// What app developers use to send: typed by the message's schema, batched without being asked, errors with a remedy.
import { z } from "zod";
import { Batcher } from "./dispatch/batcher.ts";
import { connect, type Connection, type Database, type Returns } from "./db.ts";
import { type DispatchOptions, type IdempotencyMode, parseDispatch, toNewMessage } from "./dispatch/request.ts";
import { SymphonyError } from "./errors.ts";
import { moment } from "./fields.ts";
import { isObject, type JsonObject, toJson } from "./json.ts";
import type { MessageType, PayloadSchema } from "./message.ts";
import { parse } from "./parse.ts";
import { checkPayload } from "./payload.ts";
import { attemptEach, sendAccepted } from "./dispatch/attempt_each.ts";
import { type ScheduleRequest, toScheduleArgs } from "./schedule.ts";
import type { NewMessage, SendResult, Sent } from "./sender.ts";
import { supabaseSender } from "./transports/supabase.ts";

export type { DispatchOptions, IdempotencyMode, ScheduleRequest, Sent };

/** A run of a schedule, as messenger_schedule_preview tells it. */
export interface ScheduledRun {
  /** ISO 8601; null where the wall-clock time does not exist and is skipped. */
  run_at: string | null;
  /** What the zone's wall clock shows. */
  local_time: string;
  /** moved, first of the doubled hour, second of the doubled hour, skipped by DST, or null. */
  note: string | null;
}

/** A row of messenger_schedules; durations in milliseconds, moments ISO 8601. */
export type Schedule = Returns<"messenger_schedule">;

/** A schedule as it is listed: with the message it became last, null before its first run. */
export interface ListedSchedule extends Schedule {
  last_message_id: string | null;
  /** Null too where that message is gone. */
  last_message_status: string | null;
}

const PAGE = 1_000; // schedules per call, the most there may be
const REQUEST_DEPTH = 66; // the 64 levels of a payload, in a request
const previewOptions = z.object({ from: moment.optional(), count: z.int().min(1).max(1_000).optional() });
const scheduleName = z.object({ name: z.string() });

interface SchedulePage {
  schedules: ListedSchedule[];
  next_cursor: string | null;
}

/** One element of a batch. */
export interface Dispatch<S extends PayloadSchema = PayloadSchema> {
  messageType: MessageType<string, S>;
  payload: z.input<S>;
  options?: DispatchOptions;
}

export interface Symphony {
  /**
   * Stores a message; delays and windows are milliseconds, dates ISO 8601 with a zone.
   * After SM_UNAVAILABLE send again with the same idempotencyKey. Give one wherever a second message would hurt: fetch itself may repeat a request
   * whose connection closed before the first byte of an answer.
   * @throws SymphonyError
   */
  dispatch<S extends PayloadSchema>(
    messageType: MessageType<string, S>,
    payload: z.input<S>,
    options?: DispatchOptions,
  ): Promise<Sent>;
  /**
   * Stores up to 1000 messages in one call, in order; none for an empty list.
   * @param options.atomic all or none (the default): the first bad one throws; otherwise its place holds a SymphonyError
   */
  dispatchBatch(dispatches: readonly Dispatch[], options?: { atomic?: boolean }): Promise<SendResult[]>;
  /**
   * Saves a schedule under `when.name`, or the type's name; saving the same again changes nothing.
   * @param when one of cron, interval (ms) and at, with timezone and policies
   * @returns its row in messenger_schedules
   * @throws SymphonyError SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE, SM_SCHEDULE, and those of a dispatch
   */
  schedule<S extends PayloadSchema>(
    messageType: MessageType<string, S>,
    when: ScheduleRequest,
    payload?: z.input<S>,
  ): Promise<Schedule>;
  /** All schedules by name, those that are over or paused too. */
  schedules(): Promise<ListedSchedule[]>;
  /**
   * Stops a schedule until it is resumed: what is due meanwhile is skipped, a single moment runs late.
   * @returns false when it was stopped or over already
   * @throws SymphonyError SM_NOT_FOUND
   */
  pauseSchedule(name: string): Promise<boolean>;
  /** Lets a paused schedule run again from now on; false when it runs already or is over. @throws SymphonyError SM_NOT_FOUND */
  resumeSchedule(name: string): Promise<boolean>;
  /** Removes a schedule; false when there is none of this name. Messages it has stored stay. */
  unschedule(name: string): Promise<boolean>;
  /** What a schedule would do after `from` (ISO 8601, default now), without saving it; count is 10 unless given, at most 1000. */
  preview(when: ScheduleRequest, options?: { from?: string; count?: number }): Promise<ScheduledRun[]>;
}

/** @param connection the project's URL and a secret key, or a database that is open already */
export function createSymphony(connection: Connection | Database): Symphony {
  const db = "call" in connection ? connection : connect(connection);
  const sender = supabaseSender(db);
  const batcher = new Batcher(sender);
  return {
    async dispatch(messageType, payload, options) {
      const message = await prepare(messageType, payload, options);
      return await batcher.send(message, JSON.stringify(message).length);
    },
    async dispatchBatch(dispatches, { atomic = true } = {}) {
      const prepared = await attemptEach(
        dispatches,
        (one) => prepare(one.messageType, one.payload, one.options),
        atomic,
      );
      return await sendAccepted(prepared, (messages) => sender.send(messages, atomic));
    },
    async schedule(messageType, when, payload) {
      const { name = messageType.type, ...args } = scheduleArgs(when);
      const stored = await checked(messageType, payload ?? {});
      return await db.call("messenger_schedule", { name, type: messageType.type, payload: stored, ...args });
    },
    async schedules() {
      const all: ListedSchedule[] = [];
      let cursor: string | undefined;
      do {
        const page = await db.call("messenger_list_schedules", { cursor, max: PAGE }) as unknown as SchedulePage;
        all.push(...page.schedules);
        cursor = page.next_cursor ?? undefined;
      } while (cursor);
      return all;
    },
    async pauseSchedule(name) {
      return await db.call("messenger_pause_schedule", named(name));
    },
    async resumeSchedule(name) {
      return await db.call("messenger_resume_schedule", named(name));
    },
    async unschedule(name) {
      return await db.call("messenger_unschedule", named(name));
    },
    async preview(when, options = {}) {
      const { name: _, ...args } = scheduleArgs(when);
      const { from, count } = parse(previewOptions, options, { from: "SM_SCHEDULE", count: "SM_SCHEDULE" });
      return await db.call("messenger_schedule_preview", { ...args, from_time: from, count });
    },
  };
}

/** Checked as the edge function does it, in JSON: whatever Postgres could not read is rejected here, by name. */
async function prepare(messageType: MessageType, payload: unknown, options?: DispatchOptions): Promise<NewMessage> {
  const message = { type: messageType.type, payload };
  const request = parseDispatch(toJson({ message, options }, REQUEST_DEPTH, "dispatch"));
  await checkPayload(messageType, request.message.payload);
  return toNewMessage(request);
}

/** The payload is checked, then stored as it was given: the handler parses it again. */
async function checked(messageType: MessageType, payload: unknown): Promise<JsonObject> {
  const stored = toJson(payload, undefined, "payload");
  if (!isObject(stored)) throw new SymphonyError("SM_PAYLOAD_NOT_OBJECT", "The payload is not an object.");
  await checkPayload(messageType, stored);
  return stored;
}

function scheduleArgs(when: ScheduleRequest) {
  return toScheduleArgs(toJson(when, undefined, "schedule"));
}

/** A schedule's name, once it is known to be a text that Postgres can read. */
function named(name: string): { name: string } {
  return parse(scheduleName, toJson({ name }), { name: "SM_SCHEDULE" });
}
