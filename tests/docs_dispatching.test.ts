// The examples of docs/dispatching.md and docs/settings.md are run: the trigger fires, a user sends and reads, the
// tables are complete.
import assert from "node:assert/strict";
import { toNewMessage } from "../shared/dispatch/request.ts";
import { empty, session, test } from "./project.ts";
import { useTarget } from "./target.ts";

const root = new URL("../", import.meta.url);
const read = (path: string) => Deno.readTextFileSync(new URL(path, root));
const dispatching = read("docs/dispatching.md");
const settings = read("docs/settings.md");
const { target, project } = useTarget({ env: { SYMPHONY_WORKER_LINGER: "0" } });
Deno.test.beforeEach(() => empty(project().sql));

function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp("^```" + language + "\\n(.*?)^```", "gms"))].map(([, code]) => code);
}

/** The document's modules, stored in this repository during the tests so that their imports resolve. */
const folder = new URL(`.symphony/docs-${crypto.randomUUID().slice(0, 8)}/`, root);
const modules = blocks(dispatching, "ts").map((code) => ({
  code: code.replaceAll('"../', '"../../'),
  path: new URL(code.match(/^\/\/ src\/(\S+\.ts)\n/)?.[1] ?? assert.fail(code), folder),
}));
Deno.test.beforeAll(async () => {
  await Deno.mkdir(folder);
  for (const { path, code } of modules) await Deno.writeTextFile(path, code);
});
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

test("docs/dispatching.md · its TypeScript compiles", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", ...modules.map(({ path }) => path.pathname)],
    cwd: root.pathname,
    env: { NO_COLOR: "1" },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});

test("docs/dispatching.md · a trigger on a users' table dispatches in their transaction and name", async () => {
  for (const statements of blocks(dispatching, "sql")) await project().sql.unsafe(statements);
  const { id: user } = await target().newUser();
  await using own = session(project());
  const insert = async (claims: Record<string, unknown>) => {
    await own`begin`;
    await own`select set_config('request.jwt.claims', ${JSON.stringify(claims)}, true)`;
    await own`set local role authenticated`;
    await own`insert into orders (email) values ('ada@example.com')`;
  };
  await insert({ sub: user, role: "authenticated" });
  await own`rollback`;
  assert.equal((await project().sql`select from messenger_messages`).length, 0);
  await insert({ sub: user, role: "authenticated" });
  await own`commit`;
  const [message] = await project().sql`select message_type, body, idempotency_key, created_by from messenger_messages`;
  const [{ id: order }] = await project().sql`select id from orders`;
  assert.deepEqual({ ...message }, {
    message_type: "OrderPlaced",
    body: { order: Number(order) },
    idempotency_key: `order-${order}`,
    created_by: user,
  });
});

test("docs/dispatching.md · a signed-in user sends and reads messages, and receives errors", async () => {
  const { sendNote, lookAt } = await import(new URL("notes.ts", folder).href);
  const ada = target().api(await target().newUser());
  const id = await sendNote(ada, "from the browser");
  assert.equal(await sendNote(ada, "from the browser"), id);
  assert.equal((await lookAt(ada, id)).status, "pending");
  await target().call("worker?wait=1", { json: {} });
  const { status, result } = await lookAt(ada, id);
  assert.deepEqual([status, result.length], ["completed", "from the browser".length]);
  assert.equal(await lookAt(target().api(await target().newUser()), id), null);
  await assert.rejects(sendNote(ada, "x".repeat(1_001)), /^Error: SM_PAYLOAD$/);
});

test("docs/dispatching.md · a server sends with the typed client", async () => {
  const { remind } = await import(new URL("remind.ts", folder).href);
  const ids = await remind(target().url, target().secretKey, ["one", "two"]);
  const rows = await project().sql`select body, priority from messenger_messages where id = any(${ids}) order by id`;
  assert.deepEqual(rows.map(({ body, priority }) => [body.note, priority]), [["one", 8], ["two", 8]]);
});

test("docs/dispatching.md · its table lists every option", () => {
  const [table] = dispatching.match(/^\| option.*?\n\n/ms) ?? assert.fail("no table");
  const named = (column: number) =>
    table.trim().split("\n").slice(2).flatMap((row) => [...row.split("|")[column].matchAll(/`(\w+)`/g)])
      .map(([, name]) => name);
  const message = toNewMessage({ message: { type: "T", payload: {} }, options: {} });
  const sql = Object.keys(message).filter((name) => !["type", "payload"].includes(name));
  const camel = (name: string) => name.replace(/_(\w)/g, (_, initial) => initial.toUpperCase());
  const asOption = (name: string) => name === "available_at" ? "scheduledAt" : camel(name);
  assert.deepEqual(named(1).sort(), sql.map(asOption).sort());
  const renamed = sql.filter((name) => asOption(name) !== name);
  assert.deepEqual(named(2).filter((name) => name !== "delay").sort(), renamed.sort());
  return Promise.resolve();
});

test("docs/settings.md · lists every variable, and its SQL runs", async () => {
  const known = [...read("shared/env.ts").matchAll(/^ {2}([A-Z]+_[A-Z_]+):/gm)].map(([, name]) => name);
  const named = [...settings.matchAll(/`((?:SYMPHONY|SUPABASE|OTEL|SB)_[A-Z_]+)`/g)].map(([, name]) => name);
  assert.deepEqual([...new Set(named)].sort(), known.sort());
  const statements = blocks(settings, "sql");
  assert.equal(statements.length, 3);
  await using own = session(project());
  for (const statement of statements) {
    await own`begin`;
    await own.unsafe(statement);
    await own`rollback`;
  }
  const options = await project().sql`select column_name from information_schema.columns
    where table_schema = 'messenger' and table_name = 'settings'
      and column_name not in ('singleton', 'functions_url', 'clock_enabled', 'clock_changed_at')`;
  for (const { column_name } of options) assert.ok(settings.includes(`| \`${column_name}\` |`), column_name);
});
