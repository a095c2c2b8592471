// messenger_explain of a message that no worker claims: no handler, no ticker, no wake-ups, failed wake-ups, idle
// workers.
import assert from "node:assert/strict";
import { empty, session, test, testWithCron, useProject } from "../../project.ts";
import { call, claim, dispatch, messageOf, type Row, setClock, tickByHand } from "../bus.ts";
import { applyRemedy, causeOf, isClaimable, reasons } from "./explain.ts";

const project = useProject({ testClock: true });
const URL = "https://example.test/functions/v1";
const RARELY = "0 0 1 1 *"; // so that no real tick comes in between

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`delete from net.http_request_queue`;
  await sql`delete from net._http_response`;
  await tickByHand(sql, URL);
  await call(sql, "messenger_register", { types: [{ type: "Greeting" }] });
});

interface WakeupResponse {
  status?: number;
  error?: string;
  timedOut?: boolean;
}

/** The work of pg_net: sends all queued requests, and stores the responses. */
async function reply({ status, error, timedOut = false }: WakeupResponse): Promise<void> {
  await project().sql`
    with sent as (delete from net.http_request_queue returning id)
    insert into net._http_response (id, status_code, error_msg, timed_out, created)
    select id, ${status ?? null}::int, ${error ?? null}::text, ${timedOut}, clock_timestamp() from sent`;
}

test("no handler · workers are active and none claims the type; one that announces it gets it", async () => {
  const { sql } = project();
  await claim(sql, { worker: "edge-1", types: ["Else"], queues: ["a", "b"] });
  const { id } = await dispatch(sql, { type: "Lost.One" });
  const { detail, remedy } = await causeOf(sql, id, "no_handler");
  assert.match(detail, /takes type "Lost.One" from queue default of transport supabase; active workers: edge-1 /);
  assert.match(
    detail,
    new RegExp(
      "\\(transport any, queues a b, types Else\\); define the type in a pack \\(packs/\\) and deploy it " +
        "\\(locally, saving the file is enough\\)$",
    ),
  );
  assert.equal(remedy, "supabase functions deploy worker");
  assert.equal((await reasons(sql, id))[0], "no_handler");
  await claim(sql, { worker: "edge-2", types: ["Lost.One"], queues: ["other"] });
  assert.ok((await reasons(sql, id)).includes("no_handler"), "of another queue");
  const taken = await claim(sql, { worker: "edge-2", types: ["Lost.One"] });
  assert.deepEqual(taken.map((row) => row.id), [id]);
});

test("no handler · no worker is active, and no code has registered the type; a former name is registered", async () => {
  const { sql } = project();
  await call(sql, "messenger_register", { types: [{ type: "Mail", aliases: ["OldMail"] }] });
  const { id } = await dispatch(sql, { type: "Lost" });
  assert.match((await causeOf(sql, id, "no_handler")).detail, /no code has registered the type; /);
  const { id: known } = await dispatch(sql, { type: "OldMail" });
  assert.ok(!(await reasons(sql, known)).includes("no_handler"));
});

test("no handler · a registered type has ten seconds, in which its worker may start", async () => {
  const { sql } = project();
  await claim(sql, { worker: "edge-1", types: ["Else"] });
  const { id } = await dispatch(sql);
  assert.deepEqual(await reasons(sql, id), ["no_worker"]);
  await setClock(sql, "11 seconds");
  assert.deepEqual(await reasons(sql, id), ["no_handler"]);
});

test("SQL handler · ready while the ticker runs; without the function workers get the type", async () => {
  const { sql } = project();
  await sql.unsafe(
    `create or replace function public.explained(jsonb) returns jsonb language sql
      set search_path = pg_catalog, pg_temp as $$ select '1'::jsonb $$;
    select messenger.set_sql_handler('Inner', 'public.explained')`,
  );
  const { id } = await dispatch(sql, { type: "Inner" });
  assert.deepEqual(await reasons(sql, id), ["ready"]);
  assert.match((await causeOf(sql, id, "ready")).detail, /its SQL handler runs within a second$/);
  await setClock(sql, "2 minutes");
  assert.deepEqual(await reasons(sql, id), ["clock_stopped"]);
  await setClock(sql, "0");
  await sql`drop function public.explained(jsonb)`;
  assert.deepEqual(await reasons(sql, id), ["sql_handler_gone"]);
  assert.match((await causeOf(sql, id, "sql_handler_gone")).detail, /public.explained\(jsonb\) does not exist/);
  await applyRemedy(sql, id, "sql_handler_gone");
  assert.ok(await isClaimable(sql, id));
});

testWithCron("clock stopped · never started, its job missing, inactive, not run; each with its remedy", async () => {
  const { sql } = project();
  await sql`update messenger.clock set last_tick_at = null`;
  await sql`delete from messenger.ticks`;
  const { id } = await dispatch(sql, { delay: "1 hour" });
  assert.deepEqual(await reasons(sql, id), ["delayed", "clock_stopped"]);
  const clock = () => causeOf(sql, id, "clock_stopped");
  assert.equal((await clock()).detail, "the ticker has never run: the ticker was not started");
  assert.equal((await clock()).remedy, "select messenger_start()");
  await sql.unsafe((await clock()).remedy);
  await sql`select cron.alter_job(jobid, schedule => ${RARELY}, active => false) from cron.job`;
  assert.match((await clock()).detail, /symphony-clock is inactive$/);
  await sql.unsafe((await clock()).remedy);
  assert.match((await clock()).detail, /pg_cron starts the job symphony-clock within a minute/);
  await sql`select cron.unschedule('symphony-clock')`;
  assert.match((await clock()).detail, /has no job symphony-clock$/);
  await sql.unsafe((await clock()).remedy);
  await applyRemedy(sql, id, "clock_stopped");
  await sql`select messenger_stop()`;
});

/** The detail and remedy of this reason without the schema of an extension. */
async function without(schema: string, id: string, reason: string): Promise<Row> {
  await using admin = session(project(), "supabase_admin");
  const undo = new Error("undo");
  let found: Row;
  await admin.begin(async (tx) => {
    await tx.unsafe(`alter schema ${schema} rename to gone`);
    found = await causeOf(tx, id, reason);
    throw undo;
  }).catch((error) => assert.equal(error, undo));
  return found;
}

test("without pg_cron, pg_net or Vault · the reason names the missing extension and its installation", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await setClock(sql, "2 minutes");
  const clock = await without("cron", id, "clock_stopped");
  assert.match(clock.detail, /there is no pg_cron, and no external scheduler calls the scheduler edge function$/);
  assert.equal(clock.remedy, "create extension pg_cron; select messenger_start()");
  await setClock(sql, "0");
  const wakeups = await without("net", id, "no_wakeups");
  assert.match(wakeups.detail, /there is no pg_net$/);
  assert.equal(wakeups.remedy, "create extension pg_net");
  assert.match((await without("vault", id, "no_wakeups")).detail, /secret is not in Vault, or cannot be decrypted$/);
});

testWithCron("clock stopped · its last run failed, hangs, or is long ago; or each tick fails", async () => {
  const { sql } = project();
  await sql`select messenger_start()`;
  await sql`select cron.alter_job(jobid, schedule => ${RARELY}) from cron.job`;
  await setClock(sql, "2 minutes");
  const { id } = await dispatch(sql, { delay: "1 hour" });
  const clock = () => causeOf(sql, id, "clock_stopped");
  await using admin = session(project(), "supabase_admin");
  await using ticking = session(project());
  const [{ pid }] = await ticking`select pg_backend_pid() as pid, 'tick_or_note_error' as job`;
  const lastRun = (status: string) =>
    admin`
    insert into cron.job_run_details (jobid, runid, job_pid, command, username, status, return_message)
    select jobid, nextval('cron.runid_seq'), ${pid}, command, username, ${status}, 'no slot' from cron.job
      where jobname = 'symphony-clock'`;
  await lastRun("failed");
  assert.match((await clock()).detail, /symphony-clock failed: no slot$/);
  assert.deepEqual((await sql.unsafe((await clock()).remedy)).map(({ status }) => status), ["failed"]);
  await lastRun("running");
  assert.match((await clock()).detail, new RegExp(`runs in process ${pid}, and its tick does not end$`));
  assert.equal((await clock()).remedy, `select pg_cancel_backend(${pid})`);
  await lastRun("succeeded");
  assert.match((await clock()).detail, /its launcher has stopped until the database is restarted$/);
  await sql`update messenger.clock set last_error = 'disk full', last_error_at = messenger.now()`;
  assert.match((await clock()).detail, /: each tick fails: disk full$/);
  await applyRemedy(sql, id, "clock_stopped");
  await sql`select messenger_stop()`;
  await admin`delete from cron.job_run_details`;
});

test("clock stopped · blocks nothing while a worker polls", async () => {
  const { sql } = project();
  await setClock(sql, "2 minutes");
  await claim(sql);
  const { id } = await dispatch(sql);
  assert.deepEqual(await reasons(sql, id), ["ready", "clock_stopped"]);
  await sql`truncate messenger.workers`;
  assert.equal((await reasons(sql, id))[0], "clock_stopped");
});

test("no wake-ups · without functions URL or secret; the remedies set them", async () => {
  const { sql } = project();
  await sql`update messenger.settings set functions_url = null`;
  const { id } = await dispatch(sql);
  assert.deepEqual(await reasons(sql, id), ["no_wakeups"]);
  assert.match((await causeOf(sql, id, "no_wakeups")).detail, /there is no functions URL$/);
  await sql.unsafe((await causeOf(sql, id, "no_wakeups")).remedy);
  await sql`delete from vault.secrets where name = 'symphony_worker_secret'`;
  assert.match((await causeOf(sql, id, "no_wakeups")).detail, /secret is not in Vault, or cannot be decrypted$/);
  await applyRemedy(sql, id, "no_wakeups");
  await call(sql, "messenger_tick");
  assert.equal((await sql`select from net.http_request_queue`).length, 1, "a wake-up is sent for it");
  await sql`select messenger_stop()`;
});

const failures: [string, WakeupResponse, RegExp, string | RegExp][] = [
  [
    "another secret",
    { status: 401 },
    /answered HTTP 401 .* differs from the one in Vault$/,
    "supabase secrets unset SYMPHONY_WORKER_SECRET",
  ],
  ["not deployed", { status: 404 }, /answered HTTP 404 .* not deployed there/, "supabase functions deploy worker"],
  [
    "a worker that breaks",
    { status: 546 },
    /answered HTTP 546 .* log$/,
    /^curl -i -X POST 'https:\/\/example.test\/functions\/v1\/worker\?wait=1'/,
  ],
  [
    "a timeout",
    { error: "Timeout of 5000 ms reached", timedOut: true },
    /answered 'Timeout of 5000 ms reached'/,
    /^curl /,
  ],
  [
    "a wrong address",
    { error: "Couldn't resolve host name" },
    /answered 'Couldn''t resolve host name' .* is not reachable$/,
    /^select messenger_start\('https/,
  ],
];
for (const [name, failure, detail, remedy] of failures) {
  test(`worker unreachable · ${name}`, async () => {
    const { sql } = project();
    const { id } = await dispatch(sql);
    await reply(failure);
    assert.deepEqual(await reasons(sql, id), ["worker_unreachable"]);
    const row = await causeOf(sql, id, "worker_unreachable");
    assert.match(row.detail, detail);
    if (typeof remedy === "string") assert.equal(row.remedy, remedy);
    else assert.match(row.remedy, remedy);
  });
}

test("worker unreachable · pg_net sends nothing; responses to others' requests do not count", async () => {
  const { sql } = project();
  await sql`insert into net._http_response (id, status_code, created) values (-1, 500, clock_timestamp())`;
  const { id } = await dispatch(sql);
  assert.deepEqual(await reasons(sql, id), ["no_worker"]);
  await sql`update messenger.wakeups set at = at - interval '20 seconds'`;
  const row = await causeOf(sql, id, "worker_unreachable");
  assert.match(row.detail, /^pg_net has not sent 1 wake-ups/);
  assert.equal(row.remedy, "select net.worker_restart()");
});

test("no worker · a wake-up had a response, and no worker polls; the newest response counts", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  assert.match((await causeOf(sql, id, "no_worker")).detail, /sent at .* and has no response yet$/);
  await reply({ status: 500 });
  assert.deepEqual(await reasons(sql, id), ["worker_unreachable"]);
  await call(sql, "messenger_tick");
  assert.deepEqual(await reasons(sql, id), ["worker_unreachable"], "until a later one has a response");
  await reply({ status: 202 });
  assert.deepEqual(await reasons(sql, id), ["no_worker"]);
  const row = await causeOf(sql, id, "no_worker");
  assert.match(row.detail, /sent at .* and got HTTP 202$/);
  assert.equal(row.remedy, `curl -i -X POST '${URL}/worker?wait=1' -H "apikey: $SUPABASE_SECRET_KEY"`);
  await sql`truncate messenger.wakeups`;
  assert.match((await causeOf(sql, id, "no_worker")).detail, /no wake-up was sent within the last hour$/);
  await claim(sql, { worker: "ada", queues: ["none"] });
  assert.ok((await reasons(sql, id)).includes("no_worker"), "a worker of another queue");
  await claim(sql, { worker: "bob", types: ["Greeting"], batch: 1 });
  assert.equal((await messageOf(sql, id)).locked_by, "bob");
});

test("no worker · the command is safe to paste with any functions URL", async () => {
  const { sql } = project();
  await sql`update messenger.settings set functions_url = ${"https://x.test/$(id)'`id`\"x"}`;
  const { id } = await dispatch(sql);
  const { remedy } = await causeOf(sql, id, "no_worker");
  const echo = remedy.replace(/^curl -i -X POST/, "printf %s").replace(/ -H .*$/, "");
  const { stdout } = await new Deno.Command("bash", { args: ["-c", echo] }).output();
  assert.equal(new TextDecoder().decode(stdout), "https://x.test/$(id)'`id`\"x/worker?wait=1");
});

test("no worker · not returned for paused, delayed, running or finished messages", async () => {
  const { sql } = project();
  const { id: done } = await dispatch(sql);
  const [{ fence }] = await claim(sql);
  await sql`truncate messenger.workers`;
  assert.deepEqual(await reasons(sql, done), ["running"]);
  await call(sql, "messenger_complete", { id: done, fence });
  assert.deepEqual(await reasons(sql, done), ["completed"]);
  const { id: later } = await dispatch(sql, { delay: "1 hour" });
  assert.deepEqual(await reasons(sql, later), ["delayed"]);
});
