// Converts failed database calls to errors of the bus, by code and credential; messages of Postgres may be translated.
import { type ErrorCode, isErrorCode, SymphonyError } from "./errors.ts";

/** The error of PostgREST, as supabase-js returns it. */
export interface PostgrestFailure {
  code?: string | null;
  message: string;
  details?: string | null;
  hint?: string | null;
}

/**
 * The owner of the credential that a call carries, and so of the fault if it is rejected: the `caller` (a client's
 * key), a `user` (a token beside the deployment's publishable key) or the `deployment` (an edge function's secret key).
 */
export type Credential = "caller" | "user" | "deployment";

// The transaction was rolled back or never began: a lost race, a lock, a timeout, no resources.
const UNDONE = /^(40001|40P01|55P03|57014|53...)$/;
// Raised by triggers and functions of the project: the bus's own functions check before they write.
const READ_ONLY = "25006";
// Connection, server or PostgREST's pool failed: the call may have succeeded, and only its reply was lost.
const BROKEN_OFF = /^(08(000|001|003|004|006|007)|40003|57P0[123]|58(000|030)|PGRST00\d)$/;
const MISSING = /^(PGRST20[25]|42883|42P01|3F000)$/;
const BAD_TOKEN = /^PGRST30\d$/;
const FROM_DATABASE = /^([0-9A-Z]{5}|PGRST.*)$/;
const UNAVAILABLE_STATUSES = new Set([429, 502, 503, 504, 520, 521, 522, 523, 524, 544, 546]);

const UNREACHABLE = "The database cannot be reached right now.";
const NO_REPLY_HINT =
  "Try again; with an idempotency key that is safe. If this persists, check the project's URL and that it runs.";

/**
 * The caller is at fault only if the bus's own SQL raised an SM_ code in `details`. Arguments are checked before they
 * are sent, so any other SQLSTATE, including class 22 (malformed data), comes from code that ran: a trigger of the
 * project, auth.uid(), a business function.
 * @param failure the error of PostgREST, of the gateway or of a failed fetch
 * @param status the HTTP status; 0 if there was no reply
 */
export function fromPostgrest(failure: PostgrestFailure, status: number, credential: Credential): SymphonyError {
  const { message, details, hint } = failure;
  const code = String(failure.code ?? "");
  const because = (ours: ErrorCode, sentence: string, hint?: string) =>
    new SymphonyError(ours, sentence, { hint, cause: failure });

  if (isErrorCode(details)) return new SymphonyError(details, message, { hint: hint ?? undefined });
  // PostgREST reports the called function; Postgres may report an object that a trigger of the project lacks.
  if (MISSING.test(code) && (code.startsWith("PGRST") || /\bmessenger(_|\b)/.test(message))) {
    const remedy = "Apply this release's migration, then reload the API's schema cache.";
    return because("SM_UNAVAILABLE", "The database lacks a function or table of Symphony Messenger.", remedy);
  }
  if (status === 0) return because("SM_UNAVAILABLE", "The database did not reply.", NO_REPLY_HINT);
  if (code === READ_ONLY) {
    const remedy = "Nothing was changed. Try again after the seconds in Retry-After, at the primary database.";
    return because("SM_UNAVAILABLE", "The database is read only.", remedy);
  }
  if (UNDONE.test(code)) {
    const remedy = "Nothing was changed. Try again after the seconds in Retry-After.";
    return because("SM_UNAVAILABLE", "The database could not finish the call and undid it.", remedy);
  }
  if (BROKEN_OFF.test(code)) return because("SM_UNAVAILABLE", UNREACHABLE);
  if (status === 401 || BAD_TOKEN.test(code)) {
    // Beside a user's token only PGRST30x concerns the token, any other code the deployment's publishable key.
    const isCallersFault = credential === "caller" || credential === "user" && BAD_TOKEN.test(code);
    if (isCallersFault) return because("SM_UNAUTHENTICATED", message);
    const remedy = "Check SUPABASE_SECRET_KEYS and SUPABASE_PUBLISHABLE_KEYS in the edge function's environment.";
    return because("SM_INTERNAL", "The database rejected the edge function's own key.", remedy);
  }
  // Gateways reply with codes of their own, or without one.
  if (!FROM_DATABASE.test(code) && UNAVAILABLE_STATUSES.has(status)) return because("SM_UNAVAILABLE", UNREACHABLE);
  return because("SM_INTERNAL", "The database could not carry out the call, for a reason inside the project.");
}

/** The error of one element of a batch, which arrives as data. */
export function fromElement(code: string, message: string): SymphonyError {
  if (isErrorCode(code)) return new SymphonyError(code, message);
  const cause: PostgrestFailure = { code, message };
  return new SymphonyError("SM_INTERNAL", "The message could not be stored, for a reason inside the project.", {
    cause,
  });
}
