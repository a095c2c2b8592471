// F21 in the soak: the project's own locks, objects, DDL and isolation level, each for a few seconds during the work.
import { connect } from "../../../supabase/local/connection.ts";
import { pause } from "../../pause.ts";
import type { SoakFault } from "./fault.ts";
import { RELEASE_SNAPSHOTS, runWhenUp, type SoakSetup } from "./setup.ts";

/** Shorter than a lease; otherwise every locked message would be a lost delivery. */
const HOLD_TIME = 3_000; // ms

/**
 * Statements in a transaction of the project, which then idles and is rolled back. DDL that gets no lock is repeated.
 */
async function idleWith(setup: SoakSetup, ...statements: string[]): Promise<void> {
  for (let attempt = 1;; attempt++) {
    // otherwise DDL would wait a minute for the snapshot, and everything else for the DDL
    await runWhenUp(setup, RELEASE_SNAPSHOTS);
    try {
      return await idleOnce(setup, statements);
    } catch (error) {
      if ((error as { code?: string }).code !== "55P03" || attempt === 5) throw error;
    }
  }
}

async function idleOnce(setup: SoakSetup, statements: string[]): Promise<void> {
  const connection = await connect(setup.project.databaseUrl());
  try {
    for (const statement of ["begin", "set local lock_timeout = '10 s'", ...statements]) {
      await connection.query(statement);
    }
    await pause(HOLD_TIME);
    await connection.query("rollback");
  } finally {
    await connection.close();
  }
}

const SOME_UNFINISHED = "where processed_at is null order by random() limit 200";

export const FOREIGN_FAULTS: readonly SoakFault[] = [
  {
    id: "F21",
    what: "200 messages locked by an idle transaction",
    affects: "anybody",
    inject: (setup) => idleWith(setup, `select from messenger_messages ${SOME_UNFINISHED} for update`),
  },
  {
    id: "F21",
    what: "200 messages referred to by an open insert, others by a committed one",
    affects: "anybody",
    async inject(setup) {
      await runWhenUp(
        setup,
        "create table if not exists soak.orders (message_id uuid references public.messenger_messages)",
      );
      await runWhenUp(setup, `insert into soak.orders select id from messenger_messages order by random() limit 20`);
      await idleWith(setup, `insert into soak.orders select id from messenger_messages ${SOME_UNFINISHED}`);
    },
  },
  {
    id: "F21",
    what: "a trigger that rejects updates of every hundredth message",
    affects: "anybody",
    async inject(setup) {
      await runWhenUp(
        setup,
        `create or replace function soak.keep() returns trigger
          language plpgsql as $$ begin raise exception 'the project keeps this one'; end $$;
         create or replace trigger soak_keep before update on public.messenger_messages for each row
         when (hashtext(old.id::text) % 100 = 0) execute function soak.keep()`,
      );
      await pause(HOLD_TIME);
      await runWhenUp(setup, RELEASE_SNAPSHOTS);
      await runWhenUp(setup, "drop trigger if exists soak_keep on public.messenger_messages");
    },
  },
  {
    id: "F21",
    what: "an open ALTER TABLE on the messages",
    affects: "anybody",
    inject: (setup) => idleWith(setup, "alter table messenger_messages add column of_the_project text"),
  },
  {
    id: "F21",
    what: "an open CREATE INDEX on the messages, the table of keys being altered",
    affects: "anybody",
    inject: (setup) =>
      idleWith(
        setup,
        "create index of_the_project on messenger_messages (created_by)",
        "alter table messenger.idempotency_keys add column of_the_project text",
      ),
  },
  {
    id: "F21",
    what: "the database serializable by default",
    affects: "anybody",
    async inject(setup) {
      const reconnect = "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ " +
        "'^sql-' or usename = 'authenticator'";
      await runWhenUp(setup, "alter database postgres set default_transaction_isolation = 'serializable'");
      await runWhenUp(setup, reconnect);
      await pause(HOLD_TIME);
      await runWhenUp(setup, "alter database postgres reset default_transaction_isolation");
      await runWhenUp(setup, reconnect);
    },
  },
];
