// messenger_tick: rescue, expiry, pruning, the heartbeat, and concurrent ticks.
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
  dispatchMany,
  messageOf,
  setClock,
  settle,
} from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const tick = (args: Record<string, unknown> = {}, sql = project().sql) => callValue(sql, "messenger_tick", args);
const IDLE = { expanded: 0, failed: 0, rescued: 0, dead: 0, woken: 0, relayed: 0, pruned: 0 };

test("tick · an idle one returns zeros and updates the heartbeat", async () => {
  const { sql } = project();
  assert.deepEqual(await tick(), IDLE);
  assert.deepEqual(await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_tick")), IDLE);
  const [clock] =
    await sql`select ticks, last_tick_at > messenger.now() - interval '5 s' as fresh, last_error from messenger.clock`;
  assert.deepEqual(clock, { ticks: "2", fresh: true, last_error: null });
});

test("tick · a bad batch is rejected, null is the default", async () => {
  for (const batch of [0, -1, 10_001]) await assertRejected(tick({ batch }), "SM_BATCH");
  assert.deepEqual(await tick({ batch: null }), IDLE);
});

test("rescue · a message with an expired lease is pending again, counted, and handed out alone", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  const running = await dispatchAndClaim(sql, { queue: "other" }, { lease: "1 hour" });
  await dispatch(sql);
  await setClock(sql, "61 seconds");
  assert.deepEqual(await tick(), { ...IDLE, rescued: 1 });
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.retry_count, row.lease_losses, row.fence, row.error_class, row.locked_by], [
    "pending",
    1,
    1,
    "1",
    "LeaseExpired",
    null,
  ]);
  assert.equal((await messageOf(sql, running.id)).status, "processing");
  const [attempt] = await sql`select worker, error_class from messenger.attempts where message_id = ${id}`;
  assert.deepEqual(attempt, { worker: "ada", error_class: "LeaseExpired" });
  const rows = [await claim(sql), await claim(sql)].toSorted((a, b) => Number(a[0].solo) - Number(b[0].solo));
  assert.deepEqual([rows[1].length, rows[1][0].id, rows[1][0].solo, rows[1][0].fence], [1, id, true, "2"]);
  assert.deepEqual(await tick(), IDLE);
});

test("rescue · an exhausted message is moved to the dead letters with its attempts", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql, { max_retries: 0 });
  await setClock(sql, "61 seconds");
  assert.deepEqual(await tick(), { ...IDLE, dead: 1 });
  const deadLetter = await deadLetterOf(sql, id);
  assert.deepEqual([deadLetter.error_class, deadLetter.attempts.length, deadLetter.retry_count], [
    "LeaseExpired",
    1,
    1,
  ]);
});

test("rescue · expired messages, waiting or lost, fail without a dead letter", async () => {
  const { sql } = project();
  const expires_at = new Date(Date.now() + 30_000);
  const lost = await dispatchAndClaim(sql, { expires_at });
  const waiting = await dispatch(sql, { expires_at });
  const fresh = await dispatch(sql, { expires_at: new Date(Date.now() + 3_600_000) });
  await setClock(sql, "61 seconds");
  assert.deepEqual(await tick(), { ...IDLE, failed: 2 });
  for (const { id } of [lost, waiting]) {
    assert.deepEqual([(await messageOf(sql, id)).status, (await messageOf(sql, id)).error_class], [
      "failed",
      "Expired",
    ]);
  }
  assert.equal((await messageOf(sql, fresh.id)).status, "pending");
  assert.equal((await sql`select from messenger_failed_messages`).length, 0);
});

test("rescue · a running message past its expiry stays with its worker", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, { expires_at: new Date(Date.now() + 30_000) }, { lease: "1 hour" });
  await setClock(sql, "61 seconds");
  assert.deepEqual(await tick(), IDLE);
  assert.equal((await settle(sql, [{ id, fence, outcome: "completed" }]))[0].outcome, "completed");
});

test("rescue · a queue with more than a thousand due is scanned in parts, and the scan starts again", async () => {
  const { sql } = project();
  await dispatchMany(sql, 1000);
  await dispatchMany(sql, 1000);
  const { id } = await dispatch(sql);
  await sql`select * from messenger_claim_one(${id}, 'w')`;
  await setClock(sql, "61 seconds");
  assert.deepEqual([(await tick()).rescued, (await tick()).rescued, (await tick()).rescued], [0, 0, 1]);
  assert.equal((await sql`select from messenger.rescue_cursors`).length, 0);
  const [first] = await sql`select id from messenger_messages order by id limit 1`;
  await sql`select * from messenger_claim_one(${first.id}, 'w')`;
  await setClock(sql, "3 minutes");
  assert.equal((await tick()).rescued, 1);
});

test("rescue · every priority and queue is scanned", async () => {
  const { sql } = project();
  for (const priority of [1, 5, 10]) for (const queue of ["a", "b"]) await dispatch(sql, { priority, queue });
  for (const { id } of await sql`select id from messenger_messages`) {
    await sql`select * from messenger_claim_one(${id}, 'w')`;
  }
  await setClock(sql, "61 seconds");
  assert.equal((await tick()).rescued, 6);
});

test("rescue · a message that a worker has locked is left for the next tick", async () => {
  const { sql } = project();
  await using worker = session(project());
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  await worker`begin`;
  await settle(worker, [{ id, fence, outcome: "completed" }]);
  assert.deepEqual(await tick(), IDLE);
  await worker`commit`;
  assert.deepEqual(await tick(), IDLE);
  assert.equal((await messageOf(sql, id)).status, "completed");
});

/** Starts a rescue, holds it between its scan and its locks while `meanwhile` commits, and returns its result. */
async function rescueWhile(meanwhile: () => Promise<unknown>): Promise<Record<string, unknown>> {
  await using gate = session(project());
  await using rescuer = session(project());
  await gate.unsafe(`
    create schema if not exists slow;
    create or replace function slow.pass() returns boolean language plpgsql as $$
    begin
      perform pg_advisory_xact_lock_shared(4712);
      return true;
    end $$;
    do $$ begin
      execute replace(replace(pg_get_functiondef('messenger.rescue'::regproc), 'messenger.rescue(', 'slow.rescue('),
        'm.lock_expires_at < rescue.at as is_lost', 'slow.pass() and m.lock_expires_at < rescue.at as is_lost');
    end $$`);
  const [{ slow }] =
    await gate`select position('slow.pass' in prosrc) > 0 as slow from pg_proc where oid = 'slow.rescue'::regproc`;
  assert(slow, "the rescue scans for lost leases where this test expects it");
  const pid = await pidOf(rescuer);
  await gate`select pg_advisory_lock(4712)`;
  const rescuing = rescuer`select * from slow.rescue(messenger.now())`.execute();
  await untilBlocked(project().sql, pid);
  await meanwhile();
  await gate`select pg_advisory_unlock(4712)`;
  return { ...(await rescuing)[0] };
}

const NOBODY = { rescued: "0", dead: "0", finished: "0" };

test("rescue · a lease that its worker renews during the scan stays the worker's", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  assert.deepEqual(await rescueWhile(() => call(sql, "messenger_heartbeat", { leases: [{ id, fence }] })), NOBODY);
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.locked_by, row.retry_count, row.lease_losses], ["processing", "ada", 0, 0]);
  assert.equal((await sql`select from messenger.attempts`).length, 0);
});

test("rescue · a message that its worker settles during the scan stays settled", async () => {
  const { sql } = project();
  for (const outcome of ["completed", "released"]) {
    await setClock(sql, "0");
    const { id, fence } = await dispatchAndClaim(sql);
    await setClock(sql, "61 seconds");
    assert.deepEqual(await rescueWhile(() => settle(sql, [{ id, fence, outcome }])), NOBODY);
    const row = await messageOf(sql, id);
    assert.deepEqual([row.status, row.fence, row.retry_count], [outcome === "completed" ? outcome : "pending", "1", 0]);
  }
});

test("ticks · concurrent ones do no work twice", async () => {
  const { sql } = project();
  await dispatchMany(sql, 300);
  await claim(sql, { batch: 300 });
  await dispatchMany(sql, 50, { max_retries: 0, queue: "last" });
  await claim(sql, { batch: 50, queues: ["last"] });
  await setClock(sql, "61 seconds");
  const sessions = Array.from({ length: 4 }, () => session(project()));
  try {
    const all = await Promise.all(sessions.flatMap((own) => [tick({}, own), tick({}, own)]));
    const sum = (key: keyof typeof IDLE) => all.reduce((total, figures) => total + figures[key], 0);
    assert.deepEqual([sum("rescued"), sum("dead")], [300, 50]);
    const [{ most }] = await sql`select max(retry_count) as most from messenger_messages`;
    assert.equal(most, 1);
    assert.equal((await sql`select from messenger_failed_messages`).length, 50);
    assert.equal((await sql`select from messenger.attempts`).length, 300);
  } finally {
    await Promise.all(sessions.map((own) => own.end()));
  }
});

test("ticks · one that finds the heartbeat's row locked does not wait for it", async () => {
  await using other = session(project());
  await other`begin`;
  await other`select from messenger.clock for update`;
  assert.deepEqual(await tick(), IDLE);
  const { sql } = project();
  assert.equal((await sql`select from messenger.ticks`).length, 1, "it is counted all the same");
  assert.deepEqual([...await sql`select step, error from messenger.step_errors`], []);
  await other`rollback`;
});
