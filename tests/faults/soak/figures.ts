// The final figures of the soak's messages, and the figures that must be zero.
import type { Sql } from "postgres";

export interface SoakFigures {
  messages: number;
  acknowledged: number;
  lost: number;
  duplicate_rows: number;
  /** Messages with more than one claim; an upper bound, because released unstarted ones are included. */
  handled_more_than_once: number;
  /** Completed with other than one effect in the database, or with an effect and not completed. */
  transactional_not_once: number;
  unexpected_dead: number;
  unfinished: number;
  stale_rejected: number;
  audit: number;
  first_claim_seconds: number;
  drain_seconds: number;
}

/** Figures that must be zero. */
export const MUST_BE_ZERO = [
  "lost",
  "duplicate_rows",
  "transactional_not_once",
  "unexpected_dead",
  "unfinished",
  "audit",
] as const satisfies readonly (keyof SoakFigures)[];

export async function countRows(sql: Sql, acknowledged: ReadonlySet<string>, effectsQueue: string) {
  const rows = await sql<{ id: string; status: string; claims: string }[]>`
    select id, status, fence as claims from messenger_messages`;
  const stored = new Set(rows.map(({ id }) => id));
  const [{ not_once }] = await sql<{ not_once: number }[]>`
    select count(*)::int as not_once
    from (select id, status from messenger_messages where queue_name = ${effectsQueue}) m
    full join (select message_id, count(*) as effects from soak.effects group by message_id) e on e.message_id = m.id
    where coalesce(e.effects, 0) <> (m.status is not null and m.status = 'completed')::int`;
  return {
    messages: rows.length,
    acknowledged: acknowledged.size,
    lost: [...acknowledged].filter((id) => !stored.has(id)).length,
    duplicate_rows: rows.filter(({ id }) => !acknowledged.has(id)).length,
    handled_more_than_once: rows.filter(({ claims }) => Number(claims) > 1).length,
    transactional_not_once: not_once,
    unexpected_dead: rows.filter(({ status }) => status === "failed").length,
    unfinished: rows.filter(({ status }) => status === "pending" || status === "processing").length,
  };
}

/** Violations of all invariants, in one snapshot, and the invariants that are violated. */
export async function countViolations(sql: Sql): Promise<{ found: number; invariants: string[] }> {
  const violated = await sql<{ invariant: string; violations: number }[]>`
    select invariant, violations::int from messenger_audit() where violations > 0`;
  return {
    found: violated.reduce((sum, { violations }) => sum + violations, 0),
    invariants: violated.map(({ invariant, violations }) => `${invariant}: ${violations}`),
  };
}
