// Calls of messenger_explain for its tests; remedies are executed as a user would paste them.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { call, claim, type Row, type SqlClient } from "../bus.ts";

export const explain = (sql: SqlClient, id: string): Promise<Row[]> => call(sql, "messenger_explain", { id });

export async function reasons(sql: SqlClient, id: string): Promise<string[]> {
  return (await explain(sql, id)).map(({ reason }) => reason);
}

/** The row with this reason, which must be among the returned ones. */
export async function causeOf(sql: SqlClient, id: string, reason: string): Promise<Row> {
  const rows = await explain(sql, id);
  const row = rows.find((row) => row.reason === reason);
  assert.ok(row, `${reason} is not among ${JSON.stringify(rows)}`);
  return row;
}

/** Runs the remedy of this reason, which must be SQL; afterwards the reason is not returned any more. */
export async function applyRemedy(sql: Sql, id: string, reason: string): Promise<Row[]> {
  const { remedy } = await causeOf(sql, id, reason);
  assert.match(remedy, /^(select|update|insert) /);
  const rows = [...await sql.unsafe(remedy)];
  assert.ok(!(await reasons(sql, id)).includes(reason), `${reason} after ${remedy}`);
  return rows;
}

export async function isClaimable(sql: SqlClient, id: string): Promise<boolean> {
  return (await claim(sql, { worker: "taker" })).some((row) => row.id === id);
}
