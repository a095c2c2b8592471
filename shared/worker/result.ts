// Converts a handler's result to JSON of at most 64 KB, or to a marker with the reason why it is not stored.
import { storable } from "./failure.ts";
import { type Json, toJson } from "../json.ts";
import type { Log } from "../log.ts";

const LARGEST = 65_536; // bytes; SQL has the same limit, and a megabyte need not be sent
const LONGEST_REASON = 500; // characters
const encoder = new TextEncoder();

/**
 * A result that cannot be stored is replaced by `{ symphony_dropped: reason }` instead of failing the delivery: the
 * handler has finished, and a retry would do its work again.
 */
export function storableResult(result: unknown, log: Log): Json {
  try {
    const value = toJson(result, undefined, "result");
    const text = JSON.stringify(value);
    if (text.length * 3 <= LARGEST) return value;
    const bytes = encoder.encode(text).length;
    if (bytes <= LARGEST) return value;
    log.warn("result dropped", { reason: "larger than 64 KB", bytes });
    return { symphony_dropped: "larger than 64 KB", bytes };
  } catch (error) {
    const reason = reasonOf(error);
    log.warn("result dropped", { reason });
    return { symphony_dropped: reason };
  }
}

/** A toJSON method may throw any value, and the message of an error may be any value too. */
function reasonOf(error: unknown): string {
  try {
    return storable(String(error instanceof Error ? error.message : error).slice(0, LONGEST_REASON));
  } catch {
    return "The result cannot be written as JSON.";
  }
}
