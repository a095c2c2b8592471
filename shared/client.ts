// The client of the bus: dispatch and schedules, typed by the schema of the message.
import { z } from "zod";
import { Batcher } from "./dispatch/batcher.ts";
import { type Args, connect, type Connection, type Database, type FunctionName, type Functions } from "./db.ts";
import type { Returns, Row, TableName, Tables } from "./db.ts";
import { type DispatchOptions, type IdempotencyMode, parseDispatch, toNewMessage } from "./dispatch/request.ts";
import { SymphonyError } from "./errors.ts";
import { moment } from "./fields.ts";
import { isObject, type Json, type JsonObject, toJson } from "./json.ts";
import type { MessageType, PayloadInput, PayloadSchema } from "./message.ts";
import { parse } from "./parse.ts";
import { checkPayload } from "./payload.ts";
import { attemptEach, sendAccepted } from "./dispatch/attempt_each.ts";
import { type ScheduleRequest, toScheduleArgs } from "./schedule.ts";
import type { NewMessage, SendResult, Sent } from "./sender.ts";
import { supabaseSender } from "./transports/supabase.ts";

// Types that the signatures below name.
export type { Args, Connection, Database, FunctionName, Functions, Json, JsonObject, MessageType, PayloadInput };
export type { DispatchOptions, IdempotencyMode, PayloadSchema, Returns, Row, ScheduleRequest, SendResult, Sent };
export type { TableName, Tables };

/** A run of a schedule, as messenger_schedule_preview returns it. */
export interface ScheduledRun {
  /** ISO 8601; null if DST skips the wall-clock time and the run with it. */
  run_at: string | null;
  /** The wall-clock time in the schedule's time zone. */
  local_time: string;
  /** How DST affects the run: moved, first or second of the repeated hour, skipped; otherwise null. */
  note: string | null;
}

/** A row of messenger_schedules; durations in milliseconds, moments ISO 8601. */
export type Schedule = Returns<"messenger_schedule">;

/** A schedule with the last message that it has stored. */
export interface ListedSchedule extends Schedule {
  /** The id of the message; null before the first run. */
  last_message_id: string | null;
  /** The status of the message; null before the first run and after the message has been deleted. */
  last_message_status: string | null;
}

const PAGE = 1_000; // schedules per call, as many as SQL allows
const REQUEST_DEPTH = 66; // the 64 levels of a payload, and the 2 of the request around it
const previewOptions = z.object({ from: moment.optional(), count: z.int().min(1).max(1_000).optional() });
const scheduleName = z.object({ name: z.string() });

interface SchedulePage {
  schedules: ListedSchedule[];
  next_cursor: string | null;
}

/** One element of `dispatchBatch`. */
export interface Dispatch<S extends PayloadSchema = PayloadSchema> {
  /** The type of the message. */
  messageType: MessageType<string, S>;
  /** Its payload. */
  payload: PayloadInput<S>;
  /** Its options. */
  options?: DispatchOptions;
}

/** The client of the bus, for servers: it holds a secret key. */
export interface Symphony {
  /**
   * Stores a message. Calls that are made while another one is in flight share the next request.
   *
   * After SM_UNAVAILABLE send the message again with the same `idempotencyKey`. Send a key wherever a second message
   * would do harm: fetch itself may repeat a request whose connection closed before the first byte of the reply.
   *
   * @param messageType the type, from `defineMessage`
   * @param payload checked by the type's schema
   * @param options queue, priority, delay and others; durations are milliseconds, moments ISO 8601 with a zone
   * @returns the stored message's values
   * @throws SymphonyError SM_PAYLOAD, SM_UNAVAILABLE and the codes of the options
   *
   * @example
   * ```ts
   * import { z } from "zod";
   * import { createSymphony } from "./shared/client.ts";
   * import { defineMessage } from "./shared/message.ts";
   *
   * const greeting = defineMessage({ type: "Greeting", payload: z.object({ to: z.string() }), handle: () => {} });
   * const symphony = createSymphony({
   *   url: Deno.env.get("SUPABASE_URL") ?? "",
   *   key: Deno.env.get("SUPABASE_SECRET_KEY") ?? "",
   * });
   * const { id, duplicate } = await symphony.dispatch(greeting, { to: "Ada" }, {
   *   delay: 5_000, // milliseconds
   *   idempotencyKey: "greet-ada",
   * });
   * console.log(id, duplicate);
   * ```
   */
  dispatch<S extends PayloadSchema>(
    messageType: MessageType<string, S>,
    payload: PayloadInput<S>,
    options?: DispatchOptions,
  ): Promise<Sent>;
  /**
   * Stores up to 1,000 messages with one call, in their order.
   *
   * @param dispatches the messages; an empty list stores none
   * @param options `atomic`: true (the default) stores all or none, and the first bad message throws; false puts a
   * SymphonyError into the result of each bad message
   * @returns one result per message, in the same order
   * @throws SymphonyError for the call; if atomic, also for the first bad message
   *
   * @example
   * ```ts
   * import { z } from "zod";
   * import { createSymphony } from "./shared/client.ts";
   * import { SymphonyError } from "./shared/errors.ts";
   * import { defineMessage } from "./shared/message.ts";
   *
   * const greeting = defineMessage({ type: "Greeting", payload: z.object({ to: z.string() }), handle: () => {} });
   * const symphony = createSymphony({
   *   url: Deno.env.get("SUPABASE_URL") ?? "",
   *   key: Deno.env.get("SUPABASE_SECRET_KEY") ?? "",
   * });
   * const dispatches = ["Ada", "Grace"].map((to) => ({ messageType: greeting, payload: { to } }));
   * for (const result of await symphony.dispatchBatch(dispatches, { atomic: false })) {
   *   console.log(result instanceof SymphonyError ? result.message : result.id);
   * }
   * ```
   */
  dispatchBatch(dispatches: readonly Dispatch[], options?: { atomic?: boolean }): Promise<SendResult[]>;
  /**
   * Saves a schedule under `when.name`. Saving the same schedule again changes nothing.
   *
   * @param messageType the type of its messages; its name is the default of `when.name`
   * @param when one of `cron`, `interval` (milliseconds) and `at`, with time zone and policies
   * @param payload the payload of its messages; default: `{}`
   * @returns its row in messenger_schedules
   * @throws SymphonyError SM_CRON, SM_CRON_NEVER, SM_INTERVAL, SM_TIMEZONE, SM_SCHEDULE, and the codes of a dispatch
   *
   * @example
   * ```ts
   * import { z } from "zod";
   * import { createSymphony } from "./shared/client.ts";
   * import { defineMessage } from "./shared/message.ts";
   *
   * const report = defineMessage({ type: "Report", payload: z.object({}), handle: () => {} });
   * const symphony = createSymphony({
   *   url: Deno.env.get("SUPABASE_URL") ?? "",
   *   key: Deno.env.get("SUPABASE_SECRET_KEY") ?? "",
   * });
   * const when = { name: "weekday report", cron: "0 9 * * mon-fri", timezone: "Europe/Berlin" };
   * for (const { run_at } of await symphony.preview(when, { count: 3 })) console.log(run_at);
   * await symphony.schedule(report, when);
   * await symphony.pauseSchedule("weekday report");
   * await symphony.resumeSchedule("weekday report");
   * for (const { name, next_run_at } of await symphony.schedules()) console.log(name, next_run_at);
   * await symphony.unschedule("weekday report");
   * ```
   */
  schedule<S extends PayloadSchema>(
    messageType: MessageType<string, S>,
    when: ScheduleRequest,
    payload?: PayloadInput<S>,
  ): Promise<Schedule>;
  /**
   * Lists all schedules by name, including paused and ended ones.
   *
   * @returns the schedules, each with its last message
   * @throws SymphonyError if the database cannot be read
   */
  schedules(): Promise<ListedSchedule[]>;
  /**
   * Stops a schedule until it is resumed. Runs that fall due meanwhile are skipped; a single moment runs late.
   *
   * @param name the schedule's name
   * @returns false if it was paused or had ended already
   * @throws SymphonyError SM_NOT_FOUND
   */
  pauseSchedule(name: string): Promise<boolean>;
  /**
   * Starts a paused schedule again, from now on.
   *
   * @param name the schedule's name
   * @returns false if it was not paused or has ended
   * @throws SymphonyError SM_NOT_FOUND
   */
  resumeSchedule(name: string): Promise<boolean>;
  /**
   * Removes a schedule. Messages that it has stored stay.
   *
   * @param name the schedule's name
   * @returns false if there is no schedule of this name
   * @throws SymphonyError if the database cannot be written
   */
  unschedule(name: string): Promise<boolean>;
  /**
   * Computes the next runs of a schedule without saving it.
   *
   * @param when the schedule, as for `schedule`
   * @param options `from`: runs after this moment, ISO 8601 with a zone (default: now); `count`: 1 to 1,000, default 10
   * @returns the runs in order
   * @throws SymphonyError the codes of `schedule`
   */
  preview(when: ScheduleRequest, options?: { from?: string; count?: number }): Promise<ScheduledRun[]>;
}

/**
 * Creates the client. Nothing is sent until the first call.
 *
 * @param connection the project's URL and a secret key, or an open database
 * @returns the client
 *
 * @example
 * ```ts
 * import { createSymphony } from "./shared/client.ts";
 *
 * const symphony = createSymphony({
 *   url: Deno.env.get("SUPABASE_URL") ?? "",
 *   key: Deno.env.get("SUPABASE_SECRET_KEY") ?? "",
 * });
 * console.log(await symphony.schedules());
 * ```
 */
export function createSymphony(connection: Connection | Database): Symphony {
  const db = "call" in connection ? connection : connect(connection);
  const sender = supabaseSender(db);
  const batcher = new Batcher(sender);
  return {
    async dispatch(messageType, payload, options) {
      const message = await toMessage(messageType, payload, options);
      return await batcher.send(message, JSON.stringify(message).length);
    },
    async dispatchBatch(dispatches, { atomic = true } = {}) {
      const prepared = await attemptEach(
        dispatches,
        ({ messageType, payload, options }) => toMessage(messageType, payload, options),
        atomic,
      );
      return await sendAccepted(prepared, (messages) => sender.send(messages, atomic));
    },
    async schedule(messageType, when, payload) {
      const { name = messageType.type, ...args } = scheduleArgs(when);
      const stored = await toPayload(messageType, payload ?? {});
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
      return await db.call("messenger_pause_schedule", toNameArgs(name));
    },
    async resumeSchedule(name) {
      return await db.call("messenger_resume_schedule", toNameArgs(name));
    },
    async unschedule(name) {
      return await db.call("messenger_unschedule", toNameArgs(name));
    },
    async preview(when, options = {}) {
      const { name: _, ...args } = scheduleArgs(when);
      const { from, count } = parse(previewOptions, options, { from: "SM_SCHEDULE", count: "SM_SCHEDULE" });
      return await db.call("messenger_schedule_preview", { ...args, from_time: from, count });
    },
  };
}

/** Checks a message as the edge function does, as JSON: values that Postgres could not read are rejected by name. */
async function toMessage(messageType: MessageType, payload: unknown, options?: DispatchOptions): Promise<NewMessage> {
  const message = { type: messageType.type, payload };
  const request = parseDispatch(toJson({ message, options }, REQUEST_DEPTH, "dispatch"));
  await checkPayload(messageType, request.message.payload);
  return toNewMessage(request);
}

/** Checks a payload. It is stored unparsed: the handler parses it again. */
async function toPayload(messageType: MessageType, payload: unknown): Promise<JsonObject> {
  const stored = toJson(payload, undefined, "payload");
  if (!isObject(stored)) throw new SymphonyError("SM_PAYLOAD_NOT_OBJECT", "The payload is not an object.");
  await checkPayload(messageType, stored);
  return stored;
}

function scheduleArgs(when: ScheduleRequest) {
  return toScheduleArgs(toJson(when, undefined, "schedule"));
}

/** Rejects a name that is not a text that Postgres can read. */
function toNameArgs(name: string): { name: string } {
  return parse(scheduleName, toJson({ name }), { name: "SM_SCHEDULE" });
}
