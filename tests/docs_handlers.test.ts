// The examples of docs/handlers.md are run: its SQL in a database, its TypeScript as the packs of a worker.
import assert from "node:assert/strict";
import { rootWith } from "./own_packs.ts";
import { test, useProject } from "./project.ts";

const text = Deno.readTextFileSync(new URL("../docs/handlers.md", import.meta.url));

function blocks(language: string): string[] {
  return [...text.matchAll(new RegExp("^```" + language + "\\n(.*?)^```", "gms"))].map(([, code]) => code);
}

const files = Object.fromEntries(
  blocks("ts").map((code) => {
    const [, path] = code.match(/^\/\/ (\S+\.ts)\n/) ?? assert.fail(`the block has no path: ${code}`);
    return [path, code];
  }),
);
const root = await rootWith(files);
const project = useProject({ functions: true, root, env: { SYMPHONY_WORKER_LINGER: "0" } });
Deno.test.beforeAll(async () => {
  for (const statements of blocks("sql")) await project().sql.unsafe(statements);
});

async function send(type: string, payload: unknown, options: Record<string, unknown> = {}): Promise<string> {
  const { sql } = project();
  const [{ id }] = await sql`select id from messenger_dispatch(${type}, ${sql.json(payload as never)},
    metadata => ${sql.json((options.metadata ?? {}) as never)}, max_retries => 0)`;
  return id;
}

async function work(): Promise<void> {
  const { url, secretKey } = project();
  const reply = await fetch(`${url}/functions/v1/worker?wait=1`, { method: "POST", headers: { apikey: secretKey } });
  assert.equal(reply.status, 200, await reply.text());
}

async function rowOf(id: string) {
  const [row] = await project().sql`select * from messenger_messages where id = ${id}`;
  return row;
}

test("docs/handlers.md · its TypeScript compiles at the paths it names", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", ...Object.keys(files), "functions/worker/index.ts", "functions/dispatch/index.ts"],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});

test("docs/handlers.md · outcomes, an alias and middleware", async () => {
  const carried = await send("Package", { to: "Ada" }, { metadata: { tenant: "acme", holiday: false } });
  const nowhere = await send("Parcel", { to: "nowhere" });
  const early = await send("Parcel", { to: "Ada", notBefore: new Date(Date.now() + 600_000).toISOString() });
  const holiday = await send("Parcel", { to: "Ada" }, { metadata: { holiday: true } });
  await work();
  assert.deepEqual((await rowOf(carried)).result, { carried: "Ada" });
  assert.deepEqual([(await rowOf(nowhere)).status, (await rowOf(nowhere)).error_class], ["failed", "Unrecoverable"]);
  for (const id of [early, holiday]) {
    const { status, retry_count, available_at } = await rowOf(id);
    assert.deepEqual([status, retry_count], ["pending", 0]);
    assert.ok(available_at.getTime() > Date.now() + 500_000);
  }
});

test("docs/handlers.md · a user changes only their own account, whatever the payload names", async () => {
  const { sql, url, publishableKey } = project();
  await sql`create table accounts (id uuid primary key, name text)`;
  await sql.unsafe(`grant select, update on accounts to service_role;
    create function public.rename_account(args jsonb) returns jsonb
    language sql set search_path = pg_catalog, pg_temp as $$
      update public.accounts set name = args ->> 'name' where id = (args ->> 'account')::uuid returning to_jsonb(name)
    $$;
    grant execute on function public.rename_account(jsonb) to service_role`);
  const [ada, bob] = [crypto.randomUUID(), crypto.randomUUID()];
  await sql`insert into accounts values (${ada}, 'ada'), (${bob}, 'bob')`;
  const token = await project().signUser({ sub: ada });
  for (const account of [ada, bob]) {
    const message = { type: "Rename", payload: { account, name: "Augusta" }, metadata: { user: bob } };
    const headers = { "content-type": "application/json", apikey: publishableKey, authorization: `Bearer ${token}` };
    const body = JSON.stringify({ message });
    assert.equal((await fetch(`${url}/functions/v1/dispatch`, { method: "POST", headers, body })).status, 201);
  }
  await work();
  const names = await sql`select name from accounts order by id = ${bob}`;
  assert.deepEqual(names.map(({ name }) => name), ["Augusta", "bob"]);
});

test("docs/handlers.md · an effect is applied exactly once, and not at all if the function fails", async () => {
  const { sql } = project();
  const paid = await send("Payment", { orderId: 1, amount: 30 });
  const rejected = await send("Payment", { orderId: 2, amount: -1 });
  await work();
  assert.deepEqual([(await rowOf(paid)).status, (await rowOf(paid)).result], ["completed", { paid: 30 }]);
  assert.deepEqual([(await rowOf(rejected)).status, (await rowOf(rejected)).error_class], ["failed", "PT422"]);
  assert.deepEqual([...await sql`select * from payments`], [{ order_id: 1, amount: 30 }]);
});

test("docs/handlers.md · a tick runs a handler in SQL", async () => {
  const { sql } = project();
  const ids = [await send("Visit", { page: "/" }), await send("Visit", { page: "/" })];
  await sql`select messenger_tick()`;
  for (const id of ids) assert.deepEqual((await rowOf(id)).result, { counted: id });
  assert.deepEqual([...await sql`select * from visits`], [{ page: "/", times: 2 }]);
});

test("docs/handlers.md · a batch handler settles each message separately", async () => {
  const [good, bad] = [await send("PageChanged", { page: "/a" }), await send("PageChanged", { page: "b" })];
  await work();
  assert.deepEqual((await rowOf(good)).result, { together: 2 });
  assert.deepEqual([(await rowOf(bad)).status, (await rowOf(bad)).last_error], ["failed", "no such page"]);
});
