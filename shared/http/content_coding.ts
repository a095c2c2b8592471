// Content codings of request bodies: gzip and deflate, decompressed only as far as the reader reads.
import { SymphonyError } from "../errors.ts";

// Newer versions of Deno have a type parameter here, 2.1.4 has none: this type is right in both.
type Chunk = NonNullable<Request["body"]> extends ReadableStream<infer C> ? C : never;
type Chunks = AsyncIterable<Chunk>;

const FORMATS: Record<string, CompressionFormat> = { gzip: "gzip", "x-gzip": "gzip", deflate: "deflate" };
/** The value of Accept-Encoding in a reply that rejects a coding (RFC 9110, 15.5.16). */
export const ACCEPTED_CODINGS = "gzip, deflate";
// Bytes per write. DecompressionStream returns the expansion of a write at once, at most 1,032 times as much: 1 MB.
const SLICE = 1_024;

/**
 * The request's body without its content coding. A reader that stops early stops the decompression too.
 * @throws SymphonyError SM_CONTENT_TYPE for a coding that is not accepted; while the body is read, SM_BODY if it is
 * invalid or incomplete
 */
export function decodedBody(request: Request): Chunks {
  const codings = (request.headers.get("content-encoding") ?? "").toLowerCase().split(",")
    .map((coding) => coding.trim()).filter((coding) => coding !== "" && coding !== "identity");
  if (codings.length === 0) return received(request);
  const [coding] = codings;
  if (codings.length > 1 || !Object.hasOwn(FORMATS, coding)) throw unacceptable(codings);
  return decompressed(received(request), FORMATS[coding]);
}

async function* received(request: Request): Chunks {
  try {
    for await (const chunk of request.body ?? []) yield chunk;
  } catch (cause) {
    throw new SymphonyError("SM_BODY", "The body ended before all of it was received.", {
      hint: "Send the request again. Content-Length must be the length of the body as it is sent.",
      cause,
    });
  }
}

async function* decompressed(chunks: Chunks, format: CompressionFormat): Chunks {
  try {
    yield* ReadableStream.from(sliced(chunks)).pipeThrough(new DecompressionStream(format));
  } catch (cause) {
    if (cause instanceof SymphonyError) throw cause;
    throw new SymphonyError("SM_BODY", `The body must be ${format} data, as its Content-Encoding states.`, {
      hint: format === "gzip"
        ? "Compress the whole body with gzip, or leave Content-Encoding out."
        : "Compress the whole body in the zlib format (RFC 1950), or leave Content-Encoding out.",
      cause,
    });
  }
}

async function* sliced(chunks: Chunks): Chunks {
  for await (const chunk of chunks) {
    for (let start = 0; start < chunk.length; start += SLICE) yield chunk.subarray(start, start + SLICE);
  }
}

function unacceptable(codings: string[]): SymphonyError {
  const named = codings.join(", ").slice(0, 100);
  return new SymphonyError("SM_CONTENT_TYPE", `The body has the content coding ${named}, which is not accepted.`, {
    hint: "Use one of gzip and deflate, or send the body uncompressed without Content-Encoding.",
  });
}
