// Texts about a webhook's URL, without the parts of it that may be secrets: user name, password, path and query.

const HIDDEN = "[redacted]";
const SHORTEST_TOKEN = 6; // characters; shorter parts of a path, such as v1 and hooks, are words of other texts too

/** Removes the URL's secret parts wherever they stand in the text, encoded or decoded. Its origin remains. */
export function withoutSecrets(text: string, url: URL): string {
  const { username, password, pathname, search } = url;
  const tokens = [username, password, ...pathname.split("/"), ...search.slice(1).split(/[&=]/)]
    .flatMap((token) => [token, decoded(token)]).filter((token) => token.length >= SHORTEST_TOKEN);
  const wholes = [`${username}:${password}@`, `${pathname}${search}`, pathname, search].filter(isMoreThanPunctuation);
  // Longest first: a part of a secret that is replaced early would leave the rest of it.
  const secrets = [...wholes, ...tokens].sort((a, b) => b.length - a.length);
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
