// One POST, and what its answer means for the delivery.
import { RetryAfter, Unrecoverable } from "../../shared/errors.ts";
import { withoutSecrets } from "./url_secrets.ts";

const TIMEOUT = 15_000; // ms, for as much of the answer as is read
const LONGEST_WAIT = 86_400_000; // ms; a receiver may ask for a day
const EXCERPT = 200; // characters of an answer that are kept with the failure

/** The receiver answered 410: it wants no more. */
export class Gone extends Unrecoverable {
  override readonly name = "Gone";
}

/** The receiver answered with another status than 2xx, or not at all. */
export class NotAccepted extends Error {
  override readonly name = "NotAccepted";
}

export interface Posting {
  body: string;
  headers: Record<string, string>;
  signal: AbortSignal;
  /** Milliseconds to wait for an answer, 15,000 unless told. */
  timeout?: number;
}

/**
 * Redirects are not followed: their target was never checked, and the signature was not meant for it.
 * @returns the answer's status, 200 to 299
 * @throws Gone at 410, RetryAfter at 429 and 503 that say when, NotAccepted at any other answer and when there is none
 */
export async function post(url: URL, { body, headers, signal, timeout = TIMEOUT }: Posting): Promise<number> {
  const late = AbortSignal.timeout(timeout);
  const request = {
    method: "POST",
    body,
    headers,
    redirect: "manual",
    signal: AbortSignal.any([signal, late]),
  } as const;
  const reply = await fetch(url, request).catch((error: unknown) => {
    signal.throwIfAborted();
    if (late.aborted) throw new NotAccepted(`${url.host} did not answer within ${timeout} ms.`);
    throw new NotAccepted(`${url.host} cannot be reached: ${withoutSecrets(reasonOf(error), url)}`);
  });
  if (reply.ok) {
    await reply.body?.cancel().catch(() => {}); // accepted is accepted
    return reply.status;
  }
  const beginning = await beginningOf(reply, EXCERPT + url.href.length); // so that no secret is cut before it is found
  const said = `${url.host} answered ${reply.status}${excerpt(withoutSecrets(beginning, url))}`;
  if (reply.status === 410) throw new Gone(said);
  const wait = [429, 503].includes(reply.status) ? readRetryAfter(reply.headers.get("retry-after")) : undefined;
  if (wait !== undefined) throw new RetryAfter(wait, said);
  throw new NotAccepted(said);
}

/** @returns milliseconds, at most a day; undefined for what is neither a number of seconds nor a date */
export function readRetryAfter(header: string | null, now = Date.now()): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), LONGEST_WAIT);
}

/** The innermost cause holds the reason: rejected, no such name, TLS. The text before it only repeats the URL. */
function reasonOf(thrown: unknown): string {
  let reason = thrown;
  while (reason instanceof Error && reason.cause instanceof Error) reason = reason.cause;
  const text = reason instanceof Error ? reason.message : String(reason);
  return text.replace(/^error sending request .*client error \(\w+\): /s, "");
}

function excerpt(text: string): string {
  const trimmed = text.trim().slice(0, EXCERPT);
  return trimmed === "" ? "." : `: ${trimmed}`;
}

/** An answer may be endless, or break off. */
async function beginningOf({ body }: Response, length: number): Promise<string> {
  let text = "";
  try {
    for await (const part of body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += part;
      if (text.length >= length) break;
    }
  } catch {
    // What came is enough.
  }
  return text;
}
