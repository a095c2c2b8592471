// The stand-in for PostgREST and the API gateway: arguments, errors, roles and rows, as in a hosted project.
import assert from "node:assert/strict";
import { test, useProject } from "../project.ts";

const project = useProject();

Deno.test.beforeAll(async () => {
  await project().sql.unsafe(`
    create function public.gw_echo(a int default 7, b jsonb default null, c text default 'x',
      d timestamptz default null)
    returns jsonb language sql as $$ select jsonb_build_object('a', a, 'b', b, 'c', c, 'd', d) $$;
    create function public.gw_json(value jsonb) returns jsonb language sql as $$ select value $$;
    create function public.gw_required(a int, b int) returns int language sql as $$ select a + b $$;
    create function public.gw_rows(count int) returns table (n int, name text) language sql as $$ select n, 'row ' || n
      from generate_series(1, count) n $$;
    create function public.gw_nothing() returns void language sql as $$ select $$;
    create function public.gw_raise(code text, message text default 'no', detail text default null,
      hint text default null)
    returns void language plpgsql as $$ begin
      raise exception using errcode = code, message = message, detail = coalesce(detail, ''), hint = coalesce(hint, '');
    end $$;
    create function public.gw_who() returns jsonb language sql stable as $$
      select jsonb_build_object('role', current_user, 'uid', auth.uid(), 'timeout',
        current_setting('statement_timeout'))
    $$;
    create function public.gw_closed() returns int language sql as $$ select 1 $$;
    revoke all on function public.gw_closed() from public, anon, authenticated;
    create table public.gw_notes (id int primary key, owner uuid, body text, size numeric);
    alter table public.gw_notes enable row level security;
    create policy own on public.gw_notes for select to authenticated using (owner = (select auth.uid()));
    notify pgrst, 'reload schema'`);
});

interface Reply {
  status: number;
  body: unknown;
  text: string;
  headers: Headers;
}

async function ask(path: string, init: RequestInit & { key?: string; token?: string } = {}): Promise<Reply> {
  const { key = project().secretKey, token, ...rest } = init;
  const headers = new Headers(rest.headers);
  if (key) headers.set("apikey", key);
  if (token) headers.set("authorization", `Bearer ${token}`);
  const response = await fetch(`${project().url}/rest/v1/${path}`, { ...rest, headers });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : undefined, text, headers: response.headers };
}

const rpc = (name: string, args?: unknown, init: { key?: string; token?: string } = {}) =>
  ask(`rpc/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: args === undefined ? undefined : typeof args === "string" ? args : JSON.stringify(args),
    ...init,
  });

test("gateway · arguments are named, missing ones have their defaults, null is null", async () => {
  assert.deepEqual((await rpc("gw_echo", { c: "é", a: 1 })).body, { a: 1, b: null, c: "é", d: null });
  assert.deepEqual((await rpc("gw_echo")).body, { a: 7, b: null, c: "x", d: null });
  assert.deepEqual((await rpc("gw_echo", { a: null, c: null })).body, { a: null, b: null, c: null, d: null });
  assert.deepEqual((await ask("rpc/gw_echo?a=3&c=y")).status, 200);
});

test("gateway · JSON values of every kind arrive unchanged", async () => {
  const texts = [
    '{"big": 9007199254740993, "small": 1e-7, "exact": 0.10000000000000000001}',
    '[1, "two", null, true, {"deep": [[[]]]}]',
    '"text"',
    "null",
    '{"quote": "\\"", "backslash": "\\\\", "emoji": "🎶", "escaped": "\\u00e9"}',
  ];
  for (const text of texts) {
    const [{ same }] = await project().sql<{ same: boolean }[]>`
      select ${(await rpc("gw_json", `{"value": ${text}}`)).text}::text::jsonb = ${text}::text::jsonb as same`;
    assert.ok(same, text);
  }
});

test("gateway · rows, scalars and empty results have PostgREST's form", async () => {
  assert.deepEqual((await rpc("gw_rows", { count: 2 })).body, [{ n: 1, name: "row 1" }, { n: 2, name: "row 2" }]);
  assert.deepEqual((await rpc("gw_rows", { count: 0 })).body, []);
  assert.equal((await rpc("gw_required", { a: 1, b: 2 })).body, 3);
  assert.deepEqual([(await rpc("gw_nothing")).status, (await rpc("gw_nothing")).text], [204, ""]);
});

test("gateway · PTxyz becomes HTTP xyz, with detail and hint", async () => {
  for (const status of [400, 401, 403, 404, 409, 413, 422, 429, 503]) {
    const args = { code: `PT${status}`, message: "a sentence", detail: "SM_CODE", hint: "a remedy" };
    const reply = await rpc("gw_raise", args);
    assert.deepEqual([reply.status, reply.body], [status, {
      code: `PT${status}`,
      message: "a sentence",
      details: "SM_CODE",
      hint: "a remedy",
    }]);
  }
});

test("gateway · SQLSTATEs have PostgREST's statuses", async () => {
  const statuses: Record<string, number> = {
    P0001: 400,
    "23505": 409,
    "23503": 409,
    "22P02": 400,
    "40001": 500,
    "40P01": 500,
    "57014": 500,
    "53300": 503,
    "54001": 500,
    "42883": 404,
  };
  for (const [code, status] of Object.entries(statuses)) {
    const reply = await rpc("gw_raise", { code });
    assert.deepEqual([reply.status, (reply.body as { code: string }).code], [status, code], code);
  }
});

test("gateway · an unknown function is 404, and so is a known one with unknown or missing arguments", async () => {
  for (const [name, args] of [["gw_none", {}], ["gw_echo", { z: 1 }], ["gw_required", { a: 1 }], ["pg_sleep", {}]]) {
    const { status, body } = await rpc(name as string, args);
    assert.deepEqual([status, (body as { code: string }).code], [404, "PGRST202"], String(name));
  }
  assert.equal((await rpc("gw_echo", "{")).status, 400);
  assert.equal((await ask("nowhere")).status, 404);
});

test("gateway · a new function is found without a restart", async () => {
  await project().sql`create function public.gw_new() returns int language sql as 'select 5'`;
  assert.equal((await rpc("gw_new")).body, 5);
});

test("gateway · the key determines the role, a user's token takes precedence", async () => {
  const { publishableKey, secretKey, anonKey, serviceRoleKey, signUser } = project();
  const sub = crypto.randomUUID();
  const roleOf = async (key: string, token?: string) =>
    (await rpc("gw_who", {}, { key, token })).body as { role: string };
  assert.equal((await roleOf(publishableKey)).role, "anon");
  assert.equal((await roleOf(anonKey)).role, "anon");
  assert.equal((await roleOf(secretKey)).role, "service_role");
  assert.equal((await roleOf(serviceRoleKey)).role, "service_role");
  assert.equal((await roleOf(secretKey, secretKey)).role, "service_role", "supabase-js sends it twice");
  for (const key of [publishableKey, secretKey]) {
    const { role, uid } = await roleOf(key, await signUser({ sub })) as { role: string; uid: string };
    assert.deepEqual([role, uid], ["authenticated", sub]);
  }
});

test("gateway · roles have the statement timeouts of a hosted project", async () => {
  const timeout = async (key: string, token?: string) =>
    ((await rpc("gw_who", {}, { key, token })).body as { timeout: string }).timeout;
  assert.equal(await timeout(project().publishableKey), "3s");
  assert.equal(await timeout(project().publishableKey, await project().signUser({ sub: crypto.randomUUID() })), "8s");
});

test("gateway · without a key, with a wrong one, or with a bad token there is no access", async () => {
  const { publishableKey: key, signUser } = project();
  const expired = await signUser({ sub: crypto.randomUUID() }, { expiresIn: -60 });
  for (
    const call of [{ key: "" }, { key: "wrong" }, { key, token: "a.b.c" }, { key, token: "a" }, { key, token: expired }]
  ) {
    assert.equal((await rpc("gw_who", {}, call)).status, 401, JSON.stringify(call));
  }
});

test("gateway · forbidden calls are 403 for users and 401 for the anonymous", async () => {
  const { publishableKey: key, signUser } = project();
  const token = await signUser({ sub: crypto.randomUUID() });
  for (const [call, status] of [[{ key }, 401], [{ key, token }, 403]] as const) {
    const reply = await rpc("gw_closed", {}, call);
    assert.deepEqual([reply.status, (reply.body as { code: string }).code], [status, "42501"]);
  }
  assert.equal((await rpc("gw_closed")).status, 200, "the secret key may, by default privileges");
});

test("gateway · GET, and a function that is declared stable, run read only", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create table public.gw_written (n int);
    create function public.gw_write() returns int language sql
    as 'insert into public.gw_written values (1) returning n';
    create function public.gw_write_stable() returns int language plpgsql stable
    as 'begin return public.gw_write(); end'`);
  const code = ({ status, body }: Reply) => [status, (body as { code?: string }).code];
  assert.deepEqual(code(await ask("rpc/gw_write")), [405, "25006"]);
  assert.deepEqual(code(await rpc("gw_write_stable")), [405, "25006"]);
  assert.equal((await sql`select from gw_written`).length, 0);
  assert.equal((await rpc("gw_write")).body, 1);
});

test("gateway · a failed call leaves nothing behind and does not affect the next one", async () => {
  await project().sql`create table if not exists public.gw_log (n int)`;
  await project().sql.unsafe(`
    create or replace function public.gw_fail_late() returns int language plpgsql as $$ begin
      insert into public.gw_log values (1); perform 1 / 0; return 1; end $$`);
  assert.equal((await rpc("gw_fail_late")).status, 400);
  assert.equal((await project().sql`select from gw_log`).length, 0);
  assert.equal((await rpc("gw_required", { a: 1, b: 1 })).body, 2);
});

test("gateway · rows are read with filters, order, limit and count, as far as the caller may see them", async () => {
  const { sql, publishableKey, signUser } = project();
  const [ada, bob] = [crypto.randomUUID(), crypto.randomUUID()];
  await sql`insert into gw_notes select n, case when n % 2 = 0 then ${ada}::uuid else ${bob}::uuid end, 'note ' || n,
    n * 1.5
    from generate_series(1, 10) n`;
  const ids = async (query: string, token?: string) => {
    const { body } = await ask(`gw_notes?select=id&${query}`, token ? { key: publishableKey, token } : {});
    return (body as { id: number }[]).map(({ id }) => id);
  };
  assert.deepEqual(await ids("id=eq.3"), [3]);
  assert.deepEqual(await ids("id=gt.8&order=id.desc"), [10, 9]);
  assert.deepEqual(await ids("id=gte.2&id=lt.5&order=id"), [2, 3, 4]);
  assert.deepEqual(await ids("id=in.(1,2,99)&order=id.asc"), [1, 2]);
  assert.deepEqual(await ids("body=like.note%201*&order=id"), [1, 10]);
  assert.deepEqual(await ids("size=eq.1.5"), [1]);
  assert.deepEqual(await ids("owner=is.null"), []);
  assert.deepEqual(await ids("id=not.eq.1&order=id&limit=2&offset=1"), [3, 4]);
  assert.deepEqual(await ids("order=id", await signUser({ sub: ada })), [2, 4, 6, 8, 10]);
  assert.deepEqual(await ids("id=eq.1", await signUser({ sub: ada })), [], "bob's");
  assert.deepEqual((await ask("gw_notes", { key: publishableKey })).body, [], "row level security, no policy for anon");

  const counted = await ask("gw_notes?select=id&limit=3", { headers: { prefer: "count=exact" } });
  assert.deepEqual([counted.status, counted.headers.get("content-range")], [206, "0-2/10"]);
  assert.equal((await ask("gw_notes?nowhere=eq.1")).status, 400);
  assert.equal((await ask("gw_notes?id=eq.1'%20or%20true")).status, 400, "values are bound, not pasted");
});
