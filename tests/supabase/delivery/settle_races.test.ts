// Outcomes that wait for another session's change of the same message: the change counts, and the outcome is stale.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { claim, dispatchAndClaim, messageOf, type Row, setClock, settle } from "../bus.ts";
import { pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true, isolation: "read committed" });
// A settle waits 50 ms for a lock before it records its outcomes one by one, too short for a test's other session.
Deno.test.beforeAll(async () => {
  await project().sql`alter function messenger.settle_outcomes set lock_timeout = '10 s'`;
});
Deno.test.beforeEach(() => empty(project().sql));

/** Settles while another session has changed the row in a transaction that commits once the settle waits for it. */
async function settleDuring(change: (other: Sql) => Promise<unknown>, outcome: Row): Promise<string> {
  await using other = session(project());
  await using worker = session(project());
  await worker`set messenger.settle_wait = '10 s'`;
  const pid = await pidOf(worker);
  await other`begin`;
  await change(other);
  const settling = settle(worker, [outcome]);
  await untilBlocked(project().sql, pid);
  await other`commit`;
  return (await settling)[0].outcome;
}

for (const [retention, kind] of [["7 days", "retention"], ["0", "retention 0"]]) {
  test(`${kind} · a completion that waits for the next claim of a lost lease is stale`, async () => {
    const { sql } = project();
    await sql`update messenger_transports set config = jsonb_build_object('retention', ${retention}::text)`;
    const { id, fence } = await dispatchAndClaim(sql);
    await setClock(sql, "61 seconds");
    const outcome = await settleDuring((other) => claim(other, { worker: "bob" }), { id, fence, outcome: "completed" });
    const { status, locked_by } = await messageOf(sql, id);
    assert.deepEqual([outcome, status, locked_by], ["stale", "processing", "bob"]);
  });

  test(`${kind} · a completion that waits for a release of its delivery is stale`, async () => {
    const { sql } = project();
    await sql`update messenger_transports set config = jsonb_build_object('retention', ${retention}::text)`;
    const { id, fence } = await dispatchAndClaim(sql);
    const release = (other: Sql) => settle(other, [{ id, fence, outcome: "released" }]);
    const outcome = await settleDuring(release, { id, fence, outcome: "completed" });
    assert.deepEqual([outcome, (await messageOf(sql, id)).status], ["stale", "pending"]);
  });
}

test("settle · a completion waits for a row that another session has locked and left as it was", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const lock = (other: Sql) => other`select from messenger_messages where id = ${id} for update`;
  const outcome = await settleDuring(lock, { id, fence, outcome: "completed" });
  assert.deepEqual([outcome, (await messageOf(sql, id)).status], ["completed", "completed"]);
});

test("settle · a snooze that waits for a release of its delivery is stale, and moves no message", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const before = await messageOf(sql, id);
  const release = (other: Sql) => settle(other, [{ id, fence, outcome: "released" }]);
  const outcome = await settleDuring(release, { id, fence, outcome: "snoozed", delay_ms: 3_600_000 });
  assert.deepEqual([outcome, (await messageOf(sql, id)).available_at], ["stale", before.available_at]);
});

test("settle · a snooze that waits for the completion of its delivery is stale", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const complete = (other: Sql) => settle(other, [{ id, fence, outcome: "completed" }]);
  const outcome = await settleDuring(complete, { id, fence, outcome: "snoozed", delay_ms: 0 });
  assert.deepEqual([outcome, (await messageOf(sql, id)).status], ["stale", "completed"]);
});
