// Sends one POST and converts the receiver's response to an outcome of the delivery.
import { RetryAfter, Unrecoverable } from "../../shared/errors.ts";
import { withoutSecrets } from "./url_secrets.ts";

const TIMEOUT = 15_000; // ms, including the part of the response that is read
const LONGEST_WAIT = 86_400_000; // ms, one day
const EXCERPT = 200; // characters of the response that are stored with the failure

/** The receiver responded with 410: the subscription is to be disabled. */
export class Gone extends Unrecoverable {
  override readonly name = "Gone";
}

/** The receiver responded with a status other than 2xx, or not at all. */
export class NotAccepted extends Error {
  override readonly name = "NotAccepted";
}

export interface Posting {
  body: string;
  headers: Record<string, string>;
  signal: AbortSignal;
  /** Milliseconds to wait for the response; default: 15,000. */
  timeout?: number;
}

/**
 * Redirects are not followed: their target has not been checked, and the signature is not meant for it.
 * @returns the status of the response, 200 to 299
 * @throws Gone for 410, RetryAfter for 429 and 503 with a Retry-After header, NotAccepted otherwise or without a
 * response
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
  const response = await fetch(url, request).catch((error: unknown) => {
    signal.throwIfAborted();
    if (late.aborted) throw new NotAccepted(`${url.host} did not respond within ${timeout} ms.`);
    throw new NotAccepted(`${url.host} cannot be reached: ${withoutSecrets(reasonOf(error), url)}`);
  });
  if (response.ok) {
    await response.body?.cancel().catch(() => {}); // the status decides
    return response.status;
  }
  const beginning = await beginningOf(response, EXCERPT + url.href.length); // so that no secret is cut
  const message = `${url.host} responded with ${response.status}${excerpt(withoutSecrets(beginning, url))}`;
  if (response.status === 410) throw new Gone(message);
  const wait = [429, 503].includes(response.status) ? readRetryAfter(response.headers.get("retry-after")) : undefined;
  if (wait !== undefined) throw new RetryAfter(wait, message);
  throw new NotAccepted(message);
}

/** @returns milliseconds, at most a day; undefined if the header is neither a number of seconds nor a date */
export function readRetryAfter(header: string | null, now = Date.now()): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), LONGEST_WAIT);
}

/** The innermost cause holds the reason, such as an unknown name or a TLS error. Fetch puts the URL before it. */
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

/** Reads the start of a response, which may be endless or break off. */
async function beginningOf({ body }: Response, length: number): Promise<string> {
  let text = "";
  try {
    for await (const part of body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += part;
      if (text.length >= length) break;
    }
  } catch {
    // The part that was received is enough.
  }
  return text;
}
