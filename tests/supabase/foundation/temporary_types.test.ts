// A temporary type with the name of one of Postgres' own must not make the bus's functions run the caller's code.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { session, test, useProject } from "../../project.ts";
import type { ApiRole } from "../as_role.ts";
import { errorOf } from "../assert_rejected.ts";

const project = useProject();

/** Type names that the grammar does not qualify: each can be resolved in pg_temp. */
const TYPES = [
  "text",
  "jsonb",
  "json",
  "uuid",
  "timestamptz",
  "bytea",
  "name",
  "oid",
  "regclass",
  "regproc",
  "regprocedure",
  "tid",
  "date",
  "regnamespace",
  "regtype",
];

/** Creates a domain for each name whose check raises an error if it runs as any role but its own. */
async function plantTypes(sql: Sql, role: ApiRole) {
  await sql.unsafe(`
    create function pg_temp.run_as_caller() returns pg_catalog.bool language plpgsql as $$
    begin
      if current_user <> '${role}' then raise exception 'code of ${role} ran as %',
      current_user using errcode = 'ESCAL'; end if;
      return true;
    end $$;
    grant execute on function pg_temp.run_as_caller() to public;
    ${
    TYPES.map((type) => `create domain pg_temp.${type} as pg_catalog.${type} check (pg_temp.run_as_caller());`).join(
      "\n",
    )
  }`);
}

interface Callable {
  call: string;
  name: string;
}

/**
 * Functions of the bus that the role may execute, each as a call with null arguments and, if all have defaults, with
 * none.
 */
async function callables(role: ApiRole): Promise<Callable[]> {
  const rows = await project().sql`
    select s.nspname || '.' || p.proname as name,
      format('select * from %I.%I(%s)', s.nspname, p.proname,
        (select string_agg('null::pg_catalog.' || case when y.typelem <> 0 and y.typlen = -1 then e.typname || '[]'
        else y.typname end, ', ')
         from unnest(p.proargtypes) with ordinality as a(oid, ord) join pg_type y on y.oid = a.oid left
           join pg_type e on e.oid = y.typelem)) as call
    from pg_proc p join pg_namespace s on s.oid = p.pronamespace
    where (s.nspname = 'messenger' or s.nspname = 'public' and p.proname like 'messenger\\_%')
      and has_function_privilege(${role}, p.oid, 'execute') and p.prorettype <> 'trigger'::regtype
      and not exists (select from unnest(p.proargtypes) a(oid) join pg_type y on y.oid = a.oid
        where y.typnamespace <> 'pg_catalog'::regnamespace)
    order by 1`;
  return rows as unknown as Callable[];
}

for (const role of ["authenticated", "service_role"] as const) {
  test(`temporary types · no code of ${role} runs as another role in any function it may call`, async () => {
    const calls = await callables(role);
    assert(calls.length >= (role === "authenticated" ? 2 : 60), `${calls.length} functions`);
    await using sql = session(project());
    await sql.unsafe(`set role ${role}`);
    await plantTypes(sql, role);
    const sound = [
      `select * from public.messenger_user_dispatch('Wish', '{}')`,
      ...(role === "authenticated" ? [] : [
        `select * from public.messenger_dispatch('Letter', '{"a": 1}')`,
        `select public.messenger_tick()`,
        `select public.messenger_health()`,
        `select public.messenger_status()`,
        `select public.messenger_start('http://127.0.0.1:1/functions/v1')`,
        `select public.messenger_metrics()`,
        `select * from public.messenger_verify()`,
        `select * from public.messenger_explain((select id from public.messenger_messages limit 1))`,
        `select public.messenger_check_worker_secret('guess')`,
        `select public.messenger_stop()`,
      ]),
    ];
    for (const call of [...calls.map(({ call }) => call), ...sound]) {
      const error = await sql.unsafe(call).then(() => undefined, (error) => error);
      assert.notEqual(error?.code, "ESCAL", `${call}: ${error?.message}`);
    }
  });
}

test("temporary types · the attack works: a definer function with an empty path runs the code", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create function messenger.planted(value pg_catalog.text) returns pg_catalog.text language plpgsql security definer
      set search_path = '' as $$
    declare v_value text := value;
    begin return v_value; end $$;
    grant execute on function messenger.planted(pg_catalog.text) to authenticated`);
  try {
    await using caller = session(project());
    await caller.unsafe("set role authenticated");
    await plantTypes(caller, "authenticated");
    assert.equal((await errorOf(caller.unsafe("select messenger.planted('x')"))).code, "ESCAL");
  } finally {
    await sql.unsafe("drop function messenger.planted(text)");
  }
});
