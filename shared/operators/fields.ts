// Fields that several calls of monitor and admin have in common, in requests and in replies.
import { z } from "@hono/zod-openapi";
import type { JsonObject } from "../json.ts";

/** A moment in a reply. */
export const time = z.iso.datetime({ offset: true });
export const count = z.int().min(0);
export const jsonObject = z.record(z.string(), z.unknown());
export const duration = z.number().nullable().describe("milliseconds; null if no delivery ended");

export const messageStatus = z.enum(["pending", "processing", "completed", "failed"]);
/** How a dead letter was resolved. */
export const resolution = z.enum(["retried", "discarded"]);

/** A whole number in a query. */
export const whole = (min: number, max: number) =>
  z.string().regex(/^\d{1,9}$/, { error: `expected a whole number from ${min} to ${max}` }).transform(Number)
    .pipe(z.int().min(min).max(max)).openapi({ type: "integer", minimum: min, maximum: max });
/** A boolean in a query. */
export const boolean = z.enum(["true", "false"]).transform((text) => text === "true").openapi({ type: "boolean" });
export const text = z.string().max(300);
export const noQuery = z.strictObject({});
export const idInPath = z.object({ id: z.uuid() });
export const nameInPath = z.object({ name: z.string().min(1).max(300) });

/** Filters of a list by the route of its messages. */
export const routeFilter = { transport: text.optional(), queue: text.optional(), type: text.optional() };
/** The page of a list that a query requests. */
export const page = { limit: whole(1, 200).default(50), cursor: z.string().max(2_000).optional() };

/** Where a page of a list ends. */
export const pagination = z.object({
  limit: count,
  hasMore: z.boolean(),
  nextCursor: z.string().nullable().describe("send it as cursor to get the next page; null on the last page"),
  total: count.describe("exact up to 10,000, estimated above"),
  estimated: z.boolean().describe("whether total is an estimate"),
});
/** The same for a search, which visits at most 20,000 rows per call. */
export const searchPagination = pagination.extend({
  searchedTo: time.nullable().describe("the search visited 20,000 rows and stopped here before the page was full"),
});
export type Pagination = z.output<typeof pagination> & Partial<z.output<typeof searchPagination>>;

/** The fields that SQL functions of lists return in addition to their rows. */
export interface SqlPage {
  next_cursor: string | null;
  total: number;
  estimated: boolean;
}
export interface SqlSearchPage extends SqlPage {
  searched_to: string | null;
}

export function paginationOf({ next_cursor, total, estimated }: SqlPage, limit: number) {
  return { limit, hasMore: next_cursor !== null, nextCursor: next_cursor, total, estimated };
}

/** Where a page of a search ends. */
export function searchPaginationOf(end: SqlSearchPage, limit: number) {
  return { ...paginationOf(end, limit), searchedTo: end.searched_to };
}

/** A filter for SQL, without the fields that the request leaves out. */
export function filterOf(filter: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}
