// Events and transactions: one event per end, however many sessions repeat an outcome, and none for rolled back
// outcomes.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  messageOf,
  type Row,
  setClock,
  settle,
  type SqlClient,
} from "../bus.ts";
import { limitLockWaits, untilPolling, waitLongForRows } from "../until_blocked.ts";

const project = useProject({ testClock: true });

Deno.test.beforeAll(async () => {
  const { sql } = project();
  await limitLockWaits(sql);
  await sql.unsafe(`create function public.listen(args jsonb) returns jsonb language sql as 'select args'`);
});
Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  for (const event of ["completed", "retried", "dead", "failed"]) await on(sql, event);
});

async function on(sql: SqlClient, event: string): Promise<void> {
  await sql`select messenger.on(${event}, 'listen', 'Greeting')`;
}

async function told(): Promise<string[]> {
  const rows = await project().sql`
    select body ->> 'event' as event from messenger_messages where message_type = 'symphony.event'
      order by created_at, 1`;
  return rows.map(({ event }) => event);
}

const result = (
  { id, fence }: Row,
  outcome: string,
  more: Row = {},
) => [{ id, fence, outcome, error: "no answer", ...more }];
const types = ["Greeting"];

class RolledBack extends Error {}

test("rolled back · an outcome that is rolled back has no event", async () => {
  const { sql } = project();
  const message = await dispatchAndClaim(sql);
  await sql.begin(async (tx) => {
    await settle(tx, result(message, "completed"));
    throw new RolledBack();
  }).catch((error: unknown) => assert.ok(error instanceof RolledBack));
  assert.deepEqual(await told(), []);
  await settle(sql, result(message, "completed"));
  assert.deepEqual(await told(), ["completed"]);
});

test("lost reply · repeated and later outcomes cause no second event", async () => {
  const { sql } = project();
  const first = await dispatchAndClaim(sql);
  for (let n = 0; n < 3; n++) await settle(sql, result(first, "failed", { delay_ms: 0 }));
  assert.deepEqual(await told(), ["retried"]);
  const [second] = await claim(sql, { types });
  for (const outcome of ["completed", "completed", "failed", "snoozed"]) await settle(sql, result(second, outcome));
  await settle(sql, [...result(first, "completed"), ...result(second, "completed"), ...result(second, "completed")]);
  assert.deepEqual(await told(), ["retried", "completed"]);
  const dead = await dispatchAndClaim(sql, {}, { types });
  for (let n = 0; n < 2; n++) await settle(sql, result(dead, "failed", { retryable: false }));
  assert.deepEqual(await told(), ["retried", "completed", "dead", "failed"]);
});

test("two outcomes on one delivery in a call · the first one has an event", async () => {
  const { sql } = project();
  const message = await dispatchAndClaim(sql);
  await settle(sql, [...result(message, "completed"), ...result(message, "failed", { retryable: false })]);
  assert.deepEqual(await told(), ["completed"]);
});

for (const [first, second] of [["completed", "completed"], ["completed", "failed"], ["failed", "completed"]]) {
  test(`two sessions · ${first} has locked the row, ${second} is repeated: one event`, async () => {
    const { sql } = project();
    const message = await dispatchAndClaim(sql, { max_retries: 0 });
    await using one = session(project());
    await using two = session(project());
    await one.begin(async (tx) => {
      await settle(tx, result(message, first));
      assert.equal((await settle(two, result(message, second)))[0].outcome, "locked");
    });
    const [{ outcome }] = await settle(two, result(message, second));
    assert.match(outcome, /^(already|stale)$/);
    assert.deepEqual(await told(), first === "completed" ? ["completed"] : ["dead", "failed"]);
  });
}

test("two sessions · a cancel waits for the completion, and has no event of a failure", async () => {
  const { sql } = project();
  const message = await dispatchAndClaim(sql);
  await using one = session(project());
  await using two = session(project());
  const pid = await waitLongForRows(two);
  let waiting: Promise<Row> | undefined;
  await one.begin(async (tx) => {
    await settle(tx, result(message, "completed"));
    waiting = callValue(two, "messenger_cancel", { id: message.id });
    await untilPolling(sql, pid);
  });
  assert.deepEqual([await waiting, await told()], ["finished", ["completed"]]);
});

test("two claims · of one lost lease cause one event of a retry", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await claim(sql);
  await setClock(sql, "2 minutes");
  await using two = session(project());
  await sql.begin(async (tx) => {
    assert.equal((await claim(tx, { types }))[0].id, id);
    assert.deepEqual(await claim(two, { worker: "bob", types }), []);
    await callValue(two, "messenger_tick");
  });
  assert.deepEqual(await told(), ["retried"]);
});

test("subscription · starts and ends with its commit, also in sessions with earlier settles", async () => {
  const { sql } = project();
  await sql`truncate messenger.subscriptions`;
  await using worker = session(project());
  const complete = async () => await settle(worker, result(await dispatchAndClaim(worker, {}, { types }), "completed"));
  for (let n = 0; n < 10; n++) await complete(); // past the point at which plans are cached
  await sql.begin(async (tx) => {
    await on(tx, "completed");
    await complete();
  });
  assert.deepEqual(await told(), []);
  await complete();
  assert.deepEqual(await told(), ["completed"]);
  await sql`select messenger.off(id) from messenger.subscriptions`;
  await complete();
  assert.deepEqual(await told(), ["completed"]);
});

test("service_role · settles and cancels messages with subscriptions, without seeing their targets", async () => {
  const { sql } = project();
  const { id: waiting } = await dispatch(sql);
  await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_cancel", { id: waiting }));
  const message = await dispatchAndClaim(sql, {}, { types });
  await asRole(sql, "service_role", (tx) => settle(tx, result(message, "completed")));
  assert.deepEqual((await told()).sort(), ["completed", "failed"]);
});

test("users · do not see the events of their messages", async () => {
  const { sql } = project();
  const user = crypto.randomUUID();
  await call(sql, "messenger_register", { types: [{ type: "Greeting", dispatchable_by: "user" }] });
  const [{ id }] = await asRole(
    sql,
    "authenticated",
    (tx) => call(tx, "messenger_user_dispatch", { type: "Greeting" }),
    user,
  );
  const [row] = await claim(sql, { types });
  await settle(sql, result(row, "completed"));
  assert.deepEqual((await messageOf(sql, id)).created_by, user);
  const [{ body }] = await sql`select body from messenger_messages where message_type = 'symphony.event'`;
  assert.equal(body.message.created_by, user);
  const seen = await asRole(sql, "authenticated", (tx) => tx`select id from public.messenger_messages`, user);
  assert.deepEqual(seen.map(({ id }) => id), [id]);
});
