// Dead letters: creating, resolving and checking them in tests.
import assert from "node:assert/strict";
import { call, claim, dispatchAndClaim, dispatchMany, type Row, settle, type SqlClient } from "../bus.ts";

/** Dispatches a message, claims it and fails it for good; returns its claimed row and the id of its dead letter. */
export async function makeDeadLetter(sql: SqlClient, fields: Row = {}, failure: Row = {}): Promise<Row> {
  const row = await dispatchAndClaim(sql, { queue: "dead", ...fields }, { queues: [fields.queue ?? "dead"] });
  return { ...row, deadLetter: await failForGood(sql, row, failure) };
}

/** Fails a claimed message for good; returns the id of its open dead letter. */
export async function failForGood(sql: SqlClient, { id, fence }: Row, failure: Row = {}): Promise<string> {
  const [{ outcome }] = await settle(sql, [
    { id, fence, outcome: "failed", error: "no", retryable: false, ...failure },
  ]);
  assert.equal(outcome, "dead");
  const [deadLetter] =
    await sql`select id from messenger_failed_messages where message_id = ${id} and resolved_at is null`;
  return deadLetter.id;
}

/** The given number of dead letters at once; returns the messages in order. */
export async function makeDeadLetters(sql: SqlClient, count: number, fields: Row = {}): Promise<string[]> {
  const ids = [];
  for (let left = count; left > 0; left -= 1000) {
    ids.push(...await dispatchMany(sql, Math.min(left, 1000), { queue: "dead", ...fields }));
    const rows = await claim(sql, { batch: 1000, queues: ["dead"] });
    await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "failed", error: "no", retryable: false })));
  }
  return ids;
}

export const retry = (sql: SqlClient, args: Row): Promise<Row[]> => call(sql, "messenger_retry_failed", args);

export async function discard(sql: SqlClient, args: Row): Promise<number> {
  const [{ messenger_discard_failed }] = await call(sql, "messenger_discard_failed", args);
  return Number(messenger_discard_failed);
}

/** All dead letters of a message, oldest first. */
export async function deadLettersOf(sql: SqlClient, id: string): Promise<Row[]> {
  return [...await sql`select * from messenger_failed_messages where message_id = ${id} order by id`];
}

export async function assertSound(sql: SqlClient): Promise<void> {
  const broken = (await call(sql, "messenger_audit")).filter(({ violations }) => violations !== "0");
  assert.deepEqual(broken, []);
}
