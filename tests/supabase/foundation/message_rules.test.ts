// The rules of messenger_messages: one constraint holds them for each writer, and its error names the broken rule.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { errorOf } from "../assert_rejected.ts";
import { call, dispatch, messageOf, type SqlClient } from "../bus.ts";

const project = useProject();

Deno.test.beforeEach(() => empty(project().sql));

interface Violation {
  rule: string;
  /** Columns of a pending message with values that violate the rule. */
  columns: Record<string, string>;
  message: RegExp;
  hint: RegExp;
}

const violations: Violation[] = [
  {
    rule: "body",
    columns: { body: `'["card 4111"]'` },
    message: /the body must be a JSON object; found body array$/,
    hint: /^wrap the value/,
  },
  { rule: "body", columns: { body: "'null'" }, message: /found body null$/, hint: /^wrap the value/ },
  {
    rule: "status",
    columns: { status: "'done'" },
    message: /the status must be pending, processing, completed or failed; found status done$/,
    hint: /error_class/,
  },
  {
    rule: "status",
    columns: { status: "repeat('x', 5000)" },
    message: /; found status x{100}$/,
    hint: /error_class/,
  },
  {
    rule: "priority",
    columns: { priority: "0" },
    message: /the priority must be a whole number from 1 to 10; found priority 0$/,
    hint: /10 goes first/,
  },
  { rule: "priority", columns: { priority: "11" }, message: /; found priority 11$/, hint: /the default is 5/ },
  {
    rule: "processed",
    columns: { processed_at: "'2030-01-31T09:00:00Z'" },
    message: /processed_at must be set if .*; found status pending, processed_at 2030-01-31T\S+$/,
    hint: /messenger_cancel/,
  },
  {
    rule: "processed",
    columns: { status: "'completed'" },
    message: /; found status completed, processed_at null$/,
    hint: /in one statement/,
  },
  {
    rule: "lease",
    columns: { locked_by: "'ada'" },
    message: /must all be set if .*; found status pending, locked_at null, locked_by ada, lock_expires_at null$/,
    hint: /messenger_release ends it/,
  },
  {
    rule: "lease",
    columns: { status: "'processing'", locked_at: "now()", locked_by: "'ada'" },
    message: /; found status processing, .* lock_expires_at null$/,
    hint: /messenger_claim begins a lease/,
  },
  {
    rule: "deliveries",
    columns: { retry_count: "5", fence: "9" },
    message: /retry_count from 0 to max_retries \+ 1, .*; found max_retries 3, retry_count 5, fence 9, lease_losses 0$/,
    hint: /messenger_retry_failed/,
  },
  {
    rule: "deliveries",
    columns: { max_retries: "101" },
    message: /max_retries must be from 0 to 100.*; found max_retries 101/,
    hint: /messenger_retry_failed/,
  },
  {
    rule: "deliveries",
    columns: { retry_count: "1" },
    message: /fence at least retry_count.*retry_count 1, fence 0/,
    hint: /messenger_retry_failed/,
  },
  {
    rule: "deliveries",
    columns: { lease_losses: "-1" },
    message: /lease_losses at least 0; .*lease_losses -1$/,
    hint: /messenger_retry_failed/,
  },
];

const insertOf = (columns: Record<string, string>) =>
  `insert into public.messenger_messages (message_type, ${Object.keys(columns)})
   values ('Greeting', ${Object.values(columns)})`;
const updateOf = (columns: Record<string, string>, id: string) =>
  `update public.messenger_messages set ${Object.entries(columns).map(([name, value]) => `${name} = ${value}`)}
   where id = '${id}'`;

for (const role of ["service_role", "postgres"] as const) {
  for (const { rule, columns, message, hint } of violations) {
    test(`${role} · ${JSON.stringify(columns).slice(0, 90)} violates the rule "${rule}"`, async () => {
      const { sql } = project();
      const write = (statement: string) => {
        const work = (tx: SqlClient) => tx.unsafe(statement);
        return role === "postgres" ? work(sql) : asRole(sql, role, work);
      };
      const { id } = await dispatch(sql);
      const before = await messageOf(sql, id);
      for (const statement of [insertOf(columns), updateOf(columns, id)]) {
        const error = await errorOf(write(statement));
        assert.deepEqual([error.code, error.schema_name, error.table_name, error.constraint_name], [
          "23514",
          "public",
          "messenger_messages",
          `messenger_messages_${rule}_check`,
        ]);
        assert.match(error.message, new RegExp(`^a row of messenger_messages violates the rule "${rule}": `));
        assert.match(error.message, message);
        assert.match(error.hint ?? "", hint);
        assert(!JSON.stringify({ ...error, query: "" }).includes("4111"), "no content of a body is printed");
      }
      assert.deepEqual([...await sql`select * from messenger_messages`], [before]);
    });
  }
}

test("rules · accept exactly the rows that these expressions accept, with null as unknown", async () => {
  const { sql } = project();
  const [{ wrong, accepted, rejected }] = await sql.begin(async (tx) => {
    await tx`
      create function pg_temp.accepts(m public.messenger_messages) returns bool language plpgsql as $$
      begin
        return messenger.is_valid_message(m.body, m.status, m.priority, m.processed_at, m.locked_at, m.locked_by,
          m.lock_expires_at, m.max_retries, m.retry_count, m.fence, m.lease_losses);
      exception when check_violation then
        return false;
      end $$`;
    return await tx`
      with state as (
        select null::public.messenger_messages as m, s.status, p.processed_at, l.locked_at, b.locked_by,
          x.lock_expires_at
        from unnest(array['pending', 'processing', 'completed', 'failed', 'done', null]) as s(status),
          unnest(array[now(), null]) as p(processed_at), unnest(array[now(), null]) as l(locked_at),
          unnest(array['ada', null]) as b(locked_by), unnest(array[now(), null]) as x(lock_expires_at)
      ),
      numbers as (
        select * from unnest(array[-1, 0, 3, 100, 101, 2147483647, null]) as m(max_retries),
          unnest(array[-1, 0, 1, 4, 5, 102, null]) as r(retry_count),
          unnest(array[-1, 0, 1, 102, null]::bigint[]) as f(fence), unnest(array[-1, 0, null]) as e(lease_losses)
      ),
      content as (
        select * from unnest(array['{}', '[]', '"a"', 'null', null]::jsonb[]) as b(body),
          unnest(array[0, 1, 10, 11, null]) as p(priority)
      ),
      candidate as (
        select jsonb_populate_record(null::public.messenger_messages, to_jsonb(s) - 'm' || jsonb_build_object(
          'body', '{}'::jsonb, 'priority', 5, 'max_retries', 3, 'retry_count', 0, 'fence', 0, 'lease_losses', 0)) as m
        from state s
        union all
        select jsonb_populate_record(null::public.messenger_messages, to_jsonb(n) || jsonb_build_object(
          'body', '{}'::jsonb, 'priority', 5, 'status', 'pending'))
        from numbers n
        union all
        select jsonb_populate_record(null::public.messenger_messages, jsonb_build_object('status', 'pending',
          'max_retries', 3, 'retry_count', 0, 'fence', 0, 'lease_losses', 0, 'body', c.body, 'priority', c.priority))
        from content c
      ),
      judged as (
        select (c.m).*, pg_temp.accepts(c.m) as accepted,
          (jsonb_typeof((c.m).body) = 'object') is not false
          and ((c.m).priority between 1 and 10) is not false
          and ((c.m).status in ('pending', 'processing', 'completed', 'failed')) is not false
          and (((c.m).processed_at is null) = ((c.m).status in ('pending', 'processing'))) is not false
          and (num_nonnulls((c.m).locked_at, (c.m).locked_by, (c.m).lock_expires_at)
            = case (c.m).status when 'processing' then 3 else 0 end) is not false
          and ((c.m).max_retries between 0 and 100 and (c.m).retry_count between 0 and (c.m).max_retries + 1
            and (c.m).fence >= (c.m).retry_count and (c.m).lease_losses >= 0) is not false as expected
        from candidate c
      )
      select count(*) filter (where accepted)::int as accepted, count(*) filter (where not accepted)::int as rejected,
        jsonb_agg(to_jsonb(j)) filter (where accepted is distinct from expected) as wrong
      from judged j`;
  });
  assert.deepEqual(wrong, null);
  assert(accepted > 100 && rejected > 400, `${accepted} accepted, ${rejected} rejected`);
});

test("rules · hold whatever operators, functions and types the writer's search_path finds first", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  const operators: [string, string, string][] = [];
  for (const [left, right] of [["text", "text"], ["int4", "int4"], ["int8", "int4"], ["bool", "bool"]]) {
    for (const name of ["=", "<>", "<", ">", "<=", ">="]) operators.push([name, left, right]);
  }
  await using own = session(project());
  await own.unsafe(`
    create schema evil;
    grant usage on schema evil to service_role;
    create function evil.jsonb_typeof(jsonb) returns text language sql immutable as 'select ''object''::text';
    create function evil."false"(text, text) returns bool language sql immutable as 'select false';
    create function evil."false"(int4, int4) returns bool language sql immutable as 'select false';
    create function evil."false"(int8, int4) returns bool language sql immutable as 'select false';
    create function evil."false"(bool, bool) returns bool language sql immutable as 'select false';
    ${
    operators.map(([name, left, right]) =>
      `create operator evil.${name} (function = evil."false", leftarg = ${left}, rightarg = ${right});`
    ).join("\n")
  }`);
  try {
    await own.unsafe("set search_path = evil, pg_catalog; create domain pg_temp.text as pg_catalog.text");
    assert.equal((await own.unsafe("select 1 = 1 as equal"))[0].equal, false, "the session uses these operators");
    for (const { rule, columns } of violations) {
      for (const statement of [insertOf(columns), updateOf(columns, id).replace("id =", "id operator(pg_catalog.=)")]) {
        const error = await errorOf(own.unsafe(statement));
        assert.equal(error.constraint_name, `messenger_messages_${rule}_check`, `${statement}: ${error.message}`);
      }
    }
  } finally {
    await own.unsafe("reset search_path; drop schema evil cascade; drop domain pg_temp.text");
  }
});

test("rules · one row that violates a rule rejects the whole statement", async () => {
  const { sql } = project();
  await call(sql, "messenger_dispatch_batch", { messages: [{ type: "A" }, { type: "B" }, { type: "C" }] });
  const error = await errorOf(
    sql`update messenger_messages set priority = case message_type when 'B' then 12 else 7 end`,
  );
  assert.equal(error.constraint_name, "messenger_messages_priority_check");
  assert.deepEqual([...await sql`select distinct priority from messenger_messages`], [{ priority: 5 }]);
});
