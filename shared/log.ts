// The log: one JSON object per line, without secrets and bodies.

/** The fields of a log line. Values of keys such as `token` and `payload` are not written. */
export type Fields = Record<string, unknown>;

/** A log of JSON lines. Keys, tokens and passwords in texts are redacted. */
export interface Log {
  /** Writes a line with level info. */
  info(message: string, fields?: Fields): void;
  /** Writes a line with level warn. */
  warn(message: string, fields?: Fields): void;
  /** Writes a line with level error. */
  error(message: string, fields?: Fields): void;
  /** A log that adds these fields to every line. */
  with(fields: Fields): Log;
}

const SECRET_KEYS = /(authorization|api_?key|password|passwd|secret|token|jwt|cookie|service_role_key)$/i;
const BODY_KEYS = new Set(["body", "payload", "result", "headers", "metadata"]);
const SECRET_TEXTS: [RegExp, string][] = [
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, "[jwt]"],
  [/\bsb_(secret|publishable)_[\w-]+/g, "sb_$1_[redacted]"],
  [/\b(bearer|basic)\s+[^\s"',]+/gi, "$1 [redacted]"],
  [/(:\/\/[^\s:/@]+:)[^\s@]+@/g, "$1[redacted]@"],
];
const LONGEST_TEXT = 4_096;
const DEEPEST = 6;

/** Removes keys, tokens and passwords from a text that will be stored or shown. */
export function redact(text: string): string {
  return SECRET_TEXTS.reduce((clean, [pattern, replacement]) => clean.replace(pattern, replacement), text);
}

/**
 * @param base fields of every line
 * @param write receives each line; default: `console.log`
 */
export function createLog(base: Fields = {}, write: (line: string) => void = console.log): Log {
  const at = (level: string) => (message: string, fields: Fields = {}) =>
    // clean returns an object for an object
    write(JSON.stringify({ level, message: redact(message), ...clean({ ...base, ...fields }, 0) as Fields }));
  return {
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => createLog({ ...base, ...fields }, write),
  };
}

function clean(value: unknown, depth: number): unknown {
  if (typeof value === "string") return redact(value.slice(0, LONGEST_TEXT));
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth >= DEEPEST) return "[deep]";
  if (value instanceof Error) return cleanError(value, depth);
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => clean(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, hidden(key) ?? clean(item, depth + 1)]),
  );
}

function cleanError(error: Error, depth: number): unknown {
  const { name, message, stack, cause } = error;
  return clean({ name, message, ...("code" in error && { code: error.code }), stack, cause }, depth + 1);
}

function hidden(key: string): string | undefined {
  if (BODY_KEYS.has(key)) return "[not logged]";
  return SECRET_KEYS.test(key) ? "[redacted]" : undefined;
}
