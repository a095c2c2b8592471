// The errors of the public API: every code with its HTTP status and remedy, and the errors of handlers.

export { CancelRequested, FunctionFailed, RetryAfter, Snooze, StaleLease, Unrecoverable } from "./handler_errors.ts";

/**
 * Every error code. `remedy` is the hint of an error that has none of its own, so it must be right for every field and
 * cause of the code.
 */
export const ERRORS = {
  SM_BODY: { status: 400, remedy: "Send one JSON object with the documented fields." },
  SM_JSON: { status: 400, remedy: "Send valid JSON." },
  SM_DEPTH: { status: 400, remedy: "Nest JSON at most 64 levels deep." },
  SM_UNKNOWN_FIELD: { status: 400, remedy: "Remove the field or correct its spelling." },
  SM_FILTER: {
    status: 400,
    remedy:
      "Send a filter as an object with values of the documented types, {} for all; a cursor only to its own list.",
  },
  SM_TYPE: { status: 400, remedy: "A type is 1 to 128 characters: a letter, then letters, digits, _ . : or -." },
  SM_QUEUE: {
    status: 400,
    remedy: "A queue is 1 to 63 lower-case letters, digits, _ or -, the first a letter or digit.",
  },
  SM_TRANSPORT: {
    status: 400,
    remedy: "Name an enabled row of messenger_transports whose type this project has configured.",
  },
  SM_PRIORITY: { status: 400, remedy: "A priority is a whole number from 1 to 10; 10 goes first." },
  SM_MAX_RETRIES: { status: 400, remedy: "Send a whole number of retries from 0 to 100." },
  SM_AVAILABLE_AT: {
    status: 400,
    remedy: "Send an ISO 8601 date with a zone, before the year 10000, such as 2030-01-31T09:00:00Z.",
  },
  SM_DELAY: {
    status: 400,
    remedy: "A delay is 0 to 3110400000000 whole milliseconds (100 years), and goes without scheduledAt.",
  },
  SM_EXPIRES_AT: {
    status: 400,
    remedy: "Send an ISO 8601 date with a zone, later than now and than the message's availability.",
  },
  SM_IDEMPOTENCY_KEY: { status: 400, remedy: "An idempotency key is 1 to 255 bytes without control characters." },
  SM_IDEMPOTENCY_MODE: { status: 400, remedy: "Use ignore, replace, reschedule, throttle or debounce." },
  SM_ORDERING_KEY: { status: 400, remedy: "An ordering key is 1 to 255 bytes without control characters." },
  SM_PAYLOAD_NOT_OBJECT: { status: 400, remedy: "A payload is a JSON object." },
  SM_HEADERS_NOT_OBJECT: { status: 400, remedy: "Headers are a JSON object." },
  SM_METADATA_NOT_OBJECT: { status: 400, remedy: "Metadata is a JSON object." },
  SM_WORKER: { status: 400, remedy: "A worker's name is 1 to 200 characters without control characters." },
  SM_BATCH: { status: 400, remedy: "A batch holds 1 to 1000 elements." },
  SM_LEASE: { status: 400, remedy: "A lease lasts longer than zero and at most 12 hours." },
  SM_OUTCOME: {
    status: 400,
    remedy: "An outcome is an object with id, fence and outcome: completed, failed, snoozed or released.",
  },
  SM_CRON: { status: 400, remedy: "Send a cron expression of 5 or 6 fields, such as 0 9 * * mon-fri." },
  SM_CRON_NEVER: { status: 400, remedy: "Send a cron expression that names a day that exists." },
  SM_INTERVAL: { status: 400, remedy: "Send an interval of 1000 to 31622400000 whole milliseconds." },
  SM_TIMEZONE: {
    status: 400,
    remedy: "Send an IANA time zone, such as Europe/Amsterdam; abbreviations such as EST are none.",
  },
  SM_SCHEDULE: {
    status: 400,
    remedy: "Send one of cron, interval and at, and options with the documented names and ranges.",
  },
  SM_SETTING: { status: 400, remedy: "Use a value of the documented type and range." },
  SM_UNAUTHENTICATED: {
    status: 401,
    remedy: "Send a user's access token, a secret key or the worker secret, whichever this edge function accepts.",
  },
  SM_TYPE_FORBIDDEN: {
    status: 403,
    remedy:
      "Users may dispatch types registered with dispatchableBy user; types beginning with symphony. belong to the bus.",
  },
  SM_FIELD_FORBIDDEN: { status: 403, remedy: "Leave the field out, or call from a server with a secret key." },
  SM_NOT_FOUND: { status: 404, remedy: "Check the path, and the id or name in it." },
  SM_METHOD: { status: 405, remedy: "Use a method that the Allow header names." },
  SM_IDEMPOTENCY_MISMATCH: { status: 409, remedy: "Use a new idempotency key for a different message." },
  SM_STALE_LEASE: { status: 409, remedy: "Stop: another worker owns the message now." },
  SM_CONFLICT: { status: 409, remedy: "Read the current state and decide again." },
  SM_PAYLOAD_TOO_LARGE: { status: 413, remedy: "A payload holds at most 256 KB; store the data and send a reference." },
  SM_HEADERS_TOO_LARGE: {
    status: 413,
    remedy: "Headers and metadata hold at most 16 KB each; move the data into the payload.",
  },
  SM_BATCH_TOO_LARGE: { status: 413, remedy: "Split the batch: at most 8 MB and 1000 messages per call." },
  SM_CONTENT_TYPE: { status: 415, remedy: "Send the header Content-Type: application/json." },
  SM_NUMBER_RANGE: { status: 422, remedy: "Send numbers that a double holds exactly, all others as strings." },
  SM_NUL: { status: 422, remedy: "Remove the NUL character \\u0000; Postgres cannot store it." },
  SM_PAYLOAD: { status: 422, remedy: "Make the payload fit the schema of its message type." },
  SM_RATE: {
    status: 429,
    remedy: "Wait until some of the user's messages have finished; an operator can resolve the user's dead letters.",
  },
  SM_INTERNAL: { status: 500, remedy: "Look for the request id in the function's log." },
  SM_UNAVAILABLE: {
    status: 503,
    remedy: "Try again after the seconds in Retry-After; with an idempotency key that is safe.",
  },
} as const satisfies Record<string, { status: number; remedy: string }>;

/** A code of {@linkcode ERRORS}. */
export type ErrorCode = keyof typeof ERRORS;

/**
 * An error of the bus with its code, HTTP status and hint. `message` and `hint` are safe to show to a caller; `cause`
 * is for the log.
 *
 * @example Handle one code of a failed dispatch
 * ```ts
 * import { SymphonyError } from "./shared/errors.ts";
 *
 * const error: unknown = new SymphonyError("SM_QUEUE", "options.queue must be a string, not 7.");
 * if (error instanceof SymphonyError && error.code === "SM_QUEUE") {
 *   console.log(error.status, error.hint);
 * }
 * ```
 */
export class SymphonyError extends Error {
  /** Always `SymphonyError`. */
  override readonly name = "SymphonyError";
  /** The code, one of {@linkcode ERRORS}. */
  readonly code: ErrorCode;
  /** The HTTP status that an edge function replies with. */
  readonly status: number;
  /** The next step for the caller. */
  readonly hint: string;

  /**
   * Describes a rejected or failed call.
   *
   * @param code the code, which decides the status
   * @param message a sentence that names the field, the value and the allowed range
   * @param options `hint` (default: the remedy of the code) and `cause`
   */
  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.status = ERRORS[code].status;
    this.hint = options.hint || ERRORS[code].remedy;
  }

  /** Whether the same call may succeed later, unchanged. */
  get transient(): boolean {
    return this.code === "SM_UNAVAILABLE";
  }
}

/**
 * Whether a value is one of the codes of {@linkcode ERRORS}.
 *
 * @param code any value, such as `details` of a PostgREST error
 * @returns true for a code of the table
 *
 * @example
 * ```ts
 * import { ERRORS, isErrorCode } from "./shared/errors.ts";
 *
 * const code: unknown = "SM_RATE";
 * if (isErrorCode(code)) console.log(ERRORS[code].status);
 * ```
 */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(ERRORS, code);
}

/**
 * Turns anything thrown into a SymphonyError. An unexpected error becomes SM_INTERNAL with a fixed message, because its
 * own message may hold secrets.
 *
 * @param error anything thrown
 * @returns the error itself if it is a SymphonyError, otherwise SM_INTERNAL with the error as its `cause`
 *
 * @example
 * ```ts
 * import { toSymphonyError } from "./shared/errors.ts";
 *
 * const error = toSymphonyError(new TypeError("x is not a function"));
 * console.log(error.code); // SM_INTERNAL
 * ```
 */
export function toSymphonyError(error: unknown): SymphonyError {
  if (error instanceof SymphonyError) return error;
  return new SymphonyError("SM_INTERNAL", "The request failed for a reason inside the project.", { cause: error });
}
