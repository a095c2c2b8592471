// A name never proves ownership: the migration changes no foreign object, the rollback removes none.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { session, test, useProject } from "../../project.ts";
import { dispatch } from "../bus.ts";
import { errorOf } from "../assert_rejected.ts";
import { install, installRelease, rollBack, upgradeFrom } from "../manifest/release.ts";

const project = useProject({ migrate: false, defaultPrivileges: "revoked" });

/** Names, owners, rights and definitions of everything in the two schemas, and the rows of the project's tables. */
async function listing(sql: Sql): Promise<string[]> {
  const rows = await sql`
    select concat_ws(' ', 'schema', nspname, nspacl, obj_description(oid, 'pg_namespace')) as line from pg_namespace
      where nspname in ('public', 'messenger')
    union all
    select concat_ws(' ', c.relkind, c.oid::regclass, c.relacl, c.relrowsecurity, obj_description(c.oid, 'pg_class'))
      from pg_class c
    where c.relnamespace in (to_regnamespace('public'), to_regnamespace('messenger'))
    union all
    select concat_ws(' ', p.oid::regprocedure, p.proacl, md5(p.prosrc), obj_description(p.oid, 'pg_proc'))
      from pg_proc p
    where p.pronamespace in (to_regnamespace('public'), to_regnamespace('messenger'))
    union all
    select concat_ws(' ', 'type', t.oid::regtype) from pg_type t
      where t.typnamespace in (to_regnamespace('public'), to_regnamespace('messenger'))
    union all
    select concat_ws(' ', 'constraint', k.conrelid::regclass, k.conname) from pg_constraint k
      where k.connamespace in (to_regnamespace('public'), to_regnamespace('messenger'))
    order by 1`;
  // Without the quotes of quote_all_identifiers.
  return rows.map(({ line }) => line.replaceAll('"', ""));
}

/** Objects that a project may have under a name of ours, and their description in the error. */
const FOREIGN: [what: string, create: string, named: string, drop: string][] = [
  [
    "Symfony's table",
    "create table public.messenger_messages (id bigserial primary key, body text not null, headers text not " +
    "null, queue_name varchar(190) not null)",
    "table public.messenger_messages",
    "drop table public.messenger_messages",
  ],
  [
    "a view",
    "create view public.messenger_queue_depth as select 1 as depth",
    "view public.messenger_queue_depth",
    "drop view public.messenger_queue_depth",
  ],
  [
    "a materialized view",
    "create materialized view public.messenger_failed_summary as select 1 as n",
    "materialized view public.messenger_failed_summary",
    "drop materialized view public.messenger_failed_summary",
  ],
  [
    "a sequence",
    "create sequence public.messenger_schedules",
    "sequence public.messenger_schedules",
    "drop sequence public.messenger_schedules",
  ],
  [
    "an index of another table",
    "create table public.chats (at timestamptz); create index messenger_messages_claim_idx on public.chats (at)",
    "index public.messenger_messages_claim_idx",
    "drop table public.chats",
  ],
  [
    "an enum",
    "create type public.messenger_transports as enum ('sms')",
    "type public.messenger_transports",
    "drop type public.messenger_transports",
  ],
  [
    "a domain",
    "create domain public.messenger_messages as text",
    "type public.messenger_messages",
    "drop domain public.messenger_messages",
  ],
  [
    "a function of the same signature",
    "create function public.messenger_tick(batch int default 100) returns jsonb language " +
    "sql as $$ select '1'::jsonb $$",
    "function public.messenger_tick(integer)",
    "drop function public.messenger_tick(int)",
  ],
  [
    "a function of another signature",
    "create function public.messenger_dispatch(recipient text) returns int language sql as 'select 1'",
    "function public.messenger_dispatch(text)",
    "drop function public.messenger_dispatch(text)",
  ],
  [
    "a trigger function",
    "create function public.update_messenger_messages_updated_at() returns trigger language " +
    "plpgsql as 'begin return new; end'",
    "function public.update_messenger_messages_updated_at()",
    "drop function public.update_messenger_messages_updated_at()",
  ],
];
for (const [what, create, named, drop] of FOREIGN) {
  test(`migration · ${what} under a name of ours stops it, and the rollback does not remove it`, async () => {
    const { sql } = project();
    await sql.unsafe(create);
    try {
      const before = await listing(sql);
      const error = await errorOf(install(sql));
      assert(error.message.includes(named), error.message);
      assert.match(error.message, /nothing was changed/);
      assert.match(error.hint ?? "", /rename/);
      assert.deepEqual(await listing(sql), before);
      await rollBack(sql);
      assert.deepEqual(await listing(sql), before);
    } finally {
      await sql.unsafe(drop);
    }
  });
}

test("migration · a project's own schema messenger stops it, with or without a comment", async () => {
  const { sql } = project();
  for (const comment of [null, "Chats", "symphony messenger", "Made for Symphony Messenger"]) {
    await sql.unsafe(`
      create schema messenger;
      grant usage on schema messenger to anon;
      create table messenger.chats (id int primary key);
      grant select on messenger.chats to anon;
      comment on schema messenger is ${comment === null ? "null" : `'${comment}'`}`);
    try {
      const before = await listing(sql);
      const error = await errorOf(install(sql));
      assert.match(error.message, /schema "messenger" that was not created by Symphony Messenger; nothing was changed/);
      await rollBack(sql);
      assert.deepEqual(await listing(sql), before);
    } finally {
      await sql`drop schema messenger cascade`;
    }
  }
});

test("migration · every foreign object is named, not only the first", async () => {
  const { sql } = project();
  await sql.unsafe("create table public.messenger_messages (id int); create table public.messenger_schedules (id int)");
  try {
    const { message } = await errorOf(install(sql));
    assert.match(message, /table public\.messenger_messages, table public\.messenger_schedules/);
  } finally {
    await sql`drop table public.messenger_messages, public.messenger_schedules`;
  }
});

test("upgrade · a project's object under a name that is new in this release stops it", async () => {
  const { sql } = project();
  await installRelease(sql, "0.1.0");
  await sql`create table messenger.senders (id int)`;
  try {
    const before = await listing(sql);
    assert.match((await errorOf(upgradeFrom(sql, "0.1.0"))).message, /table messenger\.senders; nothing was changed/);
    assert.deepEqual(await listing(sql), before);
  } finally {
    await sql`drop table messenger.senders`;
    await rollBack(sql);
  }
});

test("migration · an installation restored without comments is recognised, and gets its marker back", async () => {
  const { sql } = project();
  await install(sql);
  await sql`comment on schema messenger is null`;
  await install(sql);
  const [{ marker }] = await sql`select obj_description('messenger'::regnamespace, 'pg_namespace') as marker`;
  assert.match(marker, /^Symphony Messenger \d/);
  await rollBack(sql);
});

/** Objects of a project that may depend on ours, and their description by the rollback. */
const DEPENDENT: [what: string, create: string, named: RegExp, drop: string][] = [
  [
    "a foreign key",
    "create table public.mails (message uuid references public.messenger_messages)",
    /constraint mails_message_fkey on table public\.mails/,
    "drop table public.mails",
  ],
  [
    "a view",
    "create view public.waiting as select id from public.messenger_messages",
    /view public\.waiting/,
    "drop view public.waiting",
  ],
  [
    "a materialized view on a view of ours",
    "create materialized view public.depth as select * from public.messenger_queue_depth",
    /materialized view public\.depth/,
    "drop materialized view public.depth",
  ],
  [
    "a function of a type of ours",
    "create function public.size_of(m public.messenger_messages) returns int language sql as 'select 1'",
    /function public\.size_of/,
    "drop function public.size_of",
  ],
  [
    "a column of a type of ours",
    "create table public.copies (message public.messenger_messages)",
    /table public\.copies|column message of table public\.copies/,
    "drop table public.copies",
  ],
  [
    "a default that calls us",
    "create table public.things (id uuid default messenger.new_id())",
    /default value for column id of table public\.things/,
    "drop table public.things",
  ],
  [
    "a trigger of ours on another table",
    "create table public.notes (updated_at timestamptz); create trigger t before update on public.notes for each " +
    "row execute function public.update_messenger_messages_updated_at()",
    /trigger t on table public\.notes/,
    "drop table public.notes",
  ],
  [
    "a child table",
    "create table public.archive () inherits (public.messenger_messages)",
    /table public\.archive/,
    "drop table public.archive",
  ],
];
for (const [what, create, named, drop] of DEPENDENT) {
  test(`rollback · ${what} stops it with its name, and nothing is removed`, async () => {
    const { sql } = project();
    await install(sql);
    await sql.unsafe(create);
    const before = await listing(sql);
    try {
      const error = await errorOf(rollBack(sql));
      assert.match(error.message, named);
      assert.match(error.message, /nothing was removed/);
      assert.deepEqual(await listing(sql), before);
    } finally {
      await sql.unsafe(drop);
      await rollBack(sql);
    }
    assert.equal((await sql`select to_regnamespace('messenger') as schema`)[0].schema, null);
  });
}

test("rollback · objects of the project in our schema stay, and the schema with them", async () => {
  const { sql } = project();
  await install(sql);
  await sql.unsafe(`
    create table messenger.chats (id int);
    create function messenger.greet() returns text language sql as $$ select 'hello' $$;
    create type messenger.mood as enum ('good')`);
  await rollBack(sql);
  try {
    const left = (await listing(sql)).filter((line) => line.includes("messenger"));
    assert.deepEqual(
      left.map((line) => line.split(" ")[1].replace(/\(.*/, "")).sort(),
      [
        "messenger",
        "messenger.chats",
        "messenger.chats",
        "messenger.chats[]",
        "messenger.mood",
        "messenger.mood[]",
        ...left.filter((line) => line.startsWith("messenger.greet")).map((line) =>
          line.split(" ")[1].replace(/\(.*/, "")
        ),
      ].sort(),
    );
    assert.match((await errorOf(install(sql))).message, /not created by Symphony Messenger/);
  } finally {
    await sql`drop schema messenger cascade`;
  }
});

test("rollback · a job of the project under the ticker's name stays", async () => {
  const { sql } = project();
  await install(sql);
  await sql`select cron.schedule('symphony-clock', '0 0 1 1 *', 'select 1')`;
  await rollBack(sql);
  assert.deepEqual([...await sql`select command from cron.job`], [{ command: "select 1" }]);
  await sql`select cron.unschedule('symphony-clock')`;
});

test("rollback · an open transaction of the bus stops it with a message, and nothing is removed", async () => {
  const { sql } = project();
  await install(sql);
  await using writer = session(project());
  await writer.unsafe("begin");
  await dispatch(writer);
  await using own = session(project());
  await own`set lock_timeout = '100ms'`;
  const error = await errorOf(rollBack(own));
  assert.deepEqual([error.code, /nothing was removed/.test(error.message)], ["55P03", true]);
  await writer.unsafe("commit");
  assert.equal((await sql`select from messenger_messages`).length, 1);
  await rollBack(sql);
});
