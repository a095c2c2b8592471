// Closed by default, in both kinds of project: the API's roles have exactly the explicitly granted rights, relation by
// relation, function by function.
import assert from "node:assert/strict";
import type { Sql, TransactionSql } from "postgres";
import { test, useProject } from "../../project.ts";
import { type ApiRole, asRole } from "../as_role.ts";
import type { SqlClient } from "../bus.ts";

const projects = { legacy: useProject(), revoked: useProject({ defaultPrivileges: "revoked" }) };

const RELATIONS = `
  select c.oid, case when s.nspname = 'messenger' then 'messenger.' else '' end || c.relname as name, c.relname,
    s.nspname as schema, c.relkind as kind, c.relrowsecurity as rls, coalesce(c.reloptions, '{}') as options
  from pg_class c join pg_namespace s on s.oid = c.relnamespace
  where c.relkind in ('r', 'v', 'm', 'p', 'f', 'S')
    and (s.nspname = 'messenger' or s.nspname = 'public' and c.relname like 'messenger\\_%')`;
const FUNCTIONS = `
  select p.oid, s.nspname || '.' || p.proname as name, s.nspname as schema, p.prosecdef as definer,
    coalesce(p.proconfig, '{}') as config,
    pg_get_userbyid(p.proowner) as owner
  from pg_proc p join pg_namespace s on s.oid = p.pronamespace
  where s.nspname = 'messenger' or s.nspname = 'public'
    and (p.proname like 'messenger\\_%' or p.proname like 'update\\_messenger\\_%')`;
const VERBS = ["select", "insert", "update", "delete", "truncate", "references", "trigger"];

/** Rights of a role on relations and columns, as `name verb` and `name.column verb`. */
async function heldRights(sql: SqlClient, role: string): Promise<string[]> {
  const rows = await sql.unsafe(
    `
    select r.name || ' ' || v.verb as right from (${RELATIONS}) r, unnest($2::text[]) v(verb)
    where r.kind <> 'S' and has_table_privilege($1, r.oid, v.verb)
    union all
    select r.name || '.' || a.attname || ' ' || v.verb from (${RELATIONS}) r
      join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped,
      unnest(array['select', 'insert', 'update', 'references']) v(verb)
    where r.kind <> 'S' and has_column_privilege($1, r.oid, a.attnum, v.verb)
      and not has_table_privilege($1, r.oid, v.verb)
    union all
    select r.name || ' ' || v.verb from (${RELATIONS}) r, unnest(array['usage', 'select', 'update']) v(verb)
    where r.kind = 'S' and has_sequence_privilege($1, r.oid, v.verb)
    order by 1`,
    [role, VERBS],
  );
  return rows.map(({ right }) => right);
}

async function heldCalls(sql: SqlClient, role: string): Promise<string[]> {
  const rows = await sql.unsafe(
    `select f.name from (${FUNCTIONS}) f where has_function_privilege($1, f.oid, 'execute') order by 1`,
    [role],
  );
  return rows.map(({ name }) => name);
}

const SENDERS_COLUMNS = [
  "available_at",
  "created_at",
  "id",
  "message_type",
  "processed_at",
  "progress",
  "result",
  "status",
];

for (const [mode, project] of Object.entries(projects)) {
  test(`${mode} · anon has no rights and may call nothing`, async () => {
    const { sql } = project();
    assert.deepEqual([await heldRights(sql, "anon"), await heldCalls(sql, "anon")], [[], []]);
    const [{ usage }] = await sql`select has_schema_privilege('anon', 'messenger', 'usage') as usage`;
    assert.equal(usage, false);
  });

  test(`${mode} · authenticated may read eight columns and call one function`, async () => {
    const { sql } = project();
    assert.deepEqual(
      await heldRights(sql, "authenticated"),
      SENDERS_COLUMNS.map((column) => `messenger_messages.${column} select`),
    );
    assert.deepEqual(await heldCalls(sql, "authenticated"), [
      "messenger.user_dispatch",
      "public.messenger_user_dispatch",
    ]);
    const [{ create }] = await sql`select has_schema_privilege('authenticated', 'messenger', 'create') as create`;
    assert.equal(create, false);
  });

  test(`${mode} · service_role has the tables without truncate and every public function`, async () => {
    const { sql } = project();
    const rights = await heldRights(sql, "service_role");
    assert.deepEqual(rights.filter((right) => /^\S+ (truncate|references|trigger)$|\.\w+ references$/.test(right)), []);
    for (const table of ["messages", "failed_messages", "transports", "schedules"]) {
      const own = rights.filter((right) => right.startsWith(`messenger_${table} `));
      assert.deepEqual(own, ["delete", "insert", "select", "update"].map((verb) => `messenger_${table} ${verb}`));
    }
    assert(!rights.includes("messenger.settings update") && !rights.includes("messenger.clock update"));
    const all = (await sql.unsafe(`select name from (${FUNCTIONS}) f where schema = 'public' order by 1`)).map((
      { name },
    ) => name);
    const may = (await heldCalls(sql, "service_role")).filter((name) => name.startsWith("public."));
    assert.deepEqual(may, all.filter((name) => !name.startsWith("public.update_")));
    assert(may.length > 20);
  });

  test(`${mode} · each relation rejects anon and authenticated`, async () => {
    const { sql } = project();
    const relations = await sql.unsafe(RELATIONS);
    assert(relations.length >= 15, `${relations.length} relations`);
    for (const { schema, relname, kind } of relations) {
      if (kind === "S") continue;
      const name = `${schema}.${relname}`;
      const statements = [`select * from ${name}`];
      if (kind === "r") {
        statements.push(`delete from ${name}`, `truncate ${name}`, `insert into ${name} default values`);
      }
      for (const role of ["anon", "authenticated"] as const) {
        for (const statement of statements) await denied(sql, role, statement);
      }
    }
  });

  test(`${mode} · row level security is on everywhere, and no policy admits callers`, async () => {
    const { sql } = project();
    const open = await sql.unsafe(`select name from (${RELATIONS}) r where kind in ('r', 'p') and not rls`);
    assert.deepEqual([...open], []);
    const policies = await sql`
      select schemaname || '.' || tablename as table, policyname, qual, with_check from pg_policies
      where schemaname = 'messenger' or schemaname = 'public' and tablename like 'messenger\\_%'`;
    for (const { table, policyname, qual, with_check } of policies) {
      if (policyname === "sender_reads_own") {
        // Without the quotes of quote_all_identifiers.
        assert.deepEqual([table, qual.replaceAll('"', ""), with_check], [
          "public.messenger_messages",
          "(created_by = ( SELECT auth.uid() AS uid))",
          null,
        ]);
      } else {
        assert.deepEqual([policyname, qual, with_check], ["service_only", "false", "false"], table);
      }
    }
    const tables = await sql.unsafe(`select 1 from (${RELATIONS}) r where kind = 'r'`);
    assert.equal(policies.length, tables.length);
  });

  test(`${mode} · views have the rights of the caller`, async () => {
    const { sql } = project();
    const views = await sql.unsafe(`select name, options from (${RELATIONS}) r where kind = 'v' order by name`);
    assert.deepEqual(views.map(({ options }) => options), Array(3).fill(["security_invoker=true"]));
  });

  test(`${mode} · every function sets its search_path; definers are in schema messenger only`, async () => {
    const { sql } = project();
    const functions = await sql.unsafe(FUNCTIONS);
    assert(functions.length > 50);
    for (const { name, schema, definer, config, owner } of functions) {
      assert(config.includes("search_path=pg_catalog, pg_temp"), name);
      assert.equal(owner, "postgres", name);
      if (definer) assert.equal(schema, "messenger", name);
    }
    assert(functions.some(({ definer }) => definer));
  });

  test(`${mode} · these tests detect a grant to PUBLIC or to a role`, async () => {
    const { sql } = project();
    const undo = new Error("undo");
    await sql.begin(async (tx) => {
      await tx.unsafe(
        "grant select on messenger.clock to public; grant update (status) on messenger_messages to anon; grant " +
          "execute on function messenger_tick(int) to public",
      );
      assert.deepEqual(await heldRights(tx, "anon"), ["messenger.clock select", "messenger_messages.status update"]);
      assert.deepEqual(await heldCalls(tx, "anon"), ["public.messenger_tick"]);
      throw undo;
    }).catch((error) => {
      if (error !== undo) throw error;
    });
  });

  test(`${mode} · the bus works for service_role from dispatch to completion`, async () => {
    const { sql } = project();
    const outcome = await asRole(sql, "service_role", async (tx: TransactionSql) => {
      await tx`select * from messenger_dispatch('Greeting')`;
      const [{ id, fence }] = await tx`select * from messenger_claim('w')`;
      const [{ messenger_complete }] = await tx`select messenger_complete(${id}, ${fence})`;
      return messenger_complete;
    });
    assert.equal(outcome, "completed");
  });
}

async function denied(sql: Sql, role: ApiRole, statement: string) {
  await assert.rejects(asRole(sql, role, (tx) => tx.unsafe(statement)), { code: "42501" }, `${role}: ${statement}`);
}
