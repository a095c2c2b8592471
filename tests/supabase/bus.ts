// The bus as these tests speak to it: public functions by name, rows read back, the clock moved.
import type { Sql, TransactionSql } from "postgres";

export type Asker = Sql | TransactionSql;
// deno-lint-ignore no-explicit-any -- rows are read by the columns a test names
export type Row = any;

/** Calls a function of schema public with named arguments; objects travel as jsonb, arrays of strings as text[]. */
export async function call(sql: Asker, name: string, args: Record<string, unknown> = {}): Promise<Row[]> {
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

/** Dispatches one message, of type Greeting unless told; answers what the function answers. */
export async function dispatch(sql: Asker, fields: Record<string, unknown> = {}): Promise<Row> {
  const [reply] = await call(sql, "messenger_dispatch", { type: "Greeting", ...fields });
  return reply;
}

/** Dispatches so many messages at once; answers their ids in order. */
export async function dispatchMany(sql: Asker, count: number, fields: Record<string, unknown> = {}): Promise<string[]> {
  const messages = Array.from({ length: count }, (_, n) => ({ type: "Greeting", payload: { n }, ...fields }));
  return (await call(sql, "messenger_dispatch_batch", { messages })).map(({ id }) => id);
}

export const claim = (sql: Asker, args: Record<string, unknown> = {}): Promise<Row[]> =>
  call(sql, "messenger_claim", { worker: "ada", ...args });

/** Dispatches a message and claims it. */
export async function held(sql: Asker, fields: Record<string, unknown> = {}, args: Record<string, unknown> = {}) {
  const { id } = await dispatch(sql, fields);
  const [row] = await claim(sql, args);
  if (row?.id !== id) throw new Error("Another message was due.");
  return row;
}

/** Settles; answers the outcomes in order. */
export async function settle(sql: Asker, outcomes: Record<string, unknown>[]): Promise<Row[]> {
  return await call(sql, "messenger_settle", { outcomes });
}

/** Answers the text of a function that returns one value. */
export async function ask(sql: Asker, name: string, args: Record<string, unknown> = {}): Promise<Row> {
  const [row] = await call(sql, name, args);
  return row[name];
}

export async function messageOf(sql: Asker, id: string): Promise<Row> {
  const [row] = await sql`select * from public.messenger_messages where id = ${id}`;
  return row;
}

export async function deadLetterOf(sql: Asker, id: string): Promise<Row> {
  const [row] = await sql`select * from public.messenger_failed_messages where message_id = ${id}`;
  return row;
}

/** Wakeups have an address, and the clock has no job: the test ticks, as somebody's own clock would, and nobody has stopped it. */
export async function tickByHand(sql: Asker, functionsUrl: string): Promise<void> {
  await sql`select messenger_start(${functionsUrl}), messenger_stop()`;
  await sql`update messenger.settings set clock_changed_at = null`;
  await sql`select messenger_tick()`;
}

/** Sets the bus's time ahead of real time by `skew`; not added to an earlier skew. */
export async function setClock(sql: Asker, skew: string): Promise<void> {
  await sql`select messenger.set_clock(${skew}::interval)`;
}

/** Seconds from the bus's now until a moment. */
export async function secondsUntil(sql: Asker, moment: Date): Promise<number> {
  const [{ seconds }] = await sql`select extract(epoch from ${moment}::timestamptz - messenger.now()) as seconds`;
  return Number(seconds);
}
