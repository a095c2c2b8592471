// Fields that several requests share, with the range that Postgres can read.
import { z } from "zod";

const FARTHEST = 16 * 60; // minutes; Postgres rejects zones that are this far from UTC
const LONGEST = 40; // characters; enough for more digits of a second than Postgres keeps

/** One schema for each field of T: keeps a schema and the documented interface of its input equal. */
export type Shape<T> = { [K in keyof T]-?: z.ZodType<unknown, T[K]> };

/** The name of a queue or a transport. */
export const name = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, {
  error: "expected 1 to 63 lower-case letters, digits, _ or -, the first a letter or digit",
});

/** ISO 8601 with a zone. */
export const moment = z.iso.datetime({
  offset: true,
  error: "expected an ISO 8601 date with a zone, such as 2030-01-31T09:00:00Z",
}).refine(isReadable, { error: "expected a date from the year 1 on, in a zone at most 15:59 hours from UTC" });

/** A duration in whole milliseconds, at most `longest`. */
export function milliseconds(longest: number): z.ZodInt {
  return z.int().min(0).max(longest);
}

function isReadable(text: string): boolean {
  const [, hours, minutes] = text.match(/[+-](\d\d):(\d\d)$/) ?? ["", "0", "0"];
  const isInRange = Number(hours) * 60 + Number(minutes) < FARTHEST;
  return isInRange && !text.startsWith("0000") && text.length <= LONGEST;
}
