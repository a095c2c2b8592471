// The examples of the documents are run: TypeScript is type-checked, SQL and shell lines have the described effect,
// tables are complete.
import assert from "node:assert/strict";
import { ERRORS } from "../shared/errors.ts";
import { session, test, useProject } from "./project.ts";

const root = new URL("../", import.meta.url).pathname;
const read = (path: string) => Deno.readTextFileSync(root + path);
const documents = ["README.md", "docs/architecture.md", "docs/schedules.md"];
const project = useProject({ functions: true });

function blocks(language: string): string[] {
  const fence = new RegExp("^```" + language + "\\n(.*?)^```", "gms");
  return documents.flatMap((path) => [...read(path).matchAll(fence)].map(([, code]) => code));
}

test("docs · the TypeScript of the README compiles at the paths it names", async () => {
  const folder = await Deno.makeTempDir({ dir: `${root}.symphony` });
  try {
    for (const name of ["shared", "node_modules", "deno.json", "package.json"]) {
      await Deno.symlink(root + name, `${folder}/${name}`);
    }
    const files = blocks("ts").map((code) => ({ path: code.match(/^\/\/ (\S+\.ts)$/m)?.[1], code }));
    assert.equal(files.length, 3);
    for (const { path, code } of files) {
      assert.ok(path, `the block has no path: ${code}`);
      await Deno.mkdir(`${folder}/${path}/..`.replace(/[^/]+\/\.\.$/, ""), { recursive: true });
      await Deno.writeTextFile(`${folder}/${path}`, code);
    }
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--quiet", ...files.map(({ path }) => path ?? "")],
      cwd: folder,
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

test("docs · the SQL of the README runs", async () => {
  const statements = blocks("sql");
  assert.equal(statements.length, 7);
  for (const statement of statements) await project().sql.unsafe(statement);
  const rows = await project().sql`select message_type, idempotency_key from messenger_messages`;
  assert.deepEqual([...rows], [{ message_type: "ExampleGreeting", idempotency_key: "greet-ada" }]);
});

test("docs · the SQL of docs/dead_letters.md lists, retries, edits, slows down and discards", async () => {
  const { sql } = project();
  await using own = session(project());
  const types = ["ExampleGreeting", "ExampleGreeting", "ExampleGreeting", "Slow", "Slow"];
  for (const [n, type] of types.entries()) {
    const [{ id }] = await own`select id from messenger_dispatch(${type}, queue => 'docs')`;
    const [{ fence }] = await own`select fence from messenger_claim('docs', queues => array['docs'])`;
    await own`select * from messenger_fail(${id}, ${fence}, 'no answer', ${
      n === 2 ? "Timeout" : "Error"
    }, retryable => false)`;
    await own`update messenger_failed_messages set id = ${`01990000-0000-7000-8000-00000000000${
      n + 1
    }`} where message_id = ${id}`;
  }
  await sql`update messenger_failed_messages set queue_name = 'default', failed_at = '2025-01-01'
    where id::text like '%5'`;
  const statements = [...read("docs/dead_letters.md").matchAll(/^```sql\n(.*?)^```/gms)].map(([, code]) => code);
  assert.equal(statements.length, 8);
  for (const statement of statements) await own.unsafe(statement);
  const deadLetters = await sql`
    select f.resolution, m.status, m.body from messenger_failed_messages f
      join messenger_messages m on m.id = f.message_id
    where f.id::text like '01990000%' order by f.id`;
  assert.deepEqual(deadLetters.map(({ resolution, status, body }) => [resolution, status, body]), [
    ["retried", "pending", {}],
    ["retried", "pending", { to: "Ada" }],
    ["retried", "pending", {}],
    ["retried", "pending", {}],
    ["discarded", "failed", {}],
  ]);
  assert.deepEqual((await sql`select total from messenger.replay_report()`).map(({ total }) => total), [1]);
});

test("docs · the SQL of docs/delivery.md cancels, pauses, debounces and orders messages", async () => {
  const { sql } = project();
  const [{ id: slow }] = await sql`select id from messenger_dispatch('ExampleSlow', delay => '1 day')`;
  const statements = [...read("docs/delivery.md").matchAll(/^```sql\n(.*?)^```/gms)].map(([, code]) => code);
  assert.equal(statements.length, 3);
  for (const statement of statements) await sql.unsafe(statement);
  const [{ error_class }] = await sql`select error_class from messenger_messages where id = ${slow}`;
  assert.equal(error_class, "Cancelled");
  const conversation = await sql`
    select id from messenger_messages where ordering_key = 'conversation-7' order by ordering_seq`;
  assert.equal(conversation.length, 2);
  const [{ debounced }] =
    await sql`select count(*)::int as debounced from messenger_messages where idempotency_key = 'search-index'`;
  assert.equal(debounced, 1);
});

test("docs · the curl command of the README dispatches a message", async () => {
  const [line] = blocks("sh").filter((code) => /^curl /m.test(code));
  const { stdout } = await new Deno.Command("bash", {
    args: ["-c", line],
    env: { SUPABASE_URL: project().url, SUPABASE_SECRET_KEY: project().secretKey },
  }).output();
  const reply = JSON.parse(new TextDecoder().decode(stdout));
  assert.equal(reply.success, true, JSON.stringify(reply));
  const [row] = await project().sql`select body, priority from messenger_messages where id = ${reply.messageId}`;
  assert.deepEqual({ ...row }, { body: { to: "Grace" }, priority: 10 });
});

test("docs · docs/errors.md lists exactly the existing codes with status and remedy; SQL raises no other", async () => {
  const listed = [...read("docs/errors.md").matchAll(/^\| `(SM_\w+)` \| (\d+) \| (.+) \|$/gm)].map((
    [, code, status, remedy],
  ) => ({ code, status, remedy }));
  assert.deepEqual(
    listed,
    Object.entries(ERRORS).map(([code, { status, remedy }]) => ({ code, status: String(status), remedy })),
  );
  const raised = await project().sql<
    { code: keyof typeof ERRORS; status: number }[]
  >`select code, status from messenger.error_codes()`;
  assert.ok(raised.length > 20);
  for (const { code, status } of raised) assert.equal(ERRORS[code]?.status, status, code);
});

test("docs · docs/troubleshooting.md lists exactly the existing reasons and checks; its SQL runs", async () => {
  const { sql } = project();
  const text = read("docs/troubleshooting.md");
  const [reasons, checks] = text.split("## Health checks").map((part) =>
    [...part.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name).sort()
  );
  const named = async (prefix: string, args: string, result: string) =>
    (await sql`select name from messenger.own_functions(${prefix}, ${args}, ${result})`).map(({ name }) => name);
  const causes = await named("reason", "public.messenger_messages, timestamp with time zone", "messenger.reason");
  assert.deepEqual(reasons, [...causes, "unexplained", "unknown"].sort());
  const known = await named("health", "timestamp with time zone", "messenger.check_result");
  assert.deepEqual(checks, known.sort());
  await using own = session(project());
  await own`begin`;
  for (const [, statement] of text.matchAll(/^```sql\n(.*?)^```/gms)) await own.unsafe(statement);
  const [{ id }] = await own`select id from messenger_dispatch('Letter', queue => 'letters', delay => '1 hour')`;
  const sunday = await own`select * from messenger.reason_weekend(
    (select m from messenger_messages m where id = ${id}), '2026-11-22T12:00:00Z')`;
  assert.deepEqual(sunday.map(({ reason }) => reason), ["weekend"]);
  await own`rollback`;
});
