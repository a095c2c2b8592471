// Wake-ups: the woken workers, the times, the number, and the content of the call. Nothing sends requests here, so they
// are read from pg_net's queue.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch, dispatchAndClaim, dispatchMany, setClock, settle } from "../bus.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });
const URL = "https://example.test/functions/v1";

Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`delete from net.http_request_queue`;
  await call(sql, "messenger_start", { functions_url: URL });
  await call(sql, "messenger_stop");
});

interface WakeupCall {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

const wakeups = async (): Promise<
  WakeupCall[]
> => [
  ...await project().sql<
    WakeupCall[]
  >`select method, url, headers, convert_from(body, 'UTF8') as body from net.http_request_queue order by id`,
];
const tick = async () => (await callValue(project().sql, "messenger_tick")).woken;
const registerGreeting = (sql: Sql) => call(sql, "messenger_register", { types: [{ type: "Greeting" }] });

test("wake-up · a dispatch queues one call with the worker secret, never with the service key", async () => {
  const { sql, serviceRoleKey, secretKey } = project();
  await dispatch(sql);
  const woken = await wakeups();
  assert.deepEqual(woken.map(({ method, url, body }) => [method, url, body]), [["POST", `${URL}/worker`, "{}"]]);
  const [{ secret }] =
    await sql`select decrypted_secret as secret from vault.decrypted_secrets where name = 'symphony_worker_secret'`;
  assert.equal(woken[0].headers.authorization, `Bearer ${secret}`);
  const text = JSON.stringify(woken);
  for (const key of [serviceRoleKey, secretKey]) assert(!text.includes(key));
});

test("wake-up · is sent at the commit, and not if the dispatch is rolled back", async () => {
  await using writer = session(project());
  await writer`begin`;
  await dispatch(writer);
  assert.deepEqual(await wakeups(), []);
  await writer`rollback`;
  assert.deepEqual(await wakeups(), []);
  await writer`begin`;
  await dispatch(writer);
  await writer`commit`;
  assert.equal((await wakeups()).length, 1);
});

test("wake-up · NOTIFY messenger names the queue, once per transaction", async () => {
  await using listener = session(project());
  const { sql } = project();
  const received: string[] = [];
  await listener.listen("messenger", (payload) => received.push(payload));
  await dispatch(sql, { queue: "a" });
  await sql.begin(async (transaction) => {
    for (let n = 0; n < 3; n++) await dispatch(transaction, { queue: "b" });
  });
  await sql`select pg_notify('messenger', 'the end')`;
  while (received.at(-1) !== "the end") await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(received, ["supabase/a", "supabase/b", "the end"]);
});

test("wake-up · a delayed message, a duplicate and a rejected one send none", async () => {
  const { sql } = project();
  await dispatch(sql, { delay: "1 hour" });
  await dispatch(sql, { delay: "1 hour", idempotency_key: "k" });
  await dispatch(sql, { idempotency_key: "k" });
  await assert.rejects(dispatch(sql, { priority: 0 }));
  assert.deepEqual(await wakeups(), []);
});

test("wake-up · a batch sends one for each of its queues", async () => {
  const { sql } = project();
  await call(sql, "messenger_dispatch_batch", {
    messages: ["a", "b", "a", "b", "a"].map((queue) => ({ type: "T", queue })),
  });
  assert.equal((await wakeups()).length, 2);
});

test("wake-up · many dispatches in one transaction send one per queue", async () => {
  const { sql } = project();
  await sql.begin(async (transaction) => {
    for (let n = 0; n < 20; n++) await dispatch(transaction);
  });
  assert.equal((await wakeups()).length, 1);
});

test("wake-up · rolled back to a savepoint, the next dispatch of the transaction sends one", async () => {
  await using writer = session(project());
  await writer`begin`;
  await writer`savepoint s`;
  await dispatch(writer);
  await writer`rollback to s`;
  await dispatch(writer);
  await writer`commit`;
  assert.equal((await wakeups()).length, 1);
  await dispatch(writer);
  assert.equal((await wakeups()).length, 2, "a session sends one again in its next transaction");
});

test("wake-up · none while a worker that polled the queue is active", async () => {
  const { sql } = project();
  await sql`update messenger.settings set poll_interval = '1 minute'`;
  await claim(sql, { queues: ["a"] });
  await dispatch(sql, { queue: "a" });
  assert.equal((await wakeups()).length, 0);
  await dispatch(sql, { queue: "b" });
  assert.equal((await wakeups()).length, 1);
  await claim(sql, { worker: "bob" });
  await dispatch(sql, { queue: "b" });
  assert.equal((await wakeups()).length, 1);
  await setClock(sql, "121 seconds");
  await dispatch(sql, { queue: "a" });
  assert.equal((await wakeups()).length, 2);
});

test("wake-up · a worker that is active for other types does not count", async () => {
  const { sql } = project();
  await sql`update messenger.settings set poll_interval = '1 minute'`;
  await claim(sql, { types: ["Other"] });
  await dispatch(sql);
  assert.equal((await wakeups()).length, 1);
  await dispatch(sql, { type: "Other" });
  assert.equal((await wakeups()).length, 1);
});

test("wake-up · without a functions URL, or without a secret, none is sent and the message is stored", async () => {
  const { sql } = project();
  await sql`update messenger.settings set functions_url = null`;
  await dispatch(sql);
  await sql`update messenger.settings set functions_url = ${URL}`;
  await sql`delete from vault.secrets where name like 'symphony%'`;
  await dispatch(sql);
  assert.equal((await wakeups()).length, 0);
  assert.equal((await sql`select from messenger_messages`).length, 2);
});

test("wake-up · a failing pg_net loses the wake-up, not the message", async () => {
  await using admin = session(project(), "supabase_admin");
  await admin`alter table net.http_request_queue rename to broken`;
  try {
    await admin.unsafe("create view net.http_request_queue as select 1 as nothing");
    assert.equal((await dispatch(project().sql)).status, "pending");
  } finally {
    await admin.unsafe(
      "drop view if exists net.http_request_queue; alter table net.broken rename to http_request_queue",
    );
  }
});

test("wake · none when nothing is due", async () => {
  const { sql } = project();
  await registerGreeting(sql);
  await dispatch(sql, { delay: "1 hour" });
  await dispatchAndClaim(sql, { queue: "running" }, { lease: "1 hour" });
  await sql`delete from net.http_request_queue`;
  assert.equal(await tick(), 0);
  assert.deepEqual(await wakeups(), []);
});

test("wake · as many workers as the backlog needs, at most max_workers", async () => {
  const { sql } = project();
  await registerGreeting(sql);
  await sql`update messenger.settings set messages_per_worker = 10, max_workers = 3`;
  for (const [more, wanted] of [[1, 1], [9, 1], [1, 2], [10, 3], [100, 3]]) {
    await dispatchMany(sql, more);
    await sql`delete from net.http_request_queue`;
    assert.deepEqual([await tick(), (await wakeups()).length], [wanted, wanted]);
  }
});

test("wake · less the active ones, counting a worker that polled within a second", async () => {
  const { sql } = project();
  await registerGreeting(sql);
  await sql`update messenger.settings set messages_per_worker = 10, max_workers = 3`;
  await claim(sql);
  await dispatchMany(sql, 15);
  assert.equal(await tick(), 1);
  await claim(sql, { worker: "bob", queues: ["other"] });
  assert.equal(await tick(), 1);
  await claim(sql, { worker: "eve", batch: 1 });
  assert.equal(await tick(), 0);
  await setClock(sql, "2 seconds");
  assert.equal(await tick(), 2);
});

test("wake · a retry that has become due, and an expired lease, wake a worker", async () => {
  const { sql } = project();
  await registerGreeting(sql);
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e", delay_ms: 60_000 }]);
  await setClock(sql, "59 seconds");
  assert.equal(await tick(), 0);
  await setClock(sql, "61 seconds");
  assert.equal(await tick(), 1);
  await claim(sql);
  await setClock(sql, "63 seconds");
  assert.equal(await tick(), 0);
  await setClock(sql, "5 minutes");
  assert.equal(await tick(), 1);
});

test("wake · a lost lease that the ticker could not rescue wakes a worker all the same", async () => {
  const { sql } = project();
  await using other = session(project());
  await registerGreeting(sql);
  const { id } = await dispatchAndClaim(sql);
  await setClock(sql, "5 minutes");
  await other`begin`;
  await other`select from messenger_messages where id = ${id} for update`;
  assert.equal(await tick(), 1);
  await other`rollback`;
});

test("wake · for types that no code registered, at most once per minute", async () => {
  const { sql } = project();
  await dispatch(sql);
  const woken = [];
  for (const seconds of [0, 1, 59, 61, 62, 119, 122]) {
    await setClock(sql, `${seconds} seconds`);
    woken.push(await tick());
  }
  assert.deepEqual(woken, [1, 0, 0, 1, 0, 0, 1]);
});

test("wake · for registered types although unregistered ones wait, too", async () => {
  const { sql } = project();
  await registerGreeting(sql);
  await dispatch(sql, { type: "Nobody", priority: 10 });
  await dispatch(sql);
  for (const seconds of [0, 2, 4]) {
    await setClock(sql, `${seconds} seconds`);
    assert.equal(await tick(), 1);
  }
});

test("wake · not for a disabled transport, nor without a functions URL", async () => {
  const { sql } = project();
  await registerGreeting(sql);
  await dispatch(sql);
  await sql`update messenger_transports set enabled = false`;
  assert.equal(await tick(), 0);
  await sql`update messenger_transports set enabled = true`;
  await sql`update messenger.settings set functions_url = null`;
  assert.equal(await tick(), 0);
});

test("wake · a worker that polled before the clock was set back does not count as active", async () => {
  const { sql } = project();
  await registerGreeting(sql);
  await setClock(sql, "2 hours");
  await claim(sql);
  await setClock(sql, "0");
  await dispatch(sql);
  assert.deepEqual([(await wakeups()).length, await tick()], [1, 1]);
});
