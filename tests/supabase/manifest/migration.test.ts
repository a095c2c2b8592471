// The migration installs, repeatedly; the rollback removes everything of ours and nothing of others.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch } from "../bus.ts";
import { errorOf } from "../assert_rejected.ts";
import { install as installIn, rollBack as rollBackIn } from "./release.ts";

const project = useProject({ migrate: false, defaultPrivileges: "revoked" });

const install = (sql: Sql = project().sql) => installIn(sql);
const rollBack = (sql: Sql = project().sql) => rollBackIn(sql);

/**
 * Everything a migration could leave: catalog objects of all schemas with definition, rights and comment; jobs and
 * secrets.
 */
async function listing(): Promise<string[]> {
  const rows = await project().sql.unsafe(`
    with spaces as (select oid, nspname from pg_namespace
    where nspname !~ '^pg_(toast|temp)' and nspname not in ('pg_catalog', 'information_schema'))
    select 'schema ' || nspname || ' ' || coalesce(nspacl::text, '') as line from spaces
      join pg_namespace using (oid, nspname)
    union all
    select concat_ws(' ', 'relation', s.nspname, c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.reloptions,
      c.relacl, obj_description(c.oid, 'pg_class'),
      case c.relkind when 'i' then pg_get_indexdef(c.oid) when 'v' then pg_get_viewdef(c.oid) end)
    from pg_class c join spaces s on s.oid = c.relnamespace
    union all
    select concat_ws(' ', 'column', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
      a.attacl, pg_get_expr(d.adbin, d.adrelid),
      col_description(a.attrelid, a.attnum))
    from pg_attribute a join pg_class c on c.oid = a.attrelid join spaces s on s.oid = c.relnamespace left
      join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attnum > 0
    union all
    select concat_ws(' ', 'function', p.oid::regprocedure,
      case when p.prokind in ('f', 'p') then md5(pg_get_functiondef(p.oid)) end, p.proacl,
      obj_description(p.oid, 'pg_proc'))
    from pg_proc p join spaces s on s.oid = p.pronamespace
    union all
    select concat_ws(' ', 'type', s.nspname, t.typname, t.typtype, t.typacl, obj_description(t.oid, 'pg_type'))
      from pg_type t join spaces s on s.oid = t.typnamespace
    union all
    select concat_ws(' ', 'constraint', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
      from pg_constraint k join spaces s on s.oid = k.connamespace
    union all
    select concat_ws(' ', 'trigger', g.tgrelid::regclass, g.tgname, pg_get_triggerdef(g.oid)) from pg_trigger g
    union all
    select concat_ws(' ', 'policy', p.polrelid::regclass, p.polname, p.polcmd, p.polroles::regrole[],
      pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) from pg_policy p
    union all
    select concat_ws(' ', 'extension', extname, extversion) from pg_extension
    union all
    select concat_ws(' ', 'event trigger', evtname) from pg_event_trigger
    union all
    select concat_ws(' ', 'default acl', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype, defaclacl)
      from pg_default_acl
    union all
    select concat_ws(' ', 'setting', setdatabase, setrole, setconfig) from pg_db_role_setting
    union all
    select concat_ws(' ', 'job', jobname, command) from cron.job
    union all
    select concat_ws(' ', 'secret', name) from vault.secrets
    order by 1`);
  // After a revoke and a grant, a role moves to the end of its list, which is no difference.
  return rows.map(({ line }) =>
    line.replace(/\{[^{}]*\}/g, (list: string) => list.slice(1, -1).split(",").sort().join())
  );
}

/** Installs, works, and uninstalls again in any case. */
async function whileInstalled(work: (sql: Sql) => Promise<void>) {
  await install();
  try {
    await work(project().sql);
  } finally {
    await rollBack();
  }
}

async function usable(sql: Sql) {
  const { id } = await dispatch(sql);
  const [{ fence }] = await claim(sql);
  assert.equal(await callValue(sql, "messenger_complete", { id, fence }), "completed");
}

test("migration · run twice, nothing differs", () =>
  whileInstalled(async () => {
    const before = await listing();
    assert(before.filter((line) => line.includes("messenger")).length > 200);
    await install();
    assert.deepEqual(await listing(), before);
  }));

test("migration · run twice, messages, settings, types and transports stay", () =>
  whileInstalled(async (sql) => {
    await call(sql, "messenger_start", { functions_url: "https://example.test/f", options: { max_workers: 7 } });
    await call(sql, "messenger_register", { types: [{ type: "Mail", queue: "m" }] });
    await sql`update messenger_transports set config = '{"retention": "3 days"}', enabled = false where name = 'sync'`;
    const { id } = await dispatch(sql, { idempotency_key: "k" });
    await install();
    assert.equal((await dispatch(sql, { idempotency_key: "k" })).id, id);
    const [row] = await sql`
      select s.max_workers, s.clock_enabled, k.queue_name, t.config, t.enabled
      from messenger.settings s, messenger.message_types k, messenger_transports t
      where t.name = 'sync' and k.type = 'Mail'`;
    assert.deepEqual(row, {
      max_workers: 7,
      clock_enabled: true,
      queue_name: "m",
      config: { retention: "3 days" },
      enabled: false,
    });
    await usable(sql);
  }));

test("rollback · nothing of ours is left, neither the ticker's job nor the secrets", async () => {
  const before = await listing();
  assert(!before.some((line) => line.includes("messenger")));
  await whileInstalled(async (sql) => {
    await usable(sql);
    await call(sql, "messenger_start", { functions_url: "https://example.test/f" });
    await sql`select vault.create_secret('next', 'symphony_worker_secret_next')`;
    const during = await listing();
    assert(
      during.includes("secret symphony_worker_secret") && during.some((line) => line.startsWith("job symphony-clock")),
    );
  });
  assert.deepEqual(await listing(), before);
});

test("rollback · objects and data of others stay", async () => {
  const { sql } = project();
  await install();
  await sql.unsafe(`
    create table public.messenger_notes (id int);
    create function public.messenger_mine() returns int language sql return 1;
    select cron.schedule('theirs', '0 0 1 1 *', 'select 1'), vault.create_secret('s', 'their_secret')`);
  await rollBack();
  try {
    const left = (await listing()).filter((line) => /messenger|theirs|their_secret/.test(line));
    assert.deepEqual(left.map((line) => line.split(" ")[0]).sort(), [
      "column",
      "function",
      "job",
      "relation",
      "secret",
      "type",
      "type",
    ]);
  } finally {
    await sql.unsafe(
      "drop table messenger_notes; drop function messenger_mine(); select " +
        "cron.unschedule('theirs'); delete from vault.secrets",
    );
  }
});

test("rollback · twice is no error, and installing again works", async () => {
  await install();
  await rollBack();
  await rollBack();
  await whileInstalled(usable);
});

test("migration · verifies itself: a caller's overload stops it, and then nothing is installed", async () => {
  const { sql } = project();
  await sql`create function public.messenger_claim(n int) returns int language sql return n`;
  try {
    const before = await listing();
    const error = await errorOf(install());
    assert(error.message.includes("public.messenger_claim"), error.message);
    assert.deepEqual(await listing(), before);
  } finally {
    await sql`drop function public.messenger_claim(int)`;
  }
});

test("migration · exactly four tables, three views and three trigger functions have the mission's names", () =>
  whileInstalled(async (sql) => {
    const names = async (query: string) => (await sql.unsafe(query)).map((row) => Object.values(row)[0]);
    assert.deepEqual(
      await names(
        "select table_name from information_schema.tables where table_schema = 'public' and table_name like " +
          "'messenger_%' and table_type = 'BASE TABLE' order by 1",
      ),
      ["messenger_failed_messages", "messenger_messages", "messenger_schedules", "messenger_transports"],
    );
    assert.deepEqual(
      await names(
        "select table_name from information_schema.views where table_schema = 'public' and " +
          "table_name like 'messenger_%' order by 1",
      ),
      ["messenger_failed_summary", "messenger_queue_depth", "messenger_schedules_summary"],
    );
    assert.deepEqual(
      await names(
        "select routine_name from information_schema.routines where routine_schema = 'public' and routine_name " +
          "like 'update_messenger_%' order by 1",
      ),
      [
        "update_messenger_messages_updated_at",
        "update_messenger_schedules_updated_at",
        "update_messenger_transports_updated_at",
      ],
    );
    const [{ overloads }] = await sql`
      select count(*) - count(distinct proname) as overloads from pg_proc
        where pronamespace = 'public'::regnamespace and proname like 'messenger\\_%'`;
    assert.equal(overloads, "0");
  }));

test("build · the generated files match supabase/schemas", async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "build.ts", "--check"],
    cwd: new URL("../../../supabase/", import.meta.url),
  }).output();
  assert(success, new TextDecoder().decode(stderr));
});
