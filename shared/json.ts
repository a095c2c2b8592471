// Untrusted JSON: parsed within limits, and rejected where Postgres could not store it.
import { type ErrorCode, SymphonyError } from "./errors.ts";
import { findInexactNumbers } from "./exact_numbers.ts";

/** A JSON value. */
export type Json = string | number | boolean | null | Json[] | JsonObject;
/** A JSON object. */
export type JsonObject = { [key: string]: Json | undefined };

/** Levels of nesting that a payload may have. */
export const MAX_DEPTH = 64;
const ONLY_JSON = "Use objects, arrays, strings, numbers, booleans and null, without cycles; write bigints as strings.";
const encoder = new TextEncoder();

/**
 * Parses text into JSON that Postgres can store as jsonb.
 * @param root the name of the whole value in errors
 * @throws SymphonyError SM_BODY, SM_JSON, SM_DEPTH, SM_NUMBER_RANGE or SM_NUL, with the path of the value
 */
export function parseJson(text: string, depth = MAX_DEPTH, root = "value"): Json {
  if (text.trim() === "") {
    throw new SymphonyError("SM_BODY", `The ${root} is empty.`, { hint: "Send a JSON object, at least {}." });
  }
  rejectDepth(text, depth);
  let value: Json;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(0, 200) : error;
    throw new SymphonyError("SM_JSON", `The ${root} is not valid JSON: ${reason}`);
  }
  rejectInexactNumbers(text, root);
  rejectUnstorable(value, [], root);
  return value;
}

/**
 * Converts a value of the program to JSON that Postgres can store; undefined becomes null.
 * @throws SymphonyError as parseJson; SM_JSON for cycles, functions and bigints
 */
export function toJson(value: unknown, depth = MAX_DEPTH, root = "value"): Json {
  if (value === undefined) return null;
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    // A toJSON method may throw a symbol, or an error whose message is not a string.
    const reason = String(error instanceof Error ? error.message : error).slice(0, 200);
    throw new SymphonyError("SM_JSON", `The ${root} cannot be written as JSON: ${reason}`, { hint: ONLY_JSON });
  }
  if (text === undefined) {
    throw new SymphonyError("SM_JSON", `The ${root} is a ${typeof value}, which cannot be written as JSON.`, {
      hint: ONLY_JSON,
    });
  }
  return parseJson(text, depth, root);
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Rejects a value whose UTF-8 JSON is longer than `bytes`. */
export function rejectLonger(value: Json, bytes: number, code: ErrorCode, name: string, hint?: string): void {
  const text = JSON.stringify(value);
  if (text.length * 3 <= bytes) return;
  const length = encoder.encode(text).length;
  if (length > bytes) {
    throw new SymphonyError(code, `The ${name} has ${length} bytes; the largest size allowed is ${bytes}.`, { hint });
  }
}

/** Reads the text before the parser does: eight megabytes of `[` would become half a gigabyte of arrays. */
function rejectDepth(text: string, deepest: number): void {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (quoted) {
      if (character === 0x5c) i++; // a backslash escapes its successor
      else if (character === 0x22) quoted = false;
    } else if (character === 0x22) quoted = true;
    else if (character === 0x7b || character === 0x5b) {
      if (++depth > deepest) throw new SymphonyError("SM_DEPTH", `The JSON is nested deeper than ${MAX_DEPTH} levels.`);
    } else if (character === 0x7d || character === 0x5d) depth--;
  }
}

/** A 64-bit id would be stored as a different id. The text must be valid JSON. */
function rejectInexactNumbers(text: string, root: string): void {
  for (const { token, path } of findInexactNumbers(text)) {
    const changed = Number.isFinite(Number(token)) ? `change it to ${Number(token)}` : "have no number for it";
    throw new SymphonyError(
      "SM_NUMBER_RANGE",
      `${nameOf(path, root)} is ${
        shortened(token)
      }, but a double cannot hold that number: JavaScript would ${changed}.`,
      { hint: `Send it as a string: "${shortened(token)}".` },
    );
  }
}

function shortened(token: string): string {
  return token.length > 60 ? `${token.slice(0, 40)}...` : token;
}

/** Recursion is safe: the depth has been checked. `path` leads to the value and is restored before the return. */
function rejectUnstorable(value: Json, path: (string | number)[], root: string): void {
  if (typeof value === "string") { if (!isStorable(value)) throw unstorable(value, nameOf(path, root)); }
  else if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      path.push(index);
      rejectUnstorable(value[index], path, root);
      path.pop();
    }
  } else if (isObject(value)) {
    for (const key of Object.keys(value)) {
      if (!isStorable(key)) {
        throw unstorable(key, path.length > 0 ? `A key of ${nameOf(path, root)}` : `A key of the ${root}`);
      }
      if (key === "__proto__") {
        throw new SymphonyError("SM_JSON", `${nameOf(path, root)} has a key named __proto__.`, {
          hint: "Rename the key.",
        });
      }
      path.push(key);
      rejectUnstorable(value[key] ?? null, path, root);
      path.pop();
    }
  }
}

function isStorable(text: string): boolean {
  return !text.includes("\0") && text.isWellFormed();
}

function unstorable(text: string, name: string): SymphonyError {
  if (text.includes("\0")) return new SymphonyError("SM_NUL", `${name} contains the NUL character \\u0000.`);
  return new SymphonyError("SM_JSON", `${name} contains half of a surrogate pair.`, {
    hint: "Cut texts between characters, not between the two halves of one.",
  });
}

function nameOf(path: readonly (string | number)[], root: string): string {
  return path.join(".").slice(0, 200) || `The ${root}`;
}
