// messenger_heartbeat: a lease is extended, and only its owner's.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import {
  call,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  messageOf,
  secondsUntil,
  setClock,
  settle,
} from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const beat = (leases: unknown[], args: Record<string, unknown> = {}, sql = project().sql) =>
  call(sql, "messenger_heartbeat", { leases, ...args });

test("heartbeat · the lease counts from now, and no other worker gets the message", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "50 seconds");
  assert.deepEqual(await beat([{ id, fence }], { lease: "2 minutes" }), [{
    id,
    outcome: "extended",
    cancel_requested: false,
  }]);
  assert(Math.abs(await secondsUntil(sql, (await messageOf(sql, id)).lock_expires_at) - 120) < 5);
  await setClock(sql, "160 seconds");
  assert.deepEqual(await claim(sql, { worker: "bob" }), []);
  assert.equal((await messageOf(sql, id)).fence, "1");
});

test("heartbeat · a null lease is 60 seconds", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, {}, { lease: "1 hour" });
  await beat([{ id, fence }], { lease: null });
  assert(Math.abs(await secondsUntil(sql, (await messageOf(sql, id)).lock_expires_at) - 60) < 5);
});

test("heartbeat · progress is stored, kept if none is sent, and replaced by a marker if it is too large", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await beat([{ id, fence, progress: { done: 3, of: 10 } }]);
  await beat([{ id, fence }]);
  assert.deepEqual((await messageOf(sql, id)).progress, { done: 3, of: 10 });
  await beat([{ id, fence, progress: { text: "x".repeat(70_000) } }]);
  assert.equal((await messageOf(sql, id)).progress.symphony_dropped, "larger than 64 KB");
});

test("heartbeat · stale for another fence, another state and a missing message; nothing changes", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const pending = await dispatch(sql, { delay: "1 hour" });
  const before = await messageOf(sql, id);
  const replies = await beat([{ id, fence: 2, progress: { evil: true } }, { id, fence: null }, {
    id: pending.id,
    fence: 0,
  }, { id: crypto.randomUUID(), fence: 1 }]);
  assert.deepEqual(replies.map(({ outcome }) => outcome), ["stale", "stale", "stale", "stale"]);
  assert.deepEqual(await messageOf(sql, id), before);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  assert.equal((await beat([{ id, fence }]))[0].outcome, "stale");
});

test("heartbeat · stale after the lease was taken over, extended while it has only expired", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  assert.equal((await beat([{ id, fence }]))[0].outcome, "extended");
  await setClock(sql, "5 minutes");
  await claim(sql, { worker: "bob" });
  assert.equal((await beat([{ id, fence, progress: { late: true } }]))[0].outcome, "stale");
  assert.deepEqual([(await messageOf(sql, id)).progress, (await messageOf(sql, id)).locked_by], [null, "bob"]);
});

test("heartbeat · returns results in order, duplicates too, and reports a cancel request", async () => {
  const { sql } = project();
  const [a, b] = await dispatchMany(sql, 2);
  await claim(sql);
  await sql`update messenger_messages set cancel_requested_at = now() where id = ${b}`;
  const replies = await beat([{ id: b, fence: 1 }, { id: a, fence: 1 }, { id: b, fence: 1 }, { id: b, fence: 2 }]);
  assert.deepEqual(replies.map((row) => Object.values(row)), [
    [b, "extended", true],
    [a, "extended", false],
    [b, "extended", true],
    [b, "stale", false],
  ]);
});

test("heartbeat · service_role may", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const [reply] = await asRole(
    sql,
    "service_role",
    (tx) => call(tx, "messenger_heartbeat", { leases: [{ id, fence }] }),
  );
  assert.equal(reply.outcome, "extended");
});

test("heartbeat · bad arguments are rejected", async () => {
  const { sql } = project();
  for (const leases of ["null", "{}", "5"]) {
    await assertRejected(sql.unsafe(`select * from messenger_heartbeat('${leases}')`), "SM_LEASE");
  }
  await assertRejected(sql`select * from messenger_heartbeat(null)`, "SM_LEASE");
  for (const lease of ["0", "-1 s", "13 hours"]) {
    await assertRejected(sql`select * from messenger_heartbeat('[]', ${lease}::interval)`, "SM_LEASE");
  }
  const many = Array.from({ length: 1001 }, () => ({ id: crypto.randomUUID(), fence: 1 }));
  await assertRejected(beat(many), "SM_BATCH_TOO_LARGE", 413);
  assert.deepEqual(await beat([]), []);
});

test("race · a heartbeat during a claim of the lost lease is locked, and stale after its commit", async () => {
  await using taker = session(project());
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  await taker`begin`;
  await claim(taker, { worker: "bob" });
  assert.equal((await beat([{ id, fence }]))[0].outcome, "locked");
  await taker`commit`;
  assert.equal((await beat([{ id, fence }]))[0].outcome, "stale");
});

test("race · a heartbeat extends the unlocked leases, and reports a cancel request for a locked row", async () => {
  await using holder = session(project());
  const { sql } = project();
  const [a, b] = await dispatchMany(sql, 2);
  const leases = (await claim(sql)).map(({ id, fence }) => ({ id, fence }));
  await sql`select messenger_cancel(${a})`;
  const before = await messageOf(sql, a);
  await setClock(sql, "30 seconds");
  await holder`begin`;
  await holder`select from messenger_messages where id = ${a} for update`;
  assert.deepEqual(
    (await beat(leases.toReversed())).map(({ id, outcome, cancel_requested }) => [id, outcome, cancel_requested]),
    [
      [b, "extended", false],
      [a, "locked", true],
    ],
  );
  await holder`rollback`;
  assert.deepEqual(await messageOf(sql, a), before);
  assert.deepEqual((await beat(leases)).map(({ outcome }) => outcome), ["extended", "extended"]);
});

test("race · forty leases on locked rows do not block the extension of others", async () => {
  await using holder = session(project());
  const { sql } = project();
  const ids = await dispatchMany(sql, 41);
  const leases = (await claim(sql, { batch: 41 })).map(({ id, fence }) => ({ id, fence }));
  await holder`begin`;
  await holder`select from messenger_messages where id <> ${ids[40]} for update`;
  const beats = await beat(leases);
  assert.deepEqual(beats.map(({ outcome }) => outcome), [...Array.from({ length: 40 }, () => "locked"), "extended"]);
  await holder`rollback`;
});

test("race · a heartbeat does not wait for a foreign key of the project", async () => {
  await using holder = session(project());
  const { id, fence } = await dispatchAndClaim(project().sql);
  await holder`begin`;
  await holder`select from messenger_messages where id = ${id} for key share`;
  assert.equal((await beat([{ id, fence }]))[0].outcome, "extended");
  await holder`rollback`;
});

test("race · heartbeats and settles in opposite orders do not deadlock", async () => {
  await using first = session(project());
  await using second = session(project());
  await dispatchMany(project().sql, 100);
  const rows = await claim(project().sql, { batch: 100 });
  const leases = rows.map(({ id, fence }) => ({ id, fence }));
  for (let round = 0; round < 10; round++) {
    await Promise.all([beat(leases, {}, first), beat(leases.toReversed(), {}, second)]);
  }
  const outcomes = leases.map((lease) => ({ ...lease, outcome: "completed" }));
  const [, replies] = await Promise.all([beat(leases.toReversed(), {}, first), settle(second, outcomes)]);
  assert(replies.every(({ outcome }) => outcome === "completed"));
});
