// F21 in the soak: the project's own locks, objects, DDL and isolation level, each for a few seconds while everything works.
import { connect } from "../../../supabase/local/connection.ts";
import { pause } from "../../pause.ts";
import type { Blow } from "./fault.ts";
import { type Ground, insist, LET_GO } from "./setup.ts";

/** Shorter than a lease, or what is locked would be a lost delivery for every message. */
const HELD = 3_000; // ms

/** Statements in a transaction of the project's own that then idles, and is undone. DDL that gets no lock is tried again. */
async function idleWith(ground: Ground, ...statements: string[]): Promise<void> {
  for (let attempt = 1;; attempt++) {
    await insist(ground, LET_GO); // or DDL would wait a minute for the snapshot, and everybody for the DDL
    try {
      return await idleOnce(ground, statements);
    } catch (error) {
      if ((error as { code?: string }).code !== "55P03" || attempt === 5) throw error;
    }
  }
}

async function idleOnce(ground: Ground, statements: string[]): Promise<void> {
  const connection = await connect(ground.project.databaseUrl());
  try {
    for (const statement of ["begin", "set local lock_timeout = '10 s'", ...statements]) {
      await connection.query(statement);
    }
    await pause(HELD);
    await connection.query("rollback");
  } finally {
    await connection.close();
  }
}

const SOME = "where processed_at is null order by random() limit 200";

export const FOREIGN_FAULTS: readonly Blow[] = [
  {
    fault: "F21",
    what: "200 messages locked by an idle transaction",
    hits: "anybody",
    strike: (ground) => idleWith(ground, `select from messenger_messages ${SOME} for update`),
  },
  {
    fault: "F21",
    what: "200 messages referred to by an open insert, others by a committed one",
    hits: "anybody",
    async strike(ground) {
      await insist(
        ground,
        "create table if not exists soak.orders (message_id uuid references public.messenger_messages)",
      );
      await insist(ground, `insert into soak.orders select id from messenger_messages order by random() limit 20`);
      await idleWith(ground, `insert into soak.orders select id from messenger_messages ${SOME}`);
    },
  },
  {
    fault: "F21",
    what: "a trigger that forbids to change every hundredth message",
    hits: "anybody",
    async strike(ground) {
      await insist(
        ground,
        `create or replace function soak.keep() returns trigger language plpgsql as $$ begin raise exception 'the project keeps this one'; end $$;
         create or replace trigger soak_keep before update on public.messenger_messages for each row
         when (hashtext(old.id::text) % 100 = 0) execute function soak.keep()`,
      );
      await pause(HELD);
      await insist(ground, LET_GO);
      await insist(ground, "drop trigger if exists soak_keep on public.messenger_messages");
    },
  },
  {
    fault: "F21",
    what: "an open ALTER TABLE on the messages",
    hits: "anybody",
    strike: (ground) => idleWith(ground, "alter table messenger_messages add column of_the_project text"),
  },
  {
    fault: "F21",
    what: "an open CREATE INDEX on the messages, the table of keys being altered",
    hits: "anybody",
    strike: (ground) =>
      idleWith(
        ground,
        "create index of_the_project on messenger_messages (created_by)",
        "alter table messenger.idempotency_keys add column of_the_project text",
      ),
  },
  {
    fault: "F21",
    what: "the database serializable by default",
    hits: "anybody",
    async strike(ground) {
      const reconnect =
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^sql-' or usename = 'authenticator'";
      await insist(ground, "alter database postgres set default_transaction_isolation = 'serializable'");
      await insist(ground, reconnect);
      await pause(HELD);
      await insist(ground, "alter database postgres reset default_transaction_isolation");
      await insist(ground, reconnect);
    },
  },
];
