// JSON from strangers: read within limits, and refused when Postgres could not store it.
import { type ErrorCode, SymphonyError } from "./errors.ts";

export type Json = string | number | boolean | null | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json | undefined };

const MAX_DEPTH = 64;
const encoder = new TextEncoder();

export interface BodyLimit {
  /** The largest body, in bytes. */
  bytes: number;
  /** The refusal of a larger one. */
  code: ErrorCode;
  /** Levels of the body that are ours: they come on top of the 64 a payload may have. */
  envelope?: number;
  /** An empty body counts as `{}`. */
  optional?: boolean;
}

/** Reads a request's body as one JSON object, never holding more than the limit in memory. */
export async function readJson(request: Request, limit: BodyLimit): Promise<JsonObject> {
  const contentType = request.headers.get("content-type");
  if (contentType === null ? !limit.optional : !isJsonType(contentType)) throw wrongContentType(contentType);
  const bytes = await readBytes(request, limit);
  if (bytes.length === 0 && limit.optional) return {};
  if (contentType === null) throw wrongContentType(contentType);
  const value = parseJson(decode(bytes), MAX_DEPTH + (limit.envelope ?? 0));
  if (!isObject(value)) throw new SymphonyError("SM_BODY", "The body is not a JSON object.");
  return value;
}

/** Parses text into JSON that Postgres can store as jsonb. */
export function parseJson(text: string, depth = MAX_DEPTH): Json {
  if (text.trim() === "") throw new SymphonyError("SM_BODY", "The body is empty.");
  refuseDepth(text, depth);
  let value: Json;
  try {
    value = JSON.parse(text);
  } catch {
    throw new SymphonyError("SM_JSON", "The text is not valid JSON.");
  }
  refuseUnstorable(value);
  return value;
}

/**
 * A value of the program as JSON that Postgres can store; undefined becomes null.
 * Throws SymphonyError, also for what JSON cannot say: cycles, functions, bigints.
 */
export function toJson(value: unknown): Json {
  if (value === undefined) return null;
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new SymphonyError(
      "SM_JSON",
      `The value cannot be written as JSON: ${error instanceof Error ? error.message : error}`,
    );
  }
  if (text === undefined) throw new SymphonyError("SM_JSON", `A ${typeof value} cannot be written as JSON.`);
  return parseJson(text);
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Refuses a value whose UTF-8 JSON is longer than `bytes`. */
export function refuseLonger(value: Json, bytes: number, code: ErrorCode, name: string): void {
  const text = JSON.stringify(value);
  if (text.length * 3 <= bytes) return;
  const length = encoder.encode(text).length;
  if (length > bytes) throw new SymphonyError(code, `The ${name} has ${length} bytes, ${bytes} are allowed.`);
}

async function readBytes(request: Request, limit: BodyLimit): Promise<Uint8Array> {
  const tooLarge = () => new SymphonyError(limit.code, `The body is larger than ${limit.bytes} bytes.`);
  if (Number(request.headers.get("content-length")) > limit.bytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > limit.bytes) throw tooLarge();
    chunks.push(chunk);
  }
  if (chunks.length === 1) return chunks[0];
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new SymphonyError("SM_JSON", "The body is not valid UTF-8.");
  }
}

/** Runs over the text, before the parser: eight megabytes of `[` would otherwise become half a gigabyte of arrays. */
function refuseDepth(text: string, deepest: number): void {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (quoted) {
      if (character === 0x5c) i++; // a backslash takes its successor with it
      else if (character === 0x22) quoted = false;
    } else if (character === 0x22) quoted = true;
    else if (character === 0x7b || character === 0x5b) {
      if (++depth > deepest) throw new SymphonyError("SM_DEPTH", `The JSON is nested deeper than ${MAX_DEPTH} levels.`);
    } else if (character === 0x7d || character === 0x5d) depth--;
  }
}

function refuseUnstorable(root: Json): void {
  const open: Json[] = [root];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === "string") refuseText(value);
    else if (typeof value === "number") refuseInfinite(value);
    else if (Array.isArray(value)) { for (const item of value) open.push(item); }
    else if (isObject(value)) {
      for (const key of Object.keys(value)) {
        if (key === "__proto__") throw new SymphonyError("SM_JSON", "A key is named __proto__.");
        refuseText(key);
        open.push(value[key] ?? null);
      }
    }
  }
}

function refuseText(text: string): void {
  if (text.includes("\0")) throw new SymphonyError("SM_NUL", "A string holds the NUL character \\u0000.");
  if (!text.isWellFormed()) throw new SymphonyError("SM_JSON", "A string holds a lone surrogate.");
}

function refuseInfinite(number: number): void {
  if (!Number.isFinite(number)) {
    throw new SymphonyError("SM_NUMBER_RANGE", "A number is outside the range of a double.");
  }
}

function isJsonType(contentType: string): boolean {
  return contentType.split(";", 1)[0].trim().toLowerCase() === "application/json";
}

function wrongContentType(contentType: string | null): SymphonyError {
  const said = contentType === null ? "no content type" : `the content type ${contentType.slice(0, 100)}`;
  return new SymphonyError("SM_CONTENT_TYPE", `The request has ${said}.`);
}
