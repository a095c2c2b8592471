// Common parts of the event tests: subscriptions, the messages with the events, and outcomes.
import { callValue, type Row, type SqlClient } from "../bus.ts";

/** Subscribes a function to an event; returns the subscription's id. */
export async function subscribe(
  sql: SqlClient,
  event: string,
  type: string | null = null,
  name = "public.take_effect",
): Promise<string> {
  const [{ id }] = await sql`select messenger.on(${event}, ${name}, ${type}) as id`;
  return id;
}

/** The stored events as `event of status`, oldest first. */
export async function storedEvents(sql: SqlClient): Promise<string[]> {
  const rows = await sql`
    select body ->> 'event' || ' of ' || (body #>> '{message,status}') as told
    from public.messenger_messages where message_type like 'symphony.%' order by created_at, 1`;
  return rows.map(({ told }) => told);
}

/** Ticks, so that the functions are called. */
export const tick = (sql: SqlClient) => callValue(sql, "messenger_tick");

export const completed = ({ id, fence }: Row) => ({ id, fence, outcome: "completed" });
export const failed = ({ id, fence }: Row, more: Row = {}) => ({
  id,
  fence,
  outcome: "failed",
  error: "no answer",
  ...more,
});
