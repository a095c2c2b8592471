// A consumer in SQL, in a process that may be killed at any time: the effect and the strict completion of each message
// are one transaction. Arguments: database URL, worker name, lease in milliseconds. Prints "stale" for each completion
// that came too late.
import postgres, { type Sql } from "postgres";
import { pause } from "../../pause.ts";

export const EFFECT = "SoakEffect";
export const EFFECTS_QUEUE = "effects";

interface ClaimedRow {
  id: string;
  fence: string;
}

if (import.meta.main) await consume(Deno.args[0], Deno.args[1], Number(Deno.args[2]));

async function consume(url: string, worker: string, lease: number): Promise<void> {
  const sql = postgres(url, {
    max: 1,
    onnotice: () => {},
    backoff: () => 0.2,
    connection: { application_name: worker },
  });
  for (;;) {
    try {
      const rows = await sql<ClaimedRow[]>`
        select id, fence from messenger_claim(${worker}, 100, ${`${lease} ms`}, queues => array[${EFFECTS_QUEUE}])`;
      if (rows.length === 0) await pause(50);
      for (const [n, row] of rows.entries()) await handle(sql, row, n);
    } catch {
      // Postgres is down, or the connection was cut: claimed messages are handed out again when their lease expires.
      await pause(100);
    }
  }
}

async function handle(sql: Sql, { id, fence }: ClaimedRow, n: number): Promise<void> {
  try {
    if (n % 50 === 0 && fence === "1") {
      await sql`select messenger_fail(${id}, ${fence}, 'on purpose, the first time', retry_after => '200 ms')`;
    } else if (n % 25 === 1) {
      // A pause between effect and completion, in which the process can be killed. One message of the protocol is one
      // transaction.
      await sql.unsafe(`
        insert into soak.effects (message_id, fence) values ('${id}', ${fence});
        select pg_sleep(0.02);
        select messenger_complete('${id}', ${fence}, strict => true)`).simple();
    } else {
      await sql`
        with effect as (insert into soak.effects (message_id, fence) values (${id}, ${fence})
        returning message_id, fence)
        select messenger_complete(message_id, fence, strict => true) from effect`;
    }
  } catch (error) {
    if (!(error instanceof postgres.PostgresError) || error.detail !== "SM_STALE_LEASE") throw error;
    console.log("stale");
  }
}
