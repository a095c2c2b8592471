// Single outcomes, for callers in SQL: complete, fail, snooze, release, and strict completion in the caller's
// transaction.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import {
  call,
  callValue,
  claim,
  deadLetterOf,
  dispatch,
  dispatchAndClaim,
  messageOf,
  secondsUntil,
  setClock,
} from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

test("complete · completed, then already; stale with another fence; unknown without a message", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  assert.equal(await callValue(sql, "messenger_complete", { id, fence: "9" }), "stale");
  assert.equal(await callValue(sql, "messenger_complete", { id, fence: null }), "stale");
  assert.equal((await messageOf(sql, id)).status, "processing");
  assert.equal(await callValue(sql, "messenger_complete", { id, fence, result: { done: true } }), "completed");
  assert.equal(await callValue(sql, "messenger_complete", { id, fence, result: { done: false } }), "already");
  assert.deepEqual((await messageOf(sql, id)).result, { done: true });
  assert.equal(await callValue(sql, "messenger_complete", { id: crypto.randomUUID(), fence }), "unknown");
});

test("complete · a fence of another message has no effect", async () => {
  const { sql } = project();
  const mine = await dispatchAndClaim(sql);
  await dispatch(sql);
  const [other] = await claim(sql, { worker: "bob" });
  await callValue(sql, "messenger_release", { id: other.id, fence: other.fence });
  const [again] = await claim(sql, { worker: "bob" });
  assert.deepEqual([mine.fence, again.fence], ["1", "2"]);
  assert.equal(await callValue(sql, "messenger_complete", { id: mine.id, fence: again.fence }), "stale");
});

test("complete · changes only the named row", async () => {
  const { sql } = project();
  const ids = [];
  for (let n = 0; n < 3; n++) ids.push((await dispatch(sql)).id);
  const rows = await claim(sql);
  await callValue(sql, "messenger_complete", { id: ids[1], fence: rows[1].fence });
  const states = await sql`select status from messenger_messages order by id`;
  assert.deepEqual(states.map(({ status }) => status), ["processing", "completed", "processing"]);
});

test("strict · a lost lease raises an error, so the business writes of the transaction are rolled back", async () => {
  const { sql } = project();
  await using worker = session(project());
  await sql`create table if not exists public.ledger (message uuid)`;
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  const [taken] = await claim(sql, { worker: "bob" });
  const late = worker.begin(async (transaction) => {
    await transaction`insert into public.ledger values (${id})`;
    await callValue(transaction, "messenger_complete", { id, fence, strict: true });
  });
  assert((await assertRejected(late, "SM_STALE_LEASE", 409)).includes(id));
  assert.equal((await sql`select from public.ledger`).length, 0);
  await worker.begin(async (transaction) => {
    await transaction`insert into public.ledger values (${id})`;
    assert.equal(
      await callValue(transaction, "messenger_complete", { id, fence: taken.fence, strict: true }),
      "completed",
    );
  });
  assert.equal((await sql`select from public.ledger`).length, 1);
  await sql`drop table public.ledger`;
});

test("strict · an unknown message raises an error, a repeated completion does not", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await assertRejected(
    callValue(sql, "messenger_complete", { id: crypto.randomUUID(), fence, strict: true }),
    "SM_STALE_LEASE",
    409,
  );
  assert.equal(await callValue(sql, "messenger_complete", { id, fence, strict: true }), "completed");
  assert.equal(await callValue(sql, "messenger_complete", { id, fence, strict: true }), "already");
});

test("strict · a completion that rolls back leaves the message with its worker", async () => {
  const { sql } = project();
  await using worker = session(project());
  const { id, fence } = await dispatchAndClaim(sql);
  await worker`begin`;
  assert.equal(await callValue(worker, "messenger_complete", { id, fence, strict: true }), "completed");
  await worker`rollback`;
  assert.deepEqual([(await messageOf(sql, id)).status, (await messageOf(sql, id)).fence], ["processing", "1"]);
});

test("fail · retry with its time, dead for good, stale and unknown", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const [retry] = await call(sql, "messenger_fail", { id, fence, error: "e", error_class: "C", error_trace: "t" });
  assert.deepEqual([retry.outcome, retry.available_at], ["retry", (await messageOf(sql, id)).available_at]);
  assert.deepEqual(await call(sql, "messenger_fail", { id, fence, error: "e" }), [{
    outcome: "already",
    available_at: null,
  }]);
  assert.deepEqual(await call(sql, "messenger_fail", { id, fence: 9, error: "e" }), [{
    outcome: "stale",
    available_at: null,
  }]);
  assert.deepEqual(await call(sql, "messenger_fail", { id: crypto.randomUUID(), fence, error: "e" }), [{
    outcome: "unknown",
    available_at: null,
  }]);
  const other = await dispatchAndClaim(sql, { queue: "other" });
  assert.deepEqual(
    await call(sql, "messenger_fail", { id: other.id, fence: other.fence, error: "no", retryable: false }),
    [{ outcome: "dead", available_at: null }],
  );
  assert.equal((await deadLetterOf(sql, other.id)).error, "no");
});

test("fail · retry_after overrides the policy's delay", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const [{ available_at }] = await call(sql, "messenger_fail", { id, fence, error: "e", retry_after: "2 hours" });
  const seconds = await secondsUntil(sql, available_at);
  assert(seconds > 7190 && seconds <= 7200, `${seconds}`);
});

test("fail · a retry_after cannot save a message without retries left", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, { max_retries: 0 });
  const [{ outcome }] = await call(sql, "messenger_fail", { id, fence, error: "e", retry_after: "2 hours" });
  assert.equal(outcome, "dead");
});

test("fail, snooze · a delay out of range is set to its limit, and the outcome is recorded", async () => {
  const { sql } = project();
  const cases: [wait: string, seconds: number][] = [["-1 s", 0], ["-200 years", 0], ["200 years", 3_155_760_000]];
  for (const [wait, seconds] of cases) {
    const failed = await dispatchAndClaim(sql);
    const snoozed = await dispatchAndClaim(sql);
    const [{ outcome }] = await call(sql, "messenger_fail", {
      id: failed.id,
      fence: failed.fence,
      error: "e",
      retry_after: wait,
    });
    assert.deepEqual([
      outcome,
      await callValue(sql, "messenger_snooze", { id: snoozed.id, fence: snoozed.fence, delay: wait }),
    ], ["retry", "snoozed"]);
    for (const { id } of [failed, snoozed]) {
      const off = await secondsUntil(sql, (await messageOf(sql, id)).available_at) - seconds;
      assert(off > -10 && off <= 0, `${wait}: ${off}`);
    }
    await sql`truncate messenger_messages`;
  }
});

test("snooze · delays without using a retry; stale for everything else", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  assert.equal(await callValue(sql, "messenger_snooze", { id, fence: 9, delay: "1 hour" }), "stale");
  assert.equal(await callValue(sql, "messenger_snooze", { id, fence, delay: "1 hour" }), "snoozed");
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.retry_count], ["pending", 0]);
  assert(await secondsUntil(sql, row.available_at) > 3590);
  assert.equal(await callValue(sql, "messenger_snooze", { id, fence, delay: "2 hours" }), "stale");
  assert.equal(await callValue(sql, "messenger_snooze", { id: crypto.randomUUID(), fence, delay: "1 s" }), "stale");
});

test("release · releases unstarted messages; stale for everything else", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  assert.equal(await callValue(sql, "messenger_release", { id, fence: 9 }), "stale");
  assert.equal(await callValue(sql, "messenger_release", { id, fence }), "released");
  assert.equal(await callValue(sql, "messenger_release", { id, fence }), "stale");
  const [row] = await claim(sql);
  assert.deepEqual([row.id, row.fence, row.retry_count, row.solo], [id, "2", 0, false]);
});

test("outcomes · service_role may report each of them", async () => {
  const { sql } = project();
  const calls: [string, Record<string, unknown>][] = [
    ["messenger_complete", {}],
    ["messenger_fail", { error: "e" }],
    ["messenger_snooze", { delay: "1 hour" }],
    ["messenger_release", {}],
  ];
  for (const [at, [name, args]] of calls.entries()) {
    const { id, fence } = await dispatchAndClaim(sql, { queue: `q${at}` });
    const [row] = await asRole(sql, "service_role", (tx) => call(tx, name, { id, fence, ...args }));
    assert(["completed", "retry", "snoozed", "released"].includes(Object.values(row)[0] as string), name);
  }
});
