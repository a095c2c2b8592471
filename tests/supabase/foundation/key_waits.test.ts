// Keys held by open transactions: calls through the API end soon, so that a project's API stays available; direct SQL
// waits.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, dispatch } from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject();
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const KEYS = [{ idempotency_key: "k" }, { ordering_key: "k" }, { idempotency_key: "k", idempotency_mode: "debounce" }];

for (const fields of KEYS) {
  const name = Object.entries(fields).map(([key, value]) => `${key} ${value}`).join(", ");

  test(`keys · ten API calls that need ${name} of an open transaction get 503, nothing is stored`, async () => {
    const { sql, url, secretKey } = project();
    await using other = session(project());
    await other`begin`;
    await dispatch(other, fields);
    const replies = await Promise.all(Array.from({ length: 10 }, async () => {
      const response = await fetch(`${url}/rest/v1/rpc/messenger_dispatch`, {
        method: "POST",
        headers: { apikey: secretKey, "content-type": "application/json" },
        body: JSON.stringify({ type: "Greeting", ...fields }),
      });
      return [response.status, (await response.json()).details];
    }));
    assert.deepEqual(replies, Array.from({ length: 10 }, () => [503, "SM_UNAVAILABLE"]));
    await other`rollback`;
    assert.equal((await sql`select from messenger_messages`).length, 0);
    assert.equal((await asRole(sql, "service_role", (tx) => dispatch(tx, fields))).duplicate, false);
  });

  test(`keys · direct SQL that needs ${name} of an open transaction waits for its end`, async () => {
    const { sql } = project();
    await using other = session(project());
    await using waiter = session(project());
    const pid = await pidOf(waiter);
    await other`begin`;
    await dispatch(other, fields);
    const waiting = dispatch(waiter, fields);
    await untilBlocked(sql, pid);
    await sql`select pg_sleep(0.4)`; // longer than the API would wait
    await other`commit`;
    assert.equal((await waiting).duplicate, "idempotency_key" in fields);
  });
}

test("keys · a batch through the API names the call to repeat, and has stored none of it", async () => {
  const { sql } = project();
  await using other = session(project());
  await other`begin`;
  await dispatch(other, { idempotency_key: "b" });
  const messages = ["a", "b", "c"].map((idempotency_key) => ({ type: "Greeting", idempotency_key }));
  for (const atomic of [true, false]) {
    const batch = asRole(sql, "service_role", (tx) => call(tx, "messenger_dispatch_batch", { messages, atomic }));
    assert.match(await assertRejected(batch, "SM_UNAVAILABLE", 503), /^an open transaction holds a key of this call/);
  }
  await other`rollback`;
  assert.equal((await sql`select from messenger_messages`).length, 0);
});

test("keys · a user whose own dispatch is still open gets 503, too", async () => {
  const { sql } = project();
  const user = crypto.randomUUID();
  await call(sql, "messenger_register", { types: [{ type: "Greeting", dispatchable_by: "user" }] });
  const send = () =>
    asRole(sql, "authenticated", (tx) => call(tx, "messenger_user_dispatch", { type: "Greeting" }), user);
  await using other = session(project());
  await other`begin`;
  await other`select set_config('request.jwt.claims', ${JSON.stringify({ sub: user })}, true)`;
  await call(other, "messenger_user_dispatch", { type: "Greeting" });
  await assertRejected(send(), "SM_UNAVAILABLE", 503);
  await other`rollback`;
  assert.equal((await send()).length, 1);
});

test("keys · a project's own lock_timeout is unchanged after a call that found its key free", async () => {
  const { sql } = project();
  const after = await asRole(sql, "service_role", async (tx) => {
    await tx`set local lock_timeout = '7 s'`;
    await dispatch(tx, { idempotency_key: "free", ordering_key: "free" });
    return (await tx`show lock_timeout`)[0].lock_timeout;
  });
  assert.equal(after, "7s");
});
