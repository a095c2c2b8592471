// Calls of the bus for the tests: public functions by name, rows, and the test clock.
import type { Sql, TransactionSql } from "postgres";

export type SqlClient = Sql | TransactionSql;
// deno-lint-ignore no-explicit-any -- rows are read by the columns a test names
export type Row = any;

/** Calls a function of schema public with named arguments; objects are sent as jsonb, arrays of strings as text[]. */
export async function call(sql: SqlClient, name: string, args: Record<string, unknown> = {}): Promise<Row[]> {
  const names = Object.entries(args).map(([name, value], at) =>
    `${name} => $${at + 1}${isJson(value) ? "::jsonb" : ""}`
  );
  const values = Object.values(args).map((value) => isJson(value) ? sql.json(value as never) : value);
  return [...await sql.unsafe(`select * from public.${name}(${names.join(", ")})`, values as never[])];
}

function isJson(value: unknown): boolean {
  if (typeof value !== "object" || value === null || value instanceof Date) return false;
  return !(Array.isArray(value) && value.some((element) => typeof element === "string"));
}

/** Dispatches one message (default type: Greeting); returns the function's result. */
export async function dispatch(sql: SqlClient, fields: Record<string, unknown> = {}): Promise<Row> {
  const [reply] = await call(sql, "messenger_dispatch", { type: "Greeting", ...fields });
  return reply;
}

/** Dispatches the given number of messages at once; returns their ids in order. */
export async function dispatchMany(
  sql: SqlClient,
  count: number,
  fields: Record<string, unknown> = {},
): Promise<string[]> {
  const messages = Array.from({ length: count }, (_, n) => ({ type: "Greeting", payload: { n }, ...fields }));
  return (await call(sql, "messenger_dispatch_batch", { messages })).map(({ id }) => id);
}

/**
 * Dispatches two messages of one ordering key under read committed: under stricter levels the first is not due before
 * the next tick.
 */
export const dispatchPair = (sql: Sql, fields: Record<string, unknown>): Promise<[first: Row, next: Row]> =>
  sql.begin("isolation level read committed", async (tx) => [await dispatch(tx, fields), await dispatch(tx, fields)]);

export const claim = (sql: SqlClient, args: Record<string, unknown> = {}): Promise<Row[]> =>
  call(sql, "messenger_claim", { worker: "ada", ...args });

/** Dispatches a message and claims it. */
export async function dispatchAndClaim(
  sql: SqlClient,
  fields: Record<string, unknown> = {},
  args: Record<string, unknown> = {},
) {
  const { id } = await dispatch(sql, fields);
  const [row] = await claim(sql, args);
  if (row?.id !== id) throw new Error("Another message was due.");
  return row;
}

/** Settles outcomes; returns the results in order. */
export async function settle(sql: SqlClient, outcomes: Record<string, unknown>[]): Promise<Row[]> {
  return await call(sql, "messenger_settle", { outcomes });
}

/** Returns the text of a function with a single value. */
export async function callValue(sql: SqlClient, name: string, args: Record<string, unknown> = {}): Promise<Row> {
  const [row] = await call(sql, name, args);
  return row[name];
}

export async function messageOf(sql: SqlClient, id: string): Promise<Row> {
  const [row] = await sql`select * from public.messenger_messages where id = ${id}`;
  return row;
}

export async function deadLetterOf(sql: SqlClient, id: string): Promise<Row> {
  const [row] = await sql`select * from public.messenger_failed_messages where message_id = ${id}`;
  return row;
}

/**
 * Wake-ups have an address, and the ticker has no job: the test ticks, like an external ticker that has not been
 * stopped.
 */
export async function tickByHand(sql: SqlClient, functionsUrl: string): Promise<void> {
  await sql`select messenger_start(${functionsUrl}), messenger_stop()`;
  await sql`update messenger.settings set clock_changed_at = null`;
  await sql`select messenger_tick()`;
}

/** Sets the bus's time this far ahead of real time; absolute, not relative to earlier calls. */
export async function setClock(sql: SqlClient, skew: string): Promise<void> {
  await sql`select messenger.set_clock(${skew}::interval)`;
}

/** Seconds from the bus's now until the given time. */
export async function secondsUntil(sql: SqlClient, moment: Date): Promise<number> {
  const [{ seconds }] = await sql`select extract(epoch from ${moment}::timestamptz - messenger.now()) as seconds`;
  return Number(seconds);
}
