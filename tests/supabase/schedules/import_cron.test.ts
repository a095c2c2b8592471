// messenger_import_cron: its proposal for a job of pg_cron runs, fires, and has the effect of the job.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, setClock } from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await rewrite("delete from cron.job");
  await sql`drop table if exists public.ledger`;
  await sql`create table public.ledger (what text, at timestamptz default now())`;
});

/** pg_cron's table, changed directly: older versions reject schedules that newer ones accept. */
async function rewrite(statement: string): Promise<void> {
  await using admin = session(project(), "supabase_admin");
  await admin.unsafe(statement);
}

async function job(name: string | null, schedule: string, command: string): Promise<number> {
  const { sql } = project();
  if (name === null) {
    const [{ jobid }] = await sql`select cron.schedule(${schedule}, ${command}) as jobid`;
    return Number(jobid);
  }
  const [{ jobid }] = await sql`select cron.schedule(${name}, ${schedule}, ${command}) as jobid`;
  return Number(jobid);
}

const propose = (jobid: number) => callValue(project().sql, "messenger_import_cron", { jobid });

const COMMANDS: [what: string, name: string | null, command: string][] = [
  ["a plain statement", "nightly", "insert into ledger (what) values ('done')"],
  ["a query", "asks", "select note_done('done')"],
  [
    "several statements",
    "several",
    "insert into ledger (what) values ('x'); delete from ledger; insert into ledger (what) values ('done');",
  ],
  ["quotes of every kind", `it's "quoted"`, `insert into ledger (what) select $job$done$job$ where 'it''s' <> $$x$$`],
  ["two calls", "two calls", "select 1; select note_done('done')"],
  [
    "a writing query",
    "with",
    "with x as (insert into ledger (what) values ('done') returning what) select count(*) from x",
  ],
  ["a comment before", "commented", "-- nightly; vacuum\nselect note_done('done')"],
  ["a comment after", "commented after", "select note_done('done') -- done"],
  ["nested comments", "nested", "/* x /* vacuum; */ ' */ select note_done('done')"],
  [
    "a semicolon in a literal",
    "literal",
    "select note_done('done') where 'a;vacuum' <> '' and $q$;commit$q$ <> e'\\';'",
  ],
  ["rows nobody reads", "returning", "insert into ledger (what) values ('done') returning what"],
  ["a semicolon at the end", "end", "select note_done('done') ; "],
  [
    "statements that need one another",
    "needs",
    "create temp table t as select 'done' as what; insert into ledger (what) select what from t; drop table t",
  ],
  ["a DO block", "block", "do $$ begin insert into public.ledger (what) values ('done'); end $$"],
  ["a name with an injection", `x'); drop table ledger; --`, "insert into ledger (what) values ('done')"],
  ["a name of punctuation only", "***", "insert into ledger (what) values ('done')"],
  ["no name", null, "insert into ledger (what) values ('done')"],
];
for (const [what, name, command] of COMMANDS) {
  test(`import · ${what}: the proposed script runs, the schedule fires once, the job is gone`, async () => {
    const { sql } = project();
    await sql`create or replace function public.note_done(what text) returns void
      language sql as 'insert into public.ledger (what) values (what)'`;
    const id = await job(name, "*/5 * * * *", command);
    const proposal = await propose(id);
    assert.equal((await sql`select from cron.job`).length, 1, "asking changes nothing");
    assert.equal((await sql`select from messenger_schedules`).length, 0);
    await using own = session(project());
    await own.unsafe(proposal.sql).simple();
    assert.equal((await sql`select from cron.job`).length, 0);
    const [schedule] = await sql`select * from messenger_schedules`;
    assert.deepEqual([schedule.name, schedule.message_type, schedule.misfire], [
      proposal.schedule.name,
      proposal.schedule.type,
      "skip",
    ]);
    const [{ skew }] =
      await sql`select (next_run_at - now() + interval '1 second')::text as skew from messenger_schedules`;
    await setClock(sql, skew);
    await call(sql, "messenger_tick");
    await call(sql, "messenger_tick");
    const rows = await sql`select what from ledger`;
    assert.deepEqual(rows.map((row) => row.what), ["done"]);
    const messages = await sql`select status, last_error from messenger_messages`;
    assert.deepEqual([...messages], [{ status: "completed", last_error: null }]);
  });
}

const DIALECTS: [schedule: string, ours: unknown][] = [
  ["0 0 $ * *", { cron: "0 0 L * *" }],
  ["*/5 9-17 * * 1-5", { cron: "*/5 9-17 * * 1-5" }],
  ["  0   3 * jan sun ", { cron: "0 3 * jan sun" }],
  ["@daily", { cron: "@daily" }],
];
for (const [schedule, ours] of DIALECTS) {
  test(`import · pg_cron's ${schedule.trim()} becomes ${JSON.stringify(ours)}`, async () => {
    const id = await job("dialect", "* * * * *", "select 1");
    await rewrite(`update cron.job set schedule = '${schedule}' where jobid = ${id}`);
    const proposal = await propose(id);
    assert.deepEqual([proposal.schedule.schedule, proposal.schedule.timezone], [ours, "UTC"]);
  });
}

test("import · an interval of seconds becomes milliseconds", async () => {
  const id = await job("ticks", "* * * * *", "select 1");
  await rewrite(`update cron.job set schedule = '30 seconds' where jobid = ${id}`);
  assert.deepEqual((await propose(id)).schedule.schedule, { interval: 30_000 });
});

for (
  const command of [
    "vacuum analyze ledger",
    "/* nightly */ VACUUM",
    "delete from ledger; vacuum ledger",
    "begin; select 1; commit",
    "-- x\ncommit",
    "create index concurrently i on ledger (what)",
    "create unique index concurrently i on ledger (what)",
    "reindex table concurrently ledger",
    "reindex (verbose, concurrently) table ledger",
    "reindex database postgres",
    "cluster",
    "alter system set work_mem = '1MB'",
    "create database x",
    "copy ledger from stdin",
    "discard all",
  ]
) {
  test(`import · ${JSON.stringify(command)} cannot run inside a function: rejected with the reason`, async () => {
    const message = await assertRejected(propose(await job("x", "0 3 * * *", command)), "SM_CONFLICT", 409);
    assert.match(message, /cannot run inside a function/);
  });
}

for (
  const command of [
    "cluster ledger using ledger_pkey",
    "select 'vacuum'",
    'select "commit" from (select 1 as "commit") x',
    "create index i on ledger (what)",
    "reindex table ledger",
    "select 1 as begin_at",
    "end_of_day()",
  ]
) {
  test(`import · ${JSON.stringify(command)} is accepted`, async () => {
    await propose(await job("x", "0 3 * * *", command));
  });
}

test("import · commands better as a message type, or failing in a transaction, have a note", async () => {
  const http = await propose(
    await job("calls", "0 3 * * *", "select net.http_post('https://x.supabase.co/functions/v1/y')"),
  );
  assert.match(http.notes.join(" "), /message type/);
  for (const command of ["call tidy_up()", "do $$ begin commit; end $$"]) {
    assert.match((await propose(await job("p", "0 3 * * *", command))).notes.join(" "), /must not commit/);
  }
});

test("import · two jobs with similar names share neither type nor handler", async () => {
  const { sql } = project();
  const ids = [
    await job("send mails", "0 3 * * *", "select 1"),
    await job("send-mails", "0 3 * * *", "select 2"),
    await job("x".repeat(60), "0 3 * * *", "select 3"),
    await job("x".repeat(60) + "-", "0 3 * * *", "select 4"),
  ];
  await using own = session(project());
  const types = [];
  for (const id of ids) {
    const proposal = await propose(id);
    types.push(proposal.schedule.type);
    await own.unsafe(proposal.sql.replace(/name => '[^']*'/, `name => 'schedule ${id}'`)).simple();
  }
  assert.equal(new Set(types).size, 4);
  const handlers = await sql`select sql_handler from messenger.message_types where type like 'cron.%'`;
  assert.equal(new Set(handlers.map(({ sql_handler }) => sql_handler)).size, 4);
});

test("import · a stepped day field beside a restricted one is rejected: pg_cron needs both", async () => {
  const id = await job("days", "* * * * *", "select 1");
  for (const schedule of ["0 0 */2 * 1", "0 0 1 * */2", "0 0 */2 * */3"]) {
    await rewrite(`update cron.job set schedule = '${schedule}' where jobid = ${id}`);
    assert.match(await assertRejected(propose(id), "SM_CRON"), /match both day fields/);
  }
  for (const schedule of ["0 0 */2 * *", "0 0 * * */2", "0 0 */1 * mon", "0 0 13 * fri"]) {
    await rewrite(`update cron.job set schedule = '${schedule}' where jobid = ${id}`);
    assert.deepEqual((await propose(id)).schedule.schedule, { cron: schedule });
  }
});

test("import · an inactive job is proposed as a paused schedule", async () => {
  const { sql } = project();
  const id = await job("off", "0 3 * * *", "select 1");
  await rewrite(`update cron.job set active = false where jobid = ${id}`);
  const proposal = await propose(id);
  assert.equal(proposal.schedule.options.enabled, false);
  await using own = session(project());
  await own.unsafe(proposal.sql).simple();
  const [{ enabled }] = await sql`select enabled from messenger_schedules`;
  assert.equal(enabled, false);
});

test("import · rejects missing jobs, the ticker's own, and times that never come", async () => {
  const { sql } = project();
  await assertRejected(propose(999_999), "SM_NOT_FOUND", 404);
  await call(sql, "messenger_start");
  const [{ jobid }] = await sql`select jobid from cron.job where jobname = 'symphony-clock'`;
  await assertRejected(propose(Number(jobid)), "SM_CONFLICT", 409);
  await call(sql, "messenger_stop");
  const id = await job("odd", "* * * * *", "select 1");
  for (const [schedule, code] of [["@reboot", "SM_CRON"], ["0 0 31 2 *", "SM_CRON_NEVER"]]) {
    await rewrite(`update cron.job set schedule = '${schedule}' where jobid = ${id}`);
    await assertRejected(propose(id), code);
  }
});

test("import · a job is shown to members of the role it runs as, and to no other caller", async () => {
  const { sql } = project();
  const id = await job("x", "0 3 * * *", "select 'a password'");
  await assertRejected(
    asRole(sql, "service_role", (own) => own`select messenger_import_cron(${id})`),
    "SM_NOT_FOUND",
    404,
  );
  await rewrite(`update cron.job set username = 'service_role' where jobid = ${id}`);
  await asRole(sql, "service_role", (own) => own`select messenger_import_cron(${id})`);
  await propose(id);
  await rewrite(`update cron.job set username = 'supabase_admin' where jobid = ${id}`);
  await assertRejected(propose(id), "SM_NOT_FOUND", 404);
});

test("import · users may not call it", async () => {
  const { sql } = project();
  const id = await job("x", "0 3 * * *", "select 1");
  await assert.rejects(
    asRole(sql, "authenticated", (own) => own`select messenger_import_cron(${id})`),
    /permission denied/,
  );
});
