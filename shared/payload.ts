// Parses payloads by the schemas of their types.
import { z } from "zod";
import { SymphonyError } from "./errors.ts";
import { isInexactNumber } from "./exact_numbers.ts";
import type { Json, JsonObject } from "./json.ts";
import type { MessageType, PayloadSchema } from "./message.ts";

const SHOWN = 5;

/** Parses a payload; the schema's own refinements and transforms may throw. */
export function parsePayload({ payload: schema }: MessageType, payload: Json): Promise<z.ZodSafeParseResult<unknown>> {
  return z.safeParseAsync(schema as PayloadSchema & z.core.$ZodType, payload); // definitions are checked to hold zod's
}

/** Rejects a payload that its handler would reject. The payload is stored unparsed: the handler parses it again. */
export async function checkPayload(messageType: MessageType, payload: JsonObject): Promise<void> {
  const parsed = await parsePayload(messageType, payload);
  if (!parsed.success) throw invalidPayloadError(messageType.type, parsed.error);
}

/**
 * SM_PAYLOAD with the path of each issue.
 * @param delivered the payload as it came from the database
 */
export function invalidPayloadError(type: string, error: z.ZodError, delivered?: Json): SymphonyError {
  const issues = error.issues.slice(0, SHOWN).map(({ path, message }) =>
    `${path.join(".") || "payload"}: ${message}${becameString(delivered, path)}`
  );
  const more = error.issues.length > SHOWN ? `; and ${error.issues.length - SHOWN} more` : "";
  return new SymphonyError("SM_PAYLOAD", `The payload does not fit ${type}: ${issues.join("; ")}${more}`);
}

function becameString(delivered: unknown, path: readonly PropertyKey[]): string {
  const value = path.reduce<unknown>((at, key) => at instanceof Object ? Reflect.get(at, key) : undefined, delivered);
  if (typeof value !== "string" || !isInexactNumber(value)) return "";
  return ` (a double cannot hold ${value.slice(0, 40)}, so it is delivered as a string: accept it with z.string())`;
}
