// Removes the parts of a webhook's URL that may be secrets from texts: user name, password, path and query.

const HIDDEN = "[redacted]";
const SHORTEST_TOKEN = 6; // characters; shorter parts of a path, such as v1 and hooks, are ordinary words

/** Removes the URL's secret parts from the text, encoded or decoded. Its origin stays. */
export function withoutSecrets(text: string, url: URL): string {
  const { username, password, pathname, search } = url;
  const tokens = [username, password, ...pathname.split("/"), ...search.slice(1).split(/[&=]/)]
    .flatMap((token) => [token, decoded(token)]).filter((token) => token.length >= SHORTEST_TOKEN);
  const combined = [`${username}:${password}@`, `${pathname}${search}`, pathname, search].filter(isMoreThanPunctuation);
  // Longest first: replacing a part of a secret first would leave the rest of it.
  const secrets = [...combined, ...tokens].sort((a, b) => b.length - a.length);
  return secrets.reduce((clean, secret) => clean.replaceAll(secret, HIDDEN), text);
}

function isMoreThanPunctuation(part: string): boolean {
  return /\w/.test(part);
}

function decoded(token: string): string {
  try {
    return decodeURIComponent(token);
  } catch {
    return token; // not percent-encoded UTF-8
  }
}
