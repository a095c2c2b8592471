// A session's memory of due queues, extended: 20 ms would end before the next statement on a slow machine.
import type { Sql } from "postgres";

/** Makes this session, which has just claimed from all queues, rely for a day on the queues that it found. */
export async function rememberQueues(sql: Sql): Promise<void> {
  // "placed|ends|ends for another look|queues"
  const [{ queues }] = await sql`
    select split_part(set_config(name,
      replace(value, split_part(value, '|', 2), extract(epoch from messenger.now() + interval '1 day')::text), false),
      '|', 4) as queues
    from (select 'messenger.known_queues_' || replace(hashtextextended('', 0)::text, '-', 'n') as name) n,
      current_setting(name) as value`;
  if (!queues || queues === "{}") throw new Error("This session remembers no queue.");
}
