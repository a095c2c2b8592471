// Planted bugs of webhook deliveries: targets, ends, and recorded errors.
import type { TypeScriptMutant } from "../mutant.ts";

const post = "packs/webhook/post.ts";
const secrets = "packs/webhook/url_secrets.ts";
const address = "packs/webhook/public_address.ts";
const posting = ["packs/webhook_post.test.ts"];
const hiding = ["packs/url_secrets.test.ts"];
const resolving = ["packs/public_address.test.ts"];

export const WEBHOOKS: readonly TypeScriptMutant[] = [
  {
    name: "an aborted webhook waits for its receiver",
    breaks: "An aborted delivery ends its POST at once.",
    file: post,
    find: "AbortSignal.any([signal, late])",
    replace: "late",
    noticedBy: posting,
  },
  {
    name: "there is no limit of the wait for a receiver",
    breaks: "A delivery ends if the receiver does not reply in time.",
    file: post,
    find: "AbortSignal.any([signal, late])",
    replace: "signal",
    noticedBy: posting,
  },
  {
    name: "webhooks follow redirects",
    breaks: "A redirect is not followed: its target was never checked.",
    file: post,
    find: 'redirect: "manual"',
    replace: 'redirect: "follow"',
    noticedBy: posting,
  },
  {
    name: "410 is a failure like any other",
    breaks: "A receiver that returns 410 gets no further events.",
    file: post,
    find: "if (response.status === 410) throw new Gone(message);",
    replace: "",
    noticedBy: posting,
  },
  {
    name: "Retry-After counts with every status",
    breaks: "Only 429 and 503 delay a delivery.",
    file: post,
    find: "[429, 503].includes(response.status)",
    replace: "response.status >= 429",
    noticedBy: posting,
  },
  {
    name: "Retry-After has no maximum",
    breaks: "Retry-After delays a delivery by at most a day.",
    file: post,
    find: "Math.min(Math.max(0, ms), LONGEST_WAIT)",
    replace: "Math.max(0, ms)",
    noticedBy: posting,
  },
  {
    name: "the reason why a receiver cannot be reached is dropped",
    breaks: "The recorded error states the reason: refused connection, unknown name, untrusted certificate.",
    file: post,
    find: "while (reason instanceof Error && reason.cause instanceof Error) reason = reason.cause;",
    replace: "",
    noticedBy: posting,
  },
  {
    name: "an error contains the URL's secrets",
    breaks: "The recorded error contains no secret part of the URL.",
    file: post,
    find: "withoutSecrets(reasonOf(error), url)",
    replace: "String(error instanceof Error && error.cause)",
    noticedBy: posting,
  },
  {
    name: "a response contains the URL's secrets",
    breaks: "The stored beginning of a response contains no secret part of the URL.",
    file: post,
    find: "excerpt(withoutSecrets(beginning, url))",
    replace: "excerpt(beginning)",
    noticedBy: posting,
  },
  {
    name: "decoded secrets are kept",
    breaks: "Secret parts of a URL are removed, encoded or decoded.",
    file: secrets,
    find: "[token, decoded(token)]",
    replace: "[token]",
    noticedBy: hiding,
  },
  {
    name: "short secrets are replaced before long ones",
    breaks: "No remainder of a secret is left.",
    file: secrets,
    find: "b.length - a.length",
    replace: "a.length - b.length",
    noticedBy: hiding,
  },
  {
    name: "every word of a path is a secret",
    breaks: "Words such as v1 stay readable.",
    file: secrets,
    find: "SHORTEST_TOKEN = 6",
    replace: "SHORTEST_TOKEN = 1",
    noticedBy: hiding,
  },
  {
    name: "one public address is enough",
    breaks: "All addresses of a receiver's name must be public.",
    file: address,
    find: "for (const address of addresses) assertAddress(address, host);",
    replace: "assertAddress(addresses[0], host);",
    noticedBy: resolving,
  },
  {
    name: "the error of a failed DNS lookup names no host",
    breaks: "The recorded error names the host and the reason.",
    file: address,
    find: "${host} cannot be resolved: ${error instanceof Error ? error.message : error}",
    replace: "no address",
    noticedBy: resolving,
  },
];
