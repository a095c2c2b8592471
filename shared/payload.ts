// A payload against its type's schema.
import { z } from "zod";
import { SymphonyError } from "./errors.ts";
import type { JsonObject } from "./json.ts";
import type { MessageType } from "./message.ts";

const SHOWN = 5;

/** Refuses a payload that its type's handler would refuse; what is stored stays as it was sent. */
export async function checkPayload(messageType: MessageType, payload: JsonObject): Promise<void> {
  const parsed = await z.safeParseAsync(messageType.payload, payload);
  if (!parsed.success) throw refusalOf(messageType.type, parsed.error);
}

/** SM_PAYLOAD with the path of each complaint. */
export function refusalOf(type: string, error: z.ZodError): SymphonyError {
  const complaints = error.issues.slice(0, SHOWN).map(({ path, message }) =>
    `${path.join(".") || "payload"}: ${message}`
  );
  const more = error.issues.length > SHOWN ? `; and ${error.issues.length - SHOWN} more` : "";
  return new SymphonyError("SM_PAYLOAD", `The payload does not fit ${type}: ${complaints.join("; ")}${more}`);
}
