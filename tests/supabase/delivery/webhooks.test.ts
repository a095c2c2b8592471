// Webhooks in the database: subscriptions, signatures, and the protection of the secret.
import assert from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, dispatchAndClaim, type Row, setClock, settle, type SqlClient } from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDgoyqL0Jl3ac=";

Deno.test.beforeAll(async () => {
  await project().sql`select vault.create_secret(${SECRET}, 'symphony_webhook_shop')`;
});
Deno.test.beforeEach(() => empty(project().sql));

interface Wanted {
  event?: string | null;
  url?: string | null;
  secret?: string | null;
  type?: string | null;
}

async function onWebhook(wanted: Wanted = {}, sql: SqlClient = project().sql): Promise<string> {
  const { event, url, secret, type } = {
    event: "completed",
    url: "https://example.com/hook",
    secret: "symphony_webhook_shop",
    type: null,
    ...wanted,
  };
  const [{ id }] = await sql`select messenger.on_webhook(${event}, ${url}, ${secret}, ${type}) as id`;
  return id;
}

const sign = (subscription: string, id: string, body: string, sql: SqlClient = project().sql): Promise<Row[]> =>
  call(sql, "messenger_sign_webhook", { subscription, id, body });

const ID = "01990000-0000-7000-8000-000000000001";

test("hmac_sha256 · the vectors of RFC 4231", async () => {
  const vectors = [
    ["0b".repeat(20), "4869205468657265", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"],
    [
      "4a656665",
      "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ],
    ["aa".repeat(20), "dd".repeat(50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"],
    [
      "0102030405060708090a0b0c0d0e0f10111213141516171819",
      "cd".repeat(50),
      "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ],
    [
      "aa".repeat(131),
      "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ],
  ];
  for (const [key, data, digest] of vectors) {
    const [{ hex }] = await project().sql`
      select encode(messenger.hmac_sha256(decode(${data}, 'hex'), decode(${key}, 'hex')), 'hex') as hex`;
    assert.equal(hex, digest);
  }
});

test("sign · the scheme's own library verifies it; another body, id, time or secret does not", async () => {
  const subscription = await onWebhook();
  const body = '{"event":"completed","message":{"type":"Größe 漢字 😀"}}';
  const [{ url, signed_at, signature }] = await sign(subscription, ID, body);
  assert.equal(url, "https://example.com/hook");
  const headers = { "webhook-id": ID, "webhook-timestamp": `${signed_at}`, "webhook-signature": signature };
  const webhook = new Webhook(SECRET);
  assert.deepEqual(webhook.verify(body, headers), JSON.parse(body));
  assert.throws(() => webhook.verify(`${body} `, headers));
  assert.throws(() => webhook.verify(body, { ...headers, "webhook-id": `${ID}0` }));
  assert.throws(() => webhook.verify(body, { ...headers, "webhook-timestamp": `${Number(signed_at) - 1}` }));
  assert.throws(() => new Webhook(NEXT).verify(body, headers));
});

test("sign · the time is that of the delivery, by the database's clock", async () => {
  const subscription = await onWebhook();
  const [first] = await sign(subscription, ID, "{}");
  await setClock(project().sql, "1 hour");
  const [second] = await sign(subscription, ID, "{}");
  assert.ok(Number(second.signed_at) - Number(first.signed_at) >= 3600);
  assert.notEqual(second.signature, first.signature);
});

test("sign · during a rotation both secrets sign", async () => {
  const { sql } = project();
  const subscription = await onWebhook();
  const [{ next }] = await sql`select vault.create_secret(${NEXT}, 'symphony_webhook_shop_next') as next`;
  const [{ signed_at, signature }] = await sign(subscription, ID, "{}");
  const headers = { "webhook-id": ID, "webhook-timestamp": `${signed_at}`, "webhook-signature": signature };
  for (const secret of [SECRET, NEXT]) new Webhook(secret).verify("{}", headers);
  await sql`delete from vault.secrets where id = ${next}`;
  assert.doesNotMatch((await sign(subscription, ID, "{}"))[0].signature, / /);
});

test("sign · no signature for a subscription that is off, disabled or a function's", async () => {
  const { sql } = project();
  const [gone, off] = [await onWebhook(), await onWebhook({ event: "dead" })];
  await sql.unsafe(`create or replace function public.listen(a jsonb) returns jsonb language sql as 'select a'`);
  const [{ id: listener }] = await sql`select messenger.on('dead', 'listen') as id`;
  await sql`select messenger.off(${off})`;
  const disable = () => callValue(sql, "messenger_disable_webhook", { subscription: gone, reason: "no more" });
  assert.deepEqual([await disable(), await disable()], [true, false]);
  assert.equal(
    await callValue(sql, "messenger_disable_webhook", { subscription: listener, reason: "a function" }),
    false,
  );
  for (const id of [gone, off, listener, ID]) assert.deepEqual(await sign(id, ID, "{}"), []);
});

test("sign · without its secret an error, so that the worker retries", async () => {
  const { sql } = project();
  const subscription = await onWebhook();
  const rename = (name: string) =>
    sql`select vault.update_secret(id, new_name => ${name}) from vault.secrets
      where name in ('symphony_webhook_shop', 'elsewhere')`;
  await rename("elsewhere");
  assert.match(await assertRejected(sign(subscription, ID, "{}"), "SM_NOT_FOUND", 404), /symphony_webhook_shop/);
  await rename("symphony_webhook_shop");
});

test("disabled · has no events, has the reason, and subscribing again enables it under the same id", async () => {
  const { sql } = project();
  const id = await onWebhook();
  await callValue(sql, "messenger_disable_webhook", { subscription: id, reason: "answered 410" });
  const complete = async () => {
    const message = await dispatchAndClaim(sql, {}, { types: ["Greeting"] });
    await settle(sql, [{ id: message.id, fence: message.fence, outcome: "completed" }]);
    const [{ count }] = await sql`select count(*)::int from messenger_messages where message_type = 'symphony.webhook'`;
    return count;
  };
  assert.equal(await complete(), 0);
  const [row] = await sql`select enabled, disabled_reason from messenger.subscriptions`;
  assert.deepEqual({ ...row }, { enabled: false, disabled_reason: "answered 410" });
  assert.equal(await onWebhook(), id);
  assert.equal(await complete(), 1);
  const [{ queue_name, created_by }] =
    await sql`select queue_name, created_by from messenger_messages where message_type = 'symphony.webhook'`;
  assert.deepEqual([queue_name, created_by], ["webhooks", null]);
});

const BAD: [string, Wanted, string, number][] = [
  ["no event", { event: null }, "SM_NOT_FOUND", 404],
  ["an unknown event", { event: "started" }, "SM_NOT_FOUND", 404],
  ["an invalid type", { type: "a b" }, "SM_TYPE", 400],
  ["a type of the bus", { type: "symphony.webhook" }, "SM_FIELD_FORBIDDEN", 403],
  ["no url", { url: null }, "SM_FIELD_FORBIDDEN", 403],
  ["plain http", { url: "http://example.com/" }, "SM_FIELD_FORBIDDEN", 403],
  ["http to a name that begins like this machine", { url: "http://localhost.example.com/" }, "SM_FIELD_FORBIDDEN", 403],
  ["http to a user of this name", { url: "http://localhost:80@example.com/" }, "SM_FIELD_FORBIDDEN", 403],
  ["a password in it", { url: "https://user:pass@example.com/" }, "SM_FIELD_FORBIDDEN", 403],
  ["a backslash", { url: "https://example.com\\@elsewhere/" }, "SM_FIELD_FORBIDDEN", 403],
  ["no host", { url: "https:///hook" }, "SM_FIELD_FORBIDDEN", 403],
  ["a line break", { url: "https://example.com/\nhost: elsewhere" }, "SM_FIELD_FORBIDDEN", 403],
  ["characters that must be encoded", { url: "https://example.com/größe" }, "SM_FIELD_FORBIDDEN", 403],
  ["a host that must be encoded", { url: "https://exämple.com/" }, "SM_FIELD_FORBIDDEN", 403],
  ["a file", { url: "file:///etc/passwd" }, "SM_FIELD_FORBIDDEN", 403],
  ["a URL of 2001 characters", { url: `https://example.com/${"x".repeat(1981)}` }, "SM_FIELD_FORBIDDEN", 403],
  ["no secret", { secret: null }, "SM_FIELD_FORBIDDEN", 403],
  ["somebody else's secret", { secret: "symphony_worker_secret" }, "SM_FIELD_FORBIDDEN", 403],
  ["a secret that is not in Vault", { secret: "symphony_webhook_none" }, "SM_NOT_FOUND", 404],
  ["a secret that is no key", { secret: "symphony_webhook_odd" }, "SM_FIELD_FORBIDDEN", 403],
  ["a secret that is too short", { secret: "symphony_webhook_short" }, "SM_FIELD_FORBIDDEN", 403],
];

test("on_webhook · rejects webhooks that could not be sent or signed, and never shows a secret", async (t) => {
  const { sql } = project();
  await sql`select vault.create_secret('hunter2', 'symphony_webhook_odd')`;
  await sql`select vault.create_secret('whsec_aHVudGVyMg==', 'symphony_webhook_short')`;
  for (const [what, wanted, code, status] of BAD) {
    await t.step(what, async () => {
      assert.doesNotMatch(await assertRejected(onWebhook(wanted), code, status), /hunter2|aHVudGVyMg/);
    });
  }
  assert.equal((await sql`select from messenger.subscriptions`).length, 0);
  for (
    const url of [
      "https://example.com",
      "https://example.com:8443/a?b#c",
      "http://localhost:3000/hook",
      "http://[::1]/",
    ]
  ) {
    await onWebhook({ url });
  }
  const noise = Array.from({ length: 125 }, () => crypto.randomUUID().slice(0, 16)).join("").slice(20);
  await onWebhook({ url: `https://example.com/${noise}`, type: `T${noise.slice(0, 127)}` });
});

test("privileges · a service can sign and disable, not subscribe, and reads neither URLs nor secrets", async () => {
  const { sql } = project();
  const id = await onWebhook();
  await asRole(sql, "service_role", async (tx) => {
    assert.equal((await sign(id, ID, "{}", tx)).length, 1);
    assert.equal(await callValue(tx, "messenger_disable_webhook", { subscription: id, reason: "gone" }), true);
  });
  const forbidden = [
    "select messenger.on('completed', 'public.listen')",
    "select messenger.on_webhook('completed', 'https://example.com', 'symphony_webhook_shop')",
    `select messenger.off('${id}')`,
    "select * from messenger.webhook_keys('symphony_webhook_shop')",
    "select messenger.hmac_sha256('', '')",
    "select messenger.deliver_event('{}')",
    "select url from messenger.subscriptions",
    "select secret_name from messenger.subscriptions",
    "update messenger.subscriptions set enabled = true",
  ];
  for (const role of ["service_role", "authenticated", "anon"] as const) {
    for (const statement of forbidden) {
      await assert.rejects(asRole(sql, role, (tx) => tx.unsafe(statement)), { code: "42501" }, `${role}: ${statement}`);
    }
  }
  for (const role of ["authenticated", "anon"] as const) {
    for (const name of ["messenger_sign_webhook(null, null, null)", "messenger_disable_webhook(null, null)"]) {
      await assert.rejects(asRole(sql, role, (tx) => tx.unsafe(`select public.${name}`)), { code: "42501" });
    }
  }
});
