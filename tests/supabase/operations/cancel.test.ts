// messenger_cancel: at once while a message waits, by request while a worker has it; never a dead letter.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, dispatch, dispatchAndClaim, messageOf, setClock, settle } from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";
import { limitLockWaits, untilPolling, waitLongForRows } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const cancel = (id: string): Promise<string> => callValue(project().sql, "messenger_cancel", { id });

/** The message is finished as cancelled, has no lease and no dead letter, and violates no invariant. */
async function assertCancelled(id: string): Promise<void> {
  const { sql } = project();
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.error_class, row.locked_by, row.processed_at === null], [
    "failed",
    "Cancelled",
    null,
    false,
  ]);
  assert.equal((await sql`select from messenger_failed_messages where message_id = ${id}`).length, 0);
  const [{ broken }] = await sql`select sum(violations)::int as broken from messenger_audit()`;
  assert.equal(broken, 0);
}

test("cancel · a waiting message is never handed out", async () => {
  const { id } = await dispatch(project().sql);
  assert.equal(await cancel(id), "cancelled");
  assert.deepEqual(await claim(project().sql), []);
  await assertCancelled(id);
});

test("cancel · a delayed message, and one that waits for its retry, too", async () => {
  const { sql } = project();
  const { id: delayed } = await dispatch(sql, { delay: "1 hour" });
  assert.equal(await cancel(delayed), "cancelled");
  const { id: retried, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id: retried, fence, outcome: "failed", error: "e" }]);
  assert.equal(await cancel(retried), "cancelled");
  await setClock(sql, "2 hours");
  assert.deepEqual(await claim(sql), []);
  await assertCancelled(delayed);
  await assertCancelled(retried);
});

test("cancel · repeated, of a finished message and of a missing one", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await cancel(id);
  assert.equal(await cancel(id), "finished");
  const done = await dispatchAndClaim(sql);
  await settle(sql, [{ id: done.id, fence: done.fence, outcome: "completed" }]);
  assert.equal(await cancel(done.id), "finished");
  assert.equal((await messageOf(sql, done.id)).status, "completed");
  assert.equal(await cancel(crypto.randomUUID()), "unknown");
});

test("cancel · changes only the named row", async () => {
  const { sql } = project();
  const { id: other } = await dispatch(sql);
  const { id } = await dispatch(sql);
  const before = await messageOf(sql, other);
  await cancel(id);
  assert.deepEqual(await messageOf(sql, other), before);
});

test("request · a running message continues, and its heartbeat reports the request", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  assert.equal(await cancel(id), "requested");
  const [beat] = await call(sql, "messenger_heartbeat", { leases: [{ id, fence }] });
  assert.deepEqual([beat.outcome, beat.cancel_requested], ["extended", true]);
  const requested = (await messageOf(sql, id)).cancel_requested_at;
  assert.equal(await cancel(id), "requested");
  assert.deepEqual((await messageOf(sql, id)).cancel_requested_at, requested, "the first request counts");
});

test("request · a completion still counts", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await cancel(id);
  const [{ outcome }] = await settle(sql, [{ id, fence, outcome: "completed", result: { kept: true } }]);
  assert.equal(outcome, "completed");
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.result], ["completed", { kept: true }]);
});

for (const result of ["failed", "snoozed", "released"]) {
  test(`request · ${result} makes it cancelled`, async () => {
    const { sql } = project();
    const { id, fence } = await dispatchAndClaim(sql);
    await cancel(id);
    const [{ outcome, available_at }] = await settle(sql, [{ id, fence, outcome: result, delay_ms: 5, error: "e" }]);
    assert.deepEqual([outcome, available_at], ["cancelled", null]);
    await assertCancelled(id);
    await setClock(sql, "1 hour");
    assert.deepEqual(await claim(sql), []);
  });
}

test("request · a failure is stored as an attempt, and its repetition is reported as already recorded", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await cancel(id);
  const result = { id, fence, outcome: "failed", error: "boom", error_class: "TypeError" };
  await settle(sql, [result]);
  assert.equal((await settle(sql, [result]))[0].outcome, "already");
  const [{ error }] = await sql`select error from messenger.attempts where message_id = ${id}`;
  assert.equal(error, "boom");
});

test("request · one batch settles cancelled and ordinary messages by separate rules", async () => {
  const { sql } = project();
  const rows = [await dispatchAndClaim(sql), await dispatchAndClaim(sql), await dispatchAndClaim(sql)];
  await cancel(rows[0].id);
  await cancel(rows[2].id);
  const outcomes = await settle(sql, [
    { id: rows[2].id, fence: rows[2].fence, outcome: "completed" },
    { id: rows[1].id, fence: rows[1].fence, outcome: "failed", error: "e" },
    { id: rows[0].id, fence: rows[0].fence, outcome: "failed", error: "e", retryable: false },
  ]);
  assert.deepEqual(outcomes.map(({ outcome }) => outcome), ["completed", "retry", "cancelled"]);
  await assertCancelled(rows[0].id);
});

for (
  const [who, meet] of [
    ["the next claim", () => claim(project().sql, { worker: "grace" })],
    ["the tick", () => call(project().sql, "messenger_tick")],
  ] as const
) {
  test(`request · the end of the lease makes it cancelled, found by ${who}`, async () => {
    const { sql } = project();
    const { id, fence } = await dispatchAndClaim(sql);
    await cancel(id);
    await setClock(sql, "2 minutes");
    await meet();
    await assertCancelled(id);
    const [{ outcome }] = await settle(sql, [{ id, fence, outcome: "completed" }]);
    assert.equal(outcome, "stale");
  });
}

test("request · a message with an expired lease can still be completed before a claim finds it", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await cancel(id);
  await setClock(sql, "2 minutes");
  assert.equal((await settle(sql, [{ id, fence, outcome: "completed" }]))[0].outcome, "completed");
});

test("request · on a pending message, where only a direct write can put one, it ends with the next claim", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await sql`update messenger_messages set cancel_requested_at = now() where id = ${id}`;
  assert.deepEqual(await claim(sql), []);
  await assertCancelled(id);
});

test("race · a cancel that waits for a claim finds the message running", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await using worker = session(project());
  await using operator = session(project());
  const pid = await waitLongForRows(operator);
  await worker`begin`;
  assert.equal((await claim(worker)).length, 1);
  const cancelling = callValue(operator, "messenger_cancel", { id });
  await untilPolling(sql, pid);
  await worker`commit`;
  assert.equal(await cancelling, "requested");
});

test("race · a cancel ends after waiting a quarter of a second, and nothing is changed", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await using other = session(project());
  await other`begin`;
  await other`select from messenger_messages where id = ${id} for update`;
  await sql`set statement_timeout = '2 s'`;
  await assertRejected(callValue(sql, "messenger_cancel", { id }), "SM_UNAVAILABLE", 503);
  await sql`reset statement_timeout`;
  await other`rollback`;
  assert.equal(await cancel(id), "cancelled");
});

test("race · a cancel does not wait for a foreign key of the project", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await using other = session(project());
  await other`begin`;
  await other`select from messenger_messages where id = ${id} for key share`;
  assert.equal(await cancel(id), "cancelled");
  await other`rollback`;
});

test("race · a claim skips a message that is being cancelled", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await using operator = session(project());
  await operator`begin`;
  assert.equal(await callValue(operator, "messenger_cancel", { id }), "cancelled");
  assert.deepEqual(await claim(sql), []);
  await operator`commit`;
  await assertCancelled(id);
});

test("cancel · service_role may, users may not", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  for (const role of ["anon", "authenticated"] as const) {
    await assert.rejects(asRole(sql, role, (tx) => callValue(tx, "messenger_cancel", { id })), { code: "42501" });
  }
  assert.equal(await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_cancel", { id })), "cancelled");
});
