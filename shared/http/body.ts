// Reads request bodies: JSON in UTF-8, decompressed, within a limit of bytes.
import { type ErrorCode, SymphonyError } from "../errors.ts";
import { isObject, type Json, type JsonObject, MAX_DEPTH, parseJson } from "../json.ts";
import { decodedBody } from "./content_coding.ts";

const UTF_8 = new Set(["utf-8", "utf8", "us-ascii"]);

export interface BodyLimit {
  /** The largest body, in bytes, without compression. */
  bytes: number;
  /** The code of the error for a larger one. */
  code: ErrorCode;
  /** Levels of nesting around the payload, in addition to its own 64; default: 0. */
  envelope?: number;
  /** Whether an empty body counts as `{}`; default: false. */
  optional?: boolean;
}

/** Reads a request's body as one JSON object. Memory is bounded by the limit, for a compressed body too. */
export async function readJsonBody(request: Request, limit: BodyLimit): Promise<JsonObject> {
  const contentType = request.headers.get("content-type");
  if (contentType !== null) checkContentType(contentType);
  else if (!limit.optional) throw new SymphonyError("SM_CONTENT_TYPE", "The request has no content type.");
  const bytes = await readBytes(request, limit);
  if (bytes.length === 0 && limit.optional) return {};
  if (contentType === null) throw new SymphonyError("SM_CONTENT_TYPE", "The request has a body but no content type.");
  const value = parseJson(decode(bytes), MAX_DEPTH + (limit.envelope ?? 0), "body");
  if (!isObject(value)) {
    throw new SymphonyError("SM_BODY", `The body is ${kindOf(value)}; it must be a JSON object.`);
  }
  return value;
}

async function readBytes(request: Request, limit: BodyLimit): Promise<Uint8Array> {
  const tooLarge = () =>
    new SymphonyError(limit.code, `The body is larger than ${limit.bytes} bytes.`, {
      hint: `The largest body allowed here is ${limit.bytes} bytes, counted without compression.`,
    });
  if (Number(request.headers.get("content-length")) > limit.bytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of decodedBody(request)) {
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

/** A byte order mark is skipped, as RFC 8259 allows. */
function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new SymphonyError("SM_JSON", "The body is not valid UTF-8.", { hint: "Send the JSON encoded as UTF-8." });
  }
}

/** RFC 8259: JSON is application/json, in UTF-8. */
function checkContentType(contentType: string): void {
  const [type, ...parameters] = contentType.split(";").map((part) => part.trim().toLowerCase());
  if (type !== "application/json") {
    throw new SymphonyError("SM_CONTENT_TYPE", `The content type is ${contentType.slice(0, 100) || "empty"}.`);
  }
  for (const parameter of parameters) {
    const [, charset] = parameter.match(/^charset\s*=\s*"?([^"]*)"?$/) ?? [];
    if (charset === undefined || UTF_8.has(charset)) continue;
    throw new SymphonyError("SM_CONTENT_TYPE", `The content type has the charset ${charset.slice(0, 50)}.`, {
      hint: "Encode the body as UTF-8 and send Content-Type: application/json.",
    });
  }
}

function kindOf(value: Json): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}
