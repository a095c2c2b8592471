// A handler's result as it is stored: JSON of at most 64 KB, or a marker that says why there is none.
import { storable } from "./failure.ts";
import { type Json, toJson } from "../json.ts";
import type { Log } from "../log.ts";

const LARGEST = 65_536; // bytes; SQL has the same limit, and a megabyte would travel for nothing
const LONGEST_REASON = 500; // characters
const encoder = new TextEncoder();

/**
 * The handler has finished, so a retry would do its work again: a result that cannot be stored is replaced by
 * `{ symphony_dropped: reason }`, and the message is completed.
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

/** What a toJSON method throws may be anything, and its message too. */
function reasonOf(error: unknown): string {
  try {
    return storable(String(error instanceof Error ? error.message : error).slice(0, LONGEST_REASON));
  } catch {
    return "The result cannot be written as JSON.";
  }
}
