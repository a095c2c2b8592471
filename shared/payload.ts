// A payload against its type's schema.
import { z } from "zod";
import { SymphonyError } from "./errors.ts";
import { isInexactNumber } from "./exact_numbers.ts";
import type { Json, JsonObject } from "./json.ts";
import type { MessageType } from "./message.ts";

const SHOWN = 5;

/** Rejects a payload that its type's handler would reject; what is stored stays as it was sent. */
export async function checkPayload(messageType: MessageType, payload: JsonObject): Promise<void> {
  const parsed = await z.safeParseAsync(messageType.payload, payload);
  if (!parsed.success) throw refusalOf(messageType.type, parsed.error);
}

/**
 * SM_PAYLOAD with the path of each complaint.
 * @param delivered the payload as it came from the database
 */
export function refusalOf(type: string, error: z.ZodError, delivered?: Json): SymphonyError {
  const complaints = error.issues.slice(0, SHOWN).map(({ path, message }) =>
    `${path.join(".") || "payload"}: ${message}${becameString(delivered, path)}`
  );
  const more = error.issues.length > SHOWN ? `; and ${error.issues.length - SHOWN} more` : "";
  return new SymphonyError("SM_PAYLOAD", `The payload does not fit ${type}: ${complaints.join("; ")}${more}`);
}

function becameString(delivered: unknown, path: readonly PropertyKey[]): string {
  const value = path.reduce<unknown>((at, key) => at instanceof Object ? Reflect.get(at, key) : undefined, delivered);
  if (typeof value !== "string" || !isInexactNumber(value)) return "";
  return ` (a double cannot hold ${value.slice(0, 40)}, so it is delivered as a string: accept it with z.string())`;
}
