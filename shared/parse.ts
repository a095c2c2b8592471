// Parses untrusted input by a schema; the first fault becomes one error that names the field.
import type { z } from "zod";
import { type ErrorCode, SymphonyError } from "./errors.ts";

type Issue = z.core.$ZodIssue;

const KINDS: Record<string, string> = {
  int: "a whole number",
  number: "a number",
  string: "a string",
  boolean: "true or false",
  array: "an array",
  object: "an object",
  record: "an object",
};
/** The words around a size, by the kind of value; a number is a size itself. */
const SIZES: Record<string, [of: string, unit: string]> = {
  string: ["a text of ", " characters"],
  array: ["a list of ", " elements"],
};

/**
 * @param codes the error code of a field by its name; a field without one, and the object itself, is SM_BODY
 * @throws SymphonyError naming the field
 */
export function parse<S extends z.ZodType>(schema: S, value: unknown, codes: Record<string, ErrorCode>): z.output<S> {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw validationError(parsed.error.issues, codes);
}

/** The first issue as an error; its hint is the field's own range if the schema has one. */
export function validationError([issue]: readonly Issue[], codes: Record<string, ErrorCode>): SymphonyError {
  if (issue.code === "unrecognized_keys") {
    const fields = issue.keys.map((key) => [...issue.path, key].join("."));
    return new SymphonyError("SM_UNKNOWN_FIELD", `Unknown field: ${fields.join(", ").slice(0, 200)}`);
  }
  const field = issue.path.findLast((part) => typeof part === "string");
  const code = field !== undefined && Object.hasOwn(codes, field) ? codes[field] : "SM_BODY";
  const name = issue.path.join(".") || "body";
  const expected = expectedBy(issue);
  if (expected === undefined) return new SymphonyError(code, `${name}: ${issue.message}`);
  return new SymphonyError(code, `${name} must be ${expected}${received(issue.input)}.`, {
    hint: limitOf(issue) ?? `Send ${expected}.`,
  });
}

/** The limit that a number exceeds. */
function limitOf(issue: Issue): string | undefined {
  if (issue.code === "too_big" && !SIZES[issue.origin]) return `The largest value allowed is ${issue.maximum}.`;
  if (issue.code === "too_small" && !SIZES[issue.origin]) return `The smallest value allowed is ${issue.minimum}.`;
}

function sized(origin: string, size: string): string {
  const [of, unit] = SIZES[origin] ?? ["", ""];
  return of + size + unit;
}

/** What the schema accepts here; undefined if zod has only a sentence for it. */
function expectedBy(issue: Issue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return KINDS[issue.expected];
    case "too_small":
      return sized(issue.origin, `at least ${issue.minimum}`);
    case "too_big":
      return sized(issue.origin, `at most ${issue.maximum}`);
    case "invalid_value":
      return issue.values.length > 1 ? `one of ${issue.values.join(", ")}` : String(issue.values[0]);
    case "invalid_format":
      if (issue.format === "uuid") return "a UUID";
      // falls through
    default:
      return issue.message.match(/^expected (.+)$/)?.[1]; // our own schemas' errors
  }
}

function received(input: unknown): string {
  if (input === undefined || typeof input === "object" && input !== null) return "";
  return `, not ${String(JSON.stringify(input)).slice(0, 60)}`;
}
