// messenger_explain as its tests ask it, and its remedies run as somebody would paste them.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { type Asker, call, claim, type Row } from "./bus.ts";

export const explain = (sql: Asker, id: string): Promise<Row[]> => call(sql, "messenger_explain", { id });

export async function reasons(sql: Asker, id: string): Promise<string[]> {
  return (await explain(sql, id)).map(({ reason }) => reason);
}

/** The row of this reason, which must be among those answered. */
export async function because(sql: Asker, id: string, reason: string): Promise<Row> {
  const rows = await explain(sql, id);
  const row = rows.find((row) => row.reason === reason);
  assert.ok(row, `${reason} is not among ${JSON.stringify(rows)}`);
  return row;
}

/** Runs the remedy of this reason, which must be SQL; afterwards the reason is not given any more. */
export async function mend(sql: Sql, id: string, reason: string): Promise<Row[]> {
  const { remedy } = await because(sql, id, reason);
  assert.match(remedy, /^(select|update|insert) /);
  const rows = [...await sql.unsafe(remedy)];
  assert.ok(!(await reasons(sql, id)).includes(reason), `${reason} after ${remedy}`);
  return rows;
}

export async function isTaken(sql: Asker, id: string): Promise<boolean> {
  return (await claim(sql, { worker: "taker" })).some((row) => row.id === id);
}
