// The database client: keys and tokens of a call, the time limit of a reply, and that no call is repeated.
import assert from "node:assert/strict";
import { connect, connectionOf } from "../../shared/db.ts";
import { withoutWaiting } from "../timers.ts";

const KEYS = { key: "sb_secret_1", publishableKey: "sb_publishable_1" };

/** A data API that replies with `reply`, and the headers of its requests. */
function openApi(reply: () => Response | Promise<Response> = () => Response.json([])) {
  const requests: Headers[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, ({ headers }) => {
    requests.push(new Headers(headers));
    return reply();
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  return { url, requests, [Symbol.asyncDispose]: () => server.shutdown() };
}

/** Like Deno.test, but without leak checks, because fetch keeps its connections beyond the test. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeResources: false, sanitizeOps: false });
}

const keysOf = (headers: Headers) => [headers.get("apikey"), headers.get("authorization")];

test("database · calls carry the secret key, those of a user the publishable key and the user's token", async () => {
  await using api = openApi();
  const db = connect({ url: api.url, ...KEYS });
  await db.call("messenger_settle", { outcomes: [] });
  await db.as("user-jwt").read("messenger_messages", ["id"], { id: "1" });
  assert.deepEqual(api.requests.map(keysOf), [
    ["sb_secret_1", "Bearer sb_secret_1"],
    ["sb_publishable_1", "Bearer user-jwt"],
  ]);
  const asUser = JSON.stringify([...api.requests[1]]);
  assert.ok(!asUser.includes("sb_secret"), asUser);
});

Deno.test("database · without a publishable key no call as a user is possible", () => {
  const db = connect({ url: "http://127.0.0.1:1", key: KEYS.key });
  assert.throws(() => db.as("user-jwt"), /SUPABASE_PUBLISHABLE_KEYS or SUPABASE_ANON_KEY must be set/);
});

Deno.test("database · the key named default is used, or else the first one; without any there is an error", () => {
  const url = "https://project.supabase.co";
  const connectionWith = (secretKeys: Record<string, string>, publishableKeys = {}) =>
    connectionOf({ url, secretKeys, publishableKeys });
  assert.deepEqual(connectionWith({ other: "a", default: "b" }, { other: "c", default: "d" }), {
    url,
    key: "b",
    publishableKey: "d",
    isDeployment: true,
  });
  const { key, publishableKey } = connectionWith({ other: "a" }, { anon: "c" });
  assert.deepEqual([key, publishableKey], ["a", "c"]);
  assert.throws(() => connectionWith({}), /SUPABASE_SECRET_KEYS or SUPABASE_SERVICE_ROLE_KEY must be set/);
});

test("database · calls and reads without a reply end after 20 s", async () => {
  const hanging = Promise.withResolvers<Response>();
  await using api = openApi(() => hanging.promise);
  const db = connect({ url: api.url, ...KEYS });
  try {
    for (
      const work of [() => db.call("messenger_settle", { outcomes: [] }), () => db.read("messenger_messages", ["id"])]
    ) {
      await assert.rejects(withoutWaiting<unknown>(20_000, work), {
        code: "SM_UNAVAILABLE",
        message: "The database did not reply.",
      });
    }
  } finally {
    hanging.resolve(new Response());
  }
});

test("database · a failed call is not repeated", async () => {
  await using api = openApi(() => Response.json({ message: "upstream is away" }, { status: 503 }));
  const db = connect({ url: api.url, ...KEYS });
  await assert.rejects(db.call("messenger_settle", { outcomes: [] }), { code: "SM_UNAVAILABLE" });
  await assert.rejects(db.read("messenger_messages", ["id"]), { code: "SM_UNAVAILABLE" });
  assert.equal(api.requests.length, 2);
});

test("database · a number that a double cannot represent arrives as a string in the project's own data", async () => {
  const row = '[{"id":"1","body":{"user":1145678901234567891,"n":5},"result":0.12345678901234567890,"retry_count":0}]';
  await using api = openApi(() => new Response(row, { headers: { "content-type": "application/json" } }));
  const db = connect({ url: api.url, ...KEYS });
  const expected = {
    id: "1",
    body: { user: "1145678901234567891", n: 5 },
    result: "0.12345678901234567890",
    retry_count: 0,
  };
  assert.deepEqual(await db.read("messenger_messages", ["id", "body", "result", "retry_count"]), [expected]);
  assert.deepEqual(await db.call("messenger_claim", { worker: "w" }), [expected]);
});

test("database · a reply without a body is null", async () => {
  await using api = openApi(() => new Response(null, { status: 204 }));
  assert.equal(await connect({ url: api.url, ...KEYS }).call("messenger_pause", { transport: "t", queue: "q" }), null);
});
