// A stranger's object against a schema: the first thing wrong with it, as one refusal.
import type { z } from "zod";
import { type ErrorCode, SymphonyError } from "./errors.ts";

/**
 * @param codes the refusal of a field by its name; a field without one, and the object itself, is SM_BODY
 * @throws SymphonyError naming the field
 */
export function parse<S extends z.ZodType>(schema: S, value: unknown, codes: Record<string, ErrorCode>): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw refusalOf(parsed.error.issues, codes);
}

/** The first issue as a refusal. */
export function refusalOf([issue]: readonly z.core.$ZodIssue[], codes: Record<string, ErrorCode>): SymphonyError {
  if (issue.code === "unrecognized_keys") {
    const fields = issue.keys.map((key) => [...issue.path, key].join("."));
    return new SymphonyError("SM_UNKNOWN_FIELD", `Unknown field: ${fields.join(", ").slice(0, 200)}`);
  }
  const field = issue.path.findLast((part) => typeof part === "string");
  const code = field !== undefined && Object.hasOwn(codes, field) ? codes[field] : "SM_BODY";
  return new SymphonyError(code, `${issue.path.join(".") || "body"}: ${issue.message}`);
}
