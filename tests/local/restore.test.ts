// Dump, restore, squash and data-only restore: a restored installation works, and missing or additional objects are
// named with their remedy.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { findInstallation } from "../../supabase/local/installations.mjs";
import type { Project } from "../../supabase/local/project.ts";
import { empty, session, test, useProject } from "../project.ts";
import { call, callValue, claim, dispatch, type Row } from "../supabase/bus.ts";
import { install } from "../supabase/manifest/release.ts";

const source = useProject();
// The older default privileges: objects of a dump are accessible to the roles of the API.
const target = useProject({ migrate: false });
const bin = findInstallation()?.bin;
const bootstrap = new URL("../../supabase/local/sql/", import.meta.url);

Deno.test.beforeEach(async () => {
  await empty(source().sql);
  await reset(target());
});

async function reset(project: Project) {
  await using admin = session(project, "supabase_admin");
  await admin.unsafe(`
    drop schema if exists messenger cascade;
    drop schema public cascade;
    create schema public authorization postgres;
    grant usage on schema public to anon, authenticated, service_role;
    delete from vault.secrets`);
  await admin.unsafe(await Deno.readTextFile(new URL("default_privileges_legacy.sql", bootstrap)));
}

/** Data of every kind: a message, dead letters, a schedule, a transport and changed settings. */
async function fill(sql: Sql) {
  await call(sql, "messenger_start", {
    functions_url: "https://example.test/functions/v1",
    options: { max_workers: 9 },
  });
  await call(sql, "messenger_stop");
  await call(sql, "messenger_put_transport", { name: "supabase", config: { retention: "3 days" } });
  await call(sql, "messenger_schedule", { name: "nightly", type: "Report", schedule: { cron: "0 3 * * *" } });
  const { id } = await dispatch(sql, { type: "Broken", max_retries: 0 });
  const [{ fence }] = await claim(sql);
  await call(sql, "messenger_fail", { id, fence, error: "no" });
  await dispatch(sql, { ordering_key: "a", idempotency_key: "k" });
  await call(sql, "messenger_tick");
}

async function run(
  program: string,
  args: string[],
  input = "",
): Promise<{ success: boolean; output: string; errors: string }> {
  const child = new Deno.Command(`${bin}/${program}`, { args, stdin: "piped", stdout: "piped", stderr: "piped" })
    .spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
  const { success, stdout, stderr } = await child.output();
  await written;
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { success, output: decode(stdout), errors: decode(stderr) };
}

async function dump(...options: string[]): Promise<string> {
  const url = source().databaseUrl();
  const { success, output, errors } = await run("pg_dump", [url, "-n", "public", "-n", "messenger", ...options]);
  assert.ok(success, errors);
  return output;
}

/** As psql runs it by default: an error, such as that of an existing schema, does not end it. */
async function restore(script: string, role: "postgres" | "supabase_admin" = "postgres") {
  await run("psql", ["-X", "-q", target().databaseUrl(role)], script);
}

async function restoreWhole(script: string, role: "postgres" | "supabase_admin" = "postgres") {
  const { success, errors } = await run(
    "psql",
    ["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", target().databaseUrl(role)],
    script,
  );
  assert.ok(success, errors);
}

const differences = async () =>
  (await target().sql`select kind, object, state from messenger_verify() where kind not in ('operation', 'catalog')`)
    .map(({ kind, object, state }) => `${state} ${kind} ${object}`);

async function check(name: string): Promise<Row> {
  return (await callValue(target().sql, "messenger_health")).checks.find((row: Row) => row.name === name);
}

async function works(sql: Sql) {
  const { id } = await dispatch(sql, { type: "Later", queue: "later" });
  const [row] = await claim(sql, { queues: ["later"] });
  assert.equal(row.id, id);
  assert.equal(await callValue(sql, "messenger_complete", { id, fence: row.fence }), "completed");
}

async function hasEverything(sql: Sql) {
  const [row] = await sql`
    select (select count(*)::int from messenger_messages) as messages,
      (select count(*)::int from messenger_failed_messages) as dead_letters,
      (select array_agg(name) from messenger_schedules) as schedules,
      (select config from messenger_transports where name = 'supabase') as config,
      (select array_agg(name order by name) from messenger_transports) as transports,
      (select max_workers from messenger.settings) as workers,
      (select count(*)::int from messenger.message_types) as types`;
  assert.deepEqual({ ...row }, {
    messages: 2,
    dead_letters: 1,
    schedules: ["nightly"],
    config: { retention: "3 days" },
    transports: ["supabase", "sync"],
    workers: 9,
    types: 2,
  });
  assert.equal((await dispatch(sql, { ordering_key: "a", idempotency_key: "k" })).duplicate, true);
  await works(sql);
}

test("restore · a whole dump differs only in rights, which health names and the migration revokes", async () => {
  await fill(source().sql);
  await restore(await dump("--no-owner"));
  const { sql } = target();
  assert.deepEqual((await differences()).filter((line) => !line.includes(" grant ")), []);
  assert.deepEqual([(await check("rights")).status, (await check("own_rows")).status], ["unhealthy", "healthy"]);
  assert.match((await check("rights")).remedy, /run the migration of this release again/);
  await install(sql);
  assert.deepEqual(await differences(), []);
  assert.equal((await check("rights")).status, "healthy");
  const [{ may }] =
    await sql`select has_column_privilege('authenticated', 'messenger_messages', 'last_error', 'select') as may`;
  assert.equal(may, false);
  await hasEverything(sql);
});

test("restore · a restored database rejects rows that break a rule, and a dump with such a row", async () => {
  await fill(source().sql);
  const script = await dump();
  await restore(script);
  const { sql } = target();
  const count = async () => (await sql`select from messenger_messages`).length;
  assert.equal(await count(), 2);
  for (const columns of ["locked_by = 'ada'", "retry_count = 7", "processed_at = now()", "body = '[]'"]) {
    const work = sql.unsafe(`update messenger_messages set ${columns} where status = 'pending'`);
    await assert.rejects(work, { code: "23514", table_name: "messenger_messages" }, columns);
  }
  await reset(target());
  const altered = script.replace(/^(\S+\tsupabase\tdefault\tGreeting\t.*)\tpending\t/m, "$1\tdone\t");
  assert.notEqual(altered, script);
  const { errors } = await run("psql", ["-X", "-q", target().databaseUrl()], altered);
  assert.match(errors, /violates the rule "status"/);
  assert.equal(await count(), 0, "one COPY loads all messages");
});

test("restore · one that replaces an installation with --clean is complete, too", async () => {
  await fill(source().sql);
  await install(target().sql);
  await restore(await dump("--clean", "--if-exists"));
  await install(target().sql);
  assert.deepEqual(await differences(), []);
  await hasEverything(target().sql);
});

for (
  const [how, options, before] of [
    ["as psql loads it", [], ""],
    ["as the Supabase CLI loads it", ["--column-inserts"], "set session_replication_role = replica;\n"],
  ] as const
) {
  test(`data only · a freshly migrated database accepts it, ${how}`, async () => {
    await fill(source().sql);
    await install(target().sql);
    await restoreWhole(before + await dump("--data-only", ...options), before ? "supabase_admin" : "postgres");
    assert.deepEqual(await differences(), []);
    await hasEverything(target().sql);
  });
}

test("data only · a changed transport is kept, and no ordinary insert replaces it", async () => {
  const { sql } = target();
  await install(sql);
  const row = (name: string) => sql`select id, config from messenger_transports where name = ${name}`;
  const [before] = await row("supabase");
  await assert.rejects(sql`insert into messenger_transports (name, type) values ('supabase', 'redis')`, {
    code: "23505",
  });
  assert.deepEqual([...await row("supabase")], [before]);
  await call(sql, "messenger_put_transport", { name: "sync", config: { retention: "1 day" } });
  await assert.rejects(
    sql`insert into messenger_transports (name, type, created_at) values ('sync', 'sync', '2020-01-01')`,
    {
      code: "23505",
    },
  );
});

// As `supabase migration squash` dumps.
test("schema only · health names the missing rows, dispatch the remedy, messenger_start restores them", async () => {
  await fill(source().sql);
  await restore(await dump("--schema-only", "--quote-all-identifiers", "--no-comments"));
  const { sql } = target();
  const { status, detail, remedy } = await check("own_rows");
  assert.equal(status, "unhealthy");
  assert.match(detail, /message type symphony\.event, .*transport supabase, transport sync$/);
  assert.equal((await check("pg_net")).detail, "no functions URL");
  await assert.rejects(dispatch(sql), { detail: "SM_TRANSPORT", hint: /select messenger_start\(\)/ });
  await sql.unsafe(remedy);
  assert.equal((await check("own_rows")).status, "healthy");
  await install(sql);
  assert.deepEqual(await differences(), []);
  await works(sql);
  await call(sql, "messenger_stop");
});

test("restore · by another role: the migration names the required role, and as that role it is clean", async () => {
  await fill(source().sql);
  await restore(await dump("--no-owner"), "supabase_admin");
  await assert.rejects(install(target().sql), {
    code: "42501",
    message: /belongs to role supabase_admin, and this session is role postgres; nothing was changed$/,
  });
  await using admin = session(target(), "supabase_admin");
  await install(admin);
  assert.deepEqual(
    (await admin`select object from messenger_verify() where kind not in ('operation', 'catalog')`).length,
    0,
  );
  await hasEverything(admin);
});
