// Common parts of the list tests: reading all pages, forged cursors, texts that look like SQL.
import type { Sql } from "postgres";
import type { Row } from "../bus.ts";

/** Reads page after page to the end; between two pages `meanwhile` may change the rows. */
export async function readAllPages(
  ask: (cursor: string | null) => Promise<Row>,
  rows: string,
  meanwhile?: (page: number, reply: Row) => Promise<unknown>,
): Promise<Row[]> {
  const seen: Row[] = [];
  for (let page = 1, cursor: string | null = null; page <= 1_000; page++) {
    const reply: Row = await ask(cursor);
    seen.push(...reply[rows]);
    await meanwhile?.(page, reply);
    cursor = reply.next_cursor;
    if (cursor === null) return seen;
  }
  throw new Error("The pages do not end.");
}

/** A cursor as a caller could forge it from its format. */
export async function forgeCursor(sql: Sql, list: string, filter: Row, position: unknown): Promise<string> {
  const [{ md5 }] = await sql`select md5(${sql.json(filter)}::jsonb::text)`;
  return btoa(JSON.stringify({ list, filter: md5, position })).replaceAll("+", "-").replaceAll("/", "_").replaceAll(
    "=",
    "",
  );
}

export const INJECTIONS = [
  "' or true --",
  "'; drop table messenger_messages; --",
  "$1",
  "%s",
  "$query$ or true $query$",
  "Greeting' or 'a' = 'a",
  "\\' or true --",
  "%",
  "_",
];
