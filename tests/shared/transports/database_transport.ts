// A real project's database as a transport under test; the test clock moves its time.
import { connect } from "../../../shared/db.ts";
import { supabaseReceiver } from "../../../shared/transports/supabase.ts";
import type { Project } from "../../../supabase/local/project.ts";
import type { OpenTransport } from "./bench.ts";

export function openDatabase(project: Project) {
  const { sql, url, secretKey: key } = project;
  const db = connect({ url, key });
  const shared: Omit<OpenTransport, "name" | "sender"> = {
    receiver: supabaseReceiver(db),
    pass: async (ms) => {
      const [{ skew }] = await sql`select extract(epoch from skew) as skew from messenger.test_clock`;
      await sql`select messenger.set_clock(make_interval(secs => ${Number(skew) + ms / 1_000}))`;
    },
    deadLetters: async (id) => [
      ...await sql<Awaited<ReturnType<OpenTransport["deadLetters"]>>>`
        select error, error_class, attempts, retry_count from messenger_failed_messages where message_id = ${id}`,
    ],
  };
  return { db, shared };
}
