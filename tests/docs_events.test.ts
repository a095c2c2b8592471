// The examples of docs/events.md are run: its SQL in a database, its receivers as servers that the worker calls, its
// table against the code.
import assert from "node:assert/strict";
import { eventually } from "./eventually.ts";
import { test, useProject } from "./project.ts";
import { asRole } from "./supabase/as_role.ts";

const root = new URL("../", import.meta.url).pathname;
const text = Deno.readTextFileSync(`${root}docs/events.md`);
const URL_SHOWN = "https://example.com/hooks/symphony";
const project = useProject({
  functions: true,
  env: { SYMPHONY_WORKER_LINGER: "0", SYMPHONY_WEBHOOK_ALLOW_PRIVATE: "true" },
});

function blocks(language: string): string[] {
  return [...text.matchAll(new RegExp("^```" + language + "\\n(.*?)^```", "gms"))].map(([, code]) => code);
}

const [functionSql, webhookSql, rotationSql, listSql, policySql, ...more] = blocks("sql");
const folder = await Deno.makeTempDir({ dir: `${root}.symphony` });
Deno.test.beforeAll(async () => {
  assert.deepEqual(more, []);
  for (const name of ["node_modules", "deno.json", "package.json"]) {
    await Deno.symlink(root + name, `${folder}/${name}`);
  }
  for (const code of [...blocks("ts"), ...blocks("js")]) {
    const [, path] = code.match(/^\/\/ (\S+)\n/) ?? assert.fail(`the block has no path: ${code}`);
    await Deno.writeTextFile(`${folder}/${path}`, code);
  }
});
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

/** A delivery of ShipOrder with this outcome. */
async function end(outcome: "completed" | "failed"): Promise<string> {
  const { sql } = project();
  const [{ id }] = await sql`select id from messenger_dispatch('ShipOrder', queue => 'orders')`;
  const [{ fence }] = await sql`select fence from messenger_claim('ada', queues => array['orders'])`;
  const result = { id, fence, outcome, error: "the carrier did not respond", error_class: "Timeout", retryable: false };
  await sql`select * from messenger_settle(${sql.json([result])})`;
  return id;
}

async function work(): Promise<void> {
  const { url, secretKey } = project();
  const reply = await fetch(`${url}/functions/v1/worker?wait=1`, { method: "POST", headers: { apikey: secretKey } });
  assert.equal(reply.status, 200, await reply.text());
}

/** The receiver's HTTP status, as the webhook's delivery has stored it. */
async function deliveredTo(url: string): Promise<number> {
  const { sql } = project();
  await sql`update messenger.subscriptions set url = ${url} where url is not null`;
  await end("completed");
  await work();
  const [{ result }] =
    await sql`select result from messenger_messages where message_type = 'symphony.webhook' order by id desc limit 1`;
  return result?.status;
}

test("docs/events.md · a function records each failed order once; the event has the documented fields", async () => {
  const { sql } = project();
  await sql.unsafe(functionSql);
  const id = await end("failed");
  await sql`select messenger_tick()`;
  await sql`select messenger_tick()`;
  assert.deepEqual([...await sql`select * from lost_orders`], [{
    message_id: id,
    error: "the carrier did not respond",
  }]);
  const [{ body }] = await sql`select body from messenger_messages where message_type = 'symphony.event'`;
  const shown = JSON.parse(blocks("json")[0]);
  assert.deepEqual(Object.keys(body).sort(), Object.keys(shown).sort());
  assert.deepEqual(Object.keys(body.message).sort(), Object.keys(shown.message).sort());
});

test("docs/events.md · its receivers accept only signed requests, also during a rotation of the secret", async () => {
  const { sql } = project();
  assert.ok(webhookSql.includes(URL_SHOWN));
  await sql.unsafe(webhookSql);
  const secret = async (name = "symphony_webhook_shop") =>
    (await sql`select decrypted_secret as secret from vault.decrypted_secrets where name = ${name}`)[0].secret;
  const first = await secret();

  Deno.env.set("WEBHOOK_SECRET", first);
  const { default: receiver } = await import(`file://${folder}/receiver.ts`);
  Deno.env.delete("WEBHOOK_SECRET");
  await using deno = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, receiver.fetch);
  const denoUrl = `http://127.0.0.1:${deno.addr.port}/`;
  assert.equal(await deliveredTo(denoUrl), 204);
  assert.equal((await fetch(denoUrl, { method: "POST", body: "{}" })).status, 401);

  const [store, change] = rotationSql.split("-- the receiver takes the new one, then:\n");
  await sql.unsafe(store);
  const second = await secret("symphony_webhook_shop_next");
  assert.notEqual(second, first);
  await using node = await startNode(second);
  assert.equal(await deliveredTo(node.url), 204);
  assert.equal(await deliveredTo(denoUrl), 204);
  await sql.unsafe(change);
  assert.deepEqual([await secret(), await deliveredTo(node.url)], [second, 204]);
  assert.equal(await deliveredTo(denoUrl), undefined, "the old secret no longer signs");
  assert.equal((await fetch(node.url, { method: "POST", body: "{}" })).status, 401);
});

test("docs/events.md · its SQL lists and ends subscriptions", async () => {
  const { sql } = project();
  await sql.unsafe(listSql);
  assert.equal((await sql`select from messenger.subscriptions`).length, 0);
});

test("docs/events.md · with its policy a user receives events of their own messages only", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create schema realtime;
    create table realtime.messages (topic text not null, payload jsonb, event text, private boolean,
      id uuid default gen_random_uuid());
    alter table realtime.messages enable row level security;
    grant usage on schema realtime to authenticated;
    grant select on realtime.messages to authenticated;
    create function realtime.topic() returns text language sql as $$ select current_setting('realtime.topic', true) $$;
    create function realtime.send(payload jsonb, event text, topic text, private boolean) returns void language sql as
      $$ insert into realtime.messages (topic, payload, event, private) values (topic, payload, event, private) $$`);
  await sql.unsafe(policySql);
  const user = crypto.randomUUID();
  await sql`insert into messenger_messages (message_type, created_by, queue_name) values ('Own', ${user}, 'own')`;
  const [{ id, fence }] = await sql`select id, fence from messenger_claim('ada', queues => array['own'])`;
  await sql`select messenger_complete(${id}, ${fence})`;
  const received = (topic: string) =>
    asRole(sql, "authenticated", async (tx) => {
      await tx`select set_config('realtime.topic', ${topic}, true)`;
      return (await tx`select payload from realtime.messages`).map(({ payload }) => payload);
    }, user);
  assert.deepEqual(await received(`messenger:${user}`), [{ id, type: "Own", status: "completed", event: "completed" }]);
  assert.deepEqual(await received(`messenger:${crypto.randomUUID()}`), []);
});

test("docs/events.md · its TypeScript compiles", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", "--quiet", "receiver.ts", "listen.ts"],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});

/** Starts the receiver for Node on a free port and waits until it accepts requests. */
async function startNode(secret: string) {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = listener.addr;
  listener.close();
  const child = new Deno.Command("node", {
    args: ["receiver.mjs"],
    cwd: folder,
    env: { WEBHOOK_SECRET: secret, PORT: String(port) },
    stdout: "null",
  }).spawn();
  const url = `http://127.0.0.1:${port}/`;
  await eventually("the receiver accepts requests", async () => (await fetch(url)).body?.cancel().then(() => true));
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.status;
    },
  };
}
