// Stores messages with SQL, many times faster than dispatches could, with ids in the order of their time.
import type { ScaleSetup } from "./setup.ts";

const CHUNK = 250_000; // messages per statement
const SESSIONS = 2; // statements at the same time

export interface Stored {
  messages: number;
  /** Days before now over which the messages are spread evenly. */
  days: { from: number; to: number };
  /** Columns whose value is not the default, as SQL over n (the ordinal from 1) and at (its time). */
  columns: Record<string, string>;
}

export const FINISHED = {
  status: "'completed'",
  processed_at: "at + interval '1 second'",
  fence: "1",
};

export async function store({ project, report }: ScaleSetup, { messages, days, columns }: Stored): Promise<void> {
  const all: Record<string, string> = {
    id: "(messenger.id_prefix(at) || lpad(to_hex(n), 16, '8'))::uuid",
    message_type: "'Scale' || n % 20",
    body: `'{"user": "0197f2a0-5d3c-7e11-9c55-d2f1a4b0c001", "template": "order-receipt", "n": 12345}'`,
    available_at: "at",
    created_at: "at",
    updated_at: "at",
    ...columns,
  };
  const insert = (from: number, to: number) =>
    project.sql.unsafe(`
      insert into messenger_messages (${Object.keys(all).join(", ")})
      select ${Object.values(all).join(", ")}
      from (
        select n, now() - ${days.from} * interval '1 day'
          + n * (${days.from - days.to} * interval '1 day') / ${messages} as at
        from generate_series(${from}::bigint, ${to}) n
      ) s`);
  let next = 1;
  const work = async () => {
    while (next <= messages) {
      const from = next;
      next = Math.min(next + CHUNK, messages + 1);
      await insert(from, next - 1);
      if (messages > 2 * CHUNK) report(`stored ${(next - 1).toLocaleString("en-US")} messages`);
    }
  };
  await Promise.all(Array.from({ length: SESSIONS }, work));
}
