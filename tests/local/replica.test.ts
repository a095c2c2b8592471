// A streaming read replica: functions that only read work there, all others raise one error that names the primary.
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import postgres, { type Sql } from "postgres";
import { openCluster } from "../../supabase/local/cluster.ts";
import { empty, test, useProject } from "../project.ts";
import { call } from "../supabase/bus.ts";
import { errorOf } from "../supabase/assert_rejected.ts";

const project = useProject();
const ID = "01990000-0000-7000-8000-000000000001";

/** Copies the stopped primary and starts the copy as a standby that follows it. */
async function withReplica(work: (replica: Sql) => Promise<void>) {
  const [{ data_directory: data }] = await project().sql`show data_directory`;
  const directory = join(dirname(data), "replica");
  await project().stopDatabase("fast");
  await Deno.mkdir(directory);
  const copied = await new Deno.Command("cp", { args: ["--archive", data, join(directory, "data")] }).output();
  assert.ok(copied.success);
  await project().startDatabase();
  const { port, password } = new URL(project().databaseUrl("supabase_admin"));
  const source = `host=127.0.0.1 port=${port} user=supabase_admin password=${password}`;
  await Deno.writeTextFile(join(directory, "data/standby.signal"), "");
  await Deno.writeTextFile(join(directory, "data/postgresql.auto.conf"), `primary_conninfo = '${source}'\n`);
  const cluster = await openCluster({ directory, password, durable: false });
  await cluster.start();
  const replica = postgres(cluster.url("postgres"), { max: 1, onnotice: () => {} });
  try {
    await work(replica);
  } finally {
    await replica.end({ timeout: 1 });
    await cluster.stop();
  }
}

/** Waits until the replica has replayed the primary's writes. */
async function untilSame(replica: Sql) {
  const [{ lsn }] = await project().sql`select pg_current_wal_insert_lsn()::text as lsn`;
  while (true) {
    const [{ reached }] = await replica`select pg_last_wal_replay_lsn() >= ${lsn}::pg_lsn as reached`;
    if (reached) return;
  }
}

const READS: Record<string, string> = {
  messenger_audit: "",
  messenger_check_worker_secret: "'x'",
  messenger_get_failed: `'${ID}'`,
  messenger_get_message: `'${ID}'`,
  messenger_list_failed: "",
  messenger_list_messages: "",
  messenger_list_schedules: "",
  messenger_list_transports: "",
  messenger_schedule_preview: `'{"interval": 60000}'`,
  messenger_worker_secret_digests: "",
};
const NEEDS_PRIMARY: Record<string, string> = {
  messenger_cancel: `'${ID}'`,
  messenger_claim: "'ada'",
  messenger_claim_one: `'${ID}', 'ada'`,
  messenger_complete: `'${ID}', 1`,
  messenger_complete_with: `'${ID}', 1, 'public.f'`,
  messenger_counters: "",
  messenger_disable_webhook: `'${ID}', 'gone'`,
  messenger_discard_failed: "null, '{}'",
  messenger_dispatch: "'Greeting'",
  messenger_dispatch_batch: `'[{"type": "Greeting"}]'`,
  messenger_exchange: "'[]', 'ada'",
  messenger_explain: `'${ID}'`,
  messenger_fail: `'${ID}', 1, 'broken'`,
  messenger_health: "",
  messenger_heartbeat: `'[{"id": "${ID}", "fence": 1}]'`,
  messenger_list_queues: "",
  messenger_list_workers: "",
  messenger_metrics: "",
  messenger_pause: "'supabase', 'default'",
  messenger_pause_schedule: "'nightly'",
  messenger_put_transport: "'other'",
  messenger_register: `'[{"type": "Greeting"}]'`,
  messenger_release: `'${ID}', 1`,
  messenger_resume: "'supabase', 'default'",
  messenger_resume_schedule: "'nightly'",
  messenger_retry_failed: "null, '{}'",
  messenger_schedule: `'other', 'Greeting', '{"interval": 60000}'`,
  messenger_set_flag: "'A', 1",
  messenger_settle: `'[{"id": "${ID}", "fence": 1, "outcome": "completed"}]'`,
  messenger_snooze: `'${ID}', 1, '1 second'`,
  messenger_start: "",
  messenger_status: "",
  messenger_stop: "",
  messenger_tick: "",
  messenger_unschedule: "'nightly'",
  messenger_verify: "",
};
// They need more than a database to read from: a webhook, a job of pg_cron, a user's token.
const OTHERS = ["messenger_import_cron", "messenger_sign_webhook", "messenger_user_dispatch"];

const ask = (sql: Sql, name: string, args: string) => sql.unsafe(`select * from ${name}(${args})`);

test("replica · functions that need the primary raise one error with its remedy, the others work", async () => {
  const { sql } = project();
  await empty(sql);
  await call(sql, "messenger_schedule", { name: "nightly", type: "Greeting", schedule: { cron: "0 3 * * *" } });
  const names = await sql`
    select proname from pg_proc where pronamespace = 'public'::regnamespace and proname like 'messenger\\_%'
      order by 1`;
  assert.deepEqual(
    names.map(({ proname }) => proname),
    [...Object.keys(READS), ...Object.keys(NEEDS_PRIMARY), ...OTHERS].sort(),
    "each public function is in one of the lists",
  );
  await withReplica(async (replica) => {
    await call(sql, "messenger_dispatch", { type: "Greeting" });
    await untilSame(replica);
    assert.equal((await replica`select messenger_list_messages() -> 'total' as total`)[0].total, 1);
    for (const [name, args] of Object.entries(READS)) await ask(replica, name, args);
    for (const [name, args] of Object.entries(NEEDS_PRIMARY)) {
      const error = await errorOf(ask(replica, name, args));
      assert.deepEqual([error.code, error.detail], ["PT503", "SM_UNAVAILABLE"], `${name}: ${error.message}`);
      assert.match(error.message, /^this database is a read replica/, name);
      assert.match(error.hint ?? "", /connect to the primary database/, name);
    }
  });
});

test("read only · in a read-only session a write names the setting to reset, and reading works", async () => {
  const { sql } = project();
  await sql.begin("read only", async (tx) => {
    assert.ok((await tx`select messenger_status() as status`)[0].status.queue);
    assert.ok((await tx`select messenger_health() as health`)[0].health.checks.length > 10);
  });
  const error = await errorOf(sql.begin("read only", (tx) => tx`select * from messenger_dispatch('Greeting')`));
  assert.deepEqual([error.code, error.detail, error.message], [
    "PT503",
    "SM_UNAVAILABLE",
    "this transaction is read only",
  ]);
  assert.match(error.hint ?? "", /default_transaction_read_only/);
});
