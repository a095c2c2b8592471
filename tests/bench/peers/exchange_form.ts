// The forms in which a worker with a database connection can settle messages and claim the next ones with one call.
import type postgres from "postgres";
import type { Sql } from "postgres";
import { OURS } from "../line.ts";

/** A claimed message, as far as the bench needs it. */
export interface Lease {
  id: string;
  fence: number;
}

export interface ExchangeForm {
  /** The column of the results; it begins with OURS. */
  bus: string;
  /** Completes the messages of the last claim, without results, and claims up to `batch` messages of one type. */
  exchange(sql: Sql, completed: readonly Lease[], claim: { worker: string; batch: number; type: string }): Promise<
    Lease[]
  >;
}

/** messenger_exchange: JSON in and out, as the shipped transport calls it. */
export const json: ExchangeForm = {
  bus: OURS,
  async exchange(sql, completed, { worker, batch, type }) {
    const [{ reply }] = await sql<{ reply: { claimed: Lease[] } }[]>`
      select messenger_exchange(${outcomesOf(sql, completed)}, ${worker}, ${batch}, '60 s', null, null, ${[
      type,
    ]}) as reply`;
    return reply.claimed;
  },
};

/** messenger.exchange_rows: arrays in and rows out, for workers with a database connection. */
export const rows: ExchangeForm = {
  bus: `${OURS}, direct connection (rows)`,
  async exchange(sql, completed, { worker, batch, type }) {
    const ids = completed.map(({ id }) => id);
    const fences = completed.map(({ fence }) => fence);
    const durations = completed.map(() => 0);
    const claimed = await sql<Lease[]>`
      select * from messenger.exchange_rows(
        ${ids}::uuid[], ${fences}::bigint[], ${durations}::double precision[], null, null, ${worker}, ${batch}, '60 s',
        null, null, ${[type]})`;
    return claimed.filter(({ id }) => id !== null);
  },
};

/** Every form is measured in the claim rows, in its own column. */
export const FORMS: readonly ExchangeForm[] = [json, rows];

export function outcomesOf(sql: Sql, completed: readonly Lease[]): postgres.Parameter {
  return sql.json(
    completed.map(({ id, fence }) => ({ id, fence, outcome: "completed", result: null, duration_ms: 0 })),
  );
}
