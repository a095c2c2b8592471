// Every error an outsider can meet: its code, HTTP status and remedy, and how a handler speaks by throwing.

/** The one table. `remedy` is the hint where none is given: it must be right for every field and cause of its code. */
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

export type ErrorCode = keyof typeof ERRORS;

/** An error with a code of the table. `message` is safe to show to the caller; `cause` is for the log. */
export class SymphonyError extends Error {
  override readonly name = "SymphonyError";
  readonly status: number;
  readonly hint: string;

  constructor(readonly code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.status = ERRORS[code].status;
    this.hint = options.hint || ERRORS[code].remedy;
  }

  /** Whether the same call may succeed later: nothing was wrong with what was asked. */
  get transient(): boolean {
    return this.code === "SM_UNAVAILABLE";
  }
}

/** Thrown by a handler: a retry cannot help, the message goes to the dead letters now. */
export class Unrecoverable extends Error {
  override readonly name: string = "Unrecoverable";
}

/** Thrown by a handler: retry (counted) not earlier than `ms` milliseconds from now. */
export class RetryAfter extends Error {
  override readonly name = "RetryAfter";
  constructor(readonly ms: number, message = `Retry after ${ms} ms.`, options?: ErrorOptions) {
    super(message, options);
  }
}

/** Thrown by a handler: come back in `ms` milliseconds; burns no retry. */
export class Snooze extends Error {
  override readonly name = "Snooze";
  constructor(readonly ms: number) {
    super(`Snoozed for ${ms} ms.`);
  }
}

/** A database function called by `completeWith` raised: everything it did is undone, and the lease is still held. */
export class FunctionFailed extends Error {
  override readonly name = "FunctionFailed";
  /** @param code the SQLSTATE; PT422 means that a retry cannot help */
  constructor(readonly code: string, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** The reason of a handler's aborted signal when another worker took the message over; its outcome is not recorded. */
export class StaleLease extends Error {
  override readonly name = "StaleLease";
  constructor() {
    super("The lease was lost: another worker owns the message now.");
  }
}

/** The reason of a handler's aborted signal when somebody asked to cancel the message. */
export class CancelRequested extends Error {
  override readonly name = "CancelRequested";
  constructor() {
    super("Cancellation of the message was requested.");
  }
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(ERRORS, code);
}

/** Anything thrown, as a SymphonyError; a caller's message never reaches the caller. */
export function toSymphonyError(error: unknown): SymphonyError {
  if (error instanceof SymphonyError) return error;
  return new SymphonyError("SM_INTERNAL", "The request failed for a reason inside the project.", { cause: error });
}
