// Concurrent claims: disjoint sets, no waiting, and a row that changed between a claim's scan and its lock is neither
// lost nor taken twice.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch, dispatchAndClaim, dispatchMany, messageOf, setClock, settle } from "../bus.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const ids = (rows: { id: string }[]) => rows.map(({ id }) => id);

test("race · eight concurrent workers claim disjoint sets, and together everything", async () => {
  const all = await dispatchMany(project().sql, 400);
  const sessions = Array.from({ length: 8 }, () => session(project()));
  try {
    const taken = await Promise.all(sessions.map(async (sql, n) => {
      const own: string[] = [];
      for (;;) {
        const rows = await claim(sql, { worker: `w${n}`, batch: 7 });
        if (rows.length === 0) return own;
        own.push(...ids(rows));
      }
    }));
    assert.equal(taken.flat().length, 400);
    assert.deepEqual(taken.flat().toSorted(), all.toSorted());
    const [{ odd }] = await project().sql`select count(*) as odd from messenger_messages where fence <> 1`;
    assert.equal(odd, "0");
  } finally {
    await Promise.all(sessions.map((sql) => sql.end()));
  }
});

test("race · a claim skips the rows of another's open claim, and does not wait", async () => {
  await using first = session(project());
  await using second = session(project());
  // Before the lock timeout, after which a claim would continue without the locked rows.
  await second`set statement_timeout = '5 s'`;
  const all = await dispatchMany(project().sql, 6);
  await first`begin`;
  assert.deepEqual(ids(await claim(first, { batch: 4 })), all.slice(0, 4));
  assert.deepEqual(ids(await claim(second, { worker: "bob" })), all.slice(4));
  await first`rollback`;
  assert.deepEqual(ids(await claim(second, { worker: "bob" })), all.slice(0, 4));
});

test("race · a claim skips a row that another session has locked", async () => {
  await using other = session(project());
  const [a, b, c] = await dispatchMany(project().sql, 3);
  await other`begin`;
  await other`select from messenger_messages where id = ${b} for update`;
  assert.deepEqual(ids(await claim(project().sql)), [a, c]);
  await other`rollback`;
});

test("race · of two claims of a lost lease, one returns it, the other nothing, with one attempt", async () => {
  await using first = session(project());
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  await first`begin`;
  assert.deepEqual(ids(await claim(first, { worker: "one" })), [id]);
  assert.deepEqual(await claim(sql, { worker: "two" }), []);
  await first`commit`;
  assert.deepEqual(await claim(sql, { worker: "two" }), []);
  assert.equal((await messageOf(sql, id)).fence, "2");
  assert.equal((await sql`select from messenger.attempts`).length, 1);
});

// The scan of a claim is stopped between reading a row and locking it by an advisory lock inside a check of the row's
// type, which the plan evaluates before its lock. A function of the test compares the worker's announced types and
// waits.
async function slowTypes(sql: ReturnType<typeof session>) {
  await sql.unsafe(`
    create schema if not exists slow;
    create or replace function slow.wait(types text[], type text) returns boolean language plpgsql as $$
    begin
      perform pg_advisory_lock_shared(4711);
      perform pg_advisory_unlock_shared(4711);
      return type = any (types);
    end $$;
    do $$ begin
      if to_regproc('slow.claim_messages') is null then
        execute replace(replace(pg_get_functiondef(p.oid), 'messenger.find_due(', 'slow.find_due('),
          'm.message_type = any (types)', 'slow.wait(types, m.message_type)')
        from pg_proc p where p.oid = 'messenger.find_due'::regproc;
        execute replace(replace(pg_get_functiondef(p.oid), 'messenger.take_due(', 'slow.take_due('),
          'm.message_type = any (types)', 'slow.wait(types, m.message_type)')
        from pg_proc p where p.oid = 'messenger.take_due'::regproc;
        execute replace(replace(replace(pg_get_functiondef(p.oid), 'messenger.claim_messages(', 'slow.claim_messages('),
          'messenger.find_due(', 'slow.find_due('), 'messenger.take_due(', 'slow.take_due(')
        from pg_proc p where p.oid = 'messenger.claim_messages'::regproc;
      end if;
    end $$`);
  const [{ slow }] =
    await sql`select position('slow.wait' in prosrc) > 0 as slow from pg_proc where oid = 'slow.find_due'::regproc`;
  assert(slow, "the claim compares types where this test expects it");
}

/** Starts a claim, holds it between its scan and its lock while `meanwhile` commits, and returns the claimed rows. */
async function claimWhile(meanwhile: () => Promise<unknown>): Promise<string[]> {
  await using gate = session(project());
  await using claimer = session(project());
  await slowTypes(gate);
  const pid = await pidOf(claimer);
  // A scan that takes long is rolled back and repeated in another way.
  await claimer`set messenger.scan_limit = '1 hour'`;
  await gate`select pg_advisory_lock(4711)`;
  const claiming = claimer`
    select * from unnest(slow.claim_messages('slow', 10, '60 s', null, null, array['Greeting'], true))`.execute();
  await untilBlocked(project().sql, pid);
  await meanwhile();
  await gate`select pg_advisory_unlock(4711)`;
  return (await claiming).map(({ id }) => id);
}

test("scan · a row that another session claimed meanwhile is not claimed a second time", async () => {
  const { sql } = project();
  const [a, b] = await dispatchMany(sql, 2);
  const taken = await claimWhile(() => claim(sql, { worker: "fast", batch: 1 }));
  assert.deepEqual(taken, [b]);
  assert.deepEqual([(await messageOf(sql, a)).locked_by, (await messageOf(sql, a)).fence], ["fast", "1"]);
});

test("scan · a row completed meanwhile is not handed out", async () => {
  const { sql } = project();
  const [a, b] = await dispatchMany(sql, 2);
  const taken = await claimWhile(async () => {
    const [{ id, fence }] = await claim(sql, { worker: "fast", batch: 1 });
    await settle(sql, [{ id, fence, outcome: "completed" }]);
  });
  assert.deepEqual(taken, [b]);
  assert.equal((await messageOf(sql, a)).status, "completed");
});

test("scan · a row that was claimed and released meanwhile is not lost and not claimed twice", async () => {
  const { sql } = project();
  const [a, b] = await dispatchMany(sql, 2);
  const taken = await claimWhile(async () => {
    const [{ id, fence }] = await claim(sql, { worker: "fast", batch: 1 });
    await settle(sql, [{ id, fence, outcome: "released" }]);
  });
  const rest = ids(await claim(sql));
  assert.deepEqual([...taken, ...rest].toSorted(), [a, b].toSorted());
  assert.deepEqual((await messageOf(sql, a)).fence, "2");
});

test("scan · a row updated many times meanwhile, onto other pages, is claimed at its new position", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  const taken = await claimWhile(async () => {
    for (let n = 0; n < 50; n++) {
      await sql`update messenger_messages set metadata = jsonb_build_object('pad', ${
        "x".repeat(1000) + n
      }::text) where id = ${id}`;
    }
  });
  assert.deepEqual(taken, [id]);
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.fence, row.metadata.pad.length], ["processing", "1", 1002]);
});

test("scan · a row snoozed meanwhile waits for its time", async () => {
  const { sql } = project();
  const [a, b] = await dispatchMany(sql, 2);
  const taken = await claimWhile(async () => {
    const [{ id, fence }] = await claim(sql, { worker: "fast", batch: 1 });
    await settle(sql, [{ id, fence, outcome: "snoozed", delay_ms: 3_600_000 }]);
  });
  assert.deepEqual(taken, [b]);
  assert.deepEqual([(await messageOf(sql, a)).status, (await messageOf(sql, a)).fence], ["pending", "1"]);
});

test("scan · a row deleted meanwhile is no error, and no other message is returned in its place", async () => {
  const { sql } = project();
  const [a, b] = await dispatchMany(sql, 2);
  const taken = await claimWhile(async () => {
    await sql`delete from messenger_messages where id = ${a}`;
    await dispatchMany(sql, 2, { type: "Other" });
  });
  assert.deepEqual(taken, [b]);
  const [{ touched }] =
    await sql`select count(*) as touched from messenger_messages where message_type = 'Other' and fence > 0`;
  assert.equal(touched, "0");
});

test("scan · a lost lease that its worker renewed meanwhile stays the worker's", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  const taken = await claimWhile(() => call(sql, "messenger_heartbeat", { leases: [{ id, fence }] }));
  assert.deepEqual(taken, []);
  const row = await messageOf(sql, id);
  assert.deepEqual([row.fence, row.retry_count, row.lease_losses], ["1", 0, 0]);
  assert.equal((await sql`select from messenger.attempts`).length, 0);
});

test("scan · a lost lease that the ticker rescued meanwhile is handed out once, counted once", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  const taken = await claimWhile(() => call(sql, "messenger_tick"));
  const rest = ids(await claim(sql));
  assert.deepEqual([...taken, ...rest], [id]);
  const row = await messageOf(sql, id);
  assert.deepEqual([row.fence, row.retry_count, row.lease_losses], ["2", 1, 1]);
  assert.equal((await sql`select from messenger.attempts`).length, 1);
});

test("race · many claims, releases, snoozes and completions hand nothing out twice and lose nothing", async () => {
  const total = 300;
  await dispatchMany(project().sql, total);
  const sessions = Array.from({ length: 6 }, () => session(project()));
  const completed: string[] = [];
  const holders = new Map<string, number>();
  try {
    await Promise.all(sessions.map(async (sql, n) => {
      for (let round = 0; completed.length < total && round < 500; round++) {
        const rows = await claim(sql, { worker: `w${n}`, batch: 5 });
        for (const { id } of rows) {
          assert(!holders.has(id), "handed out while held");
          holders.set(id, n);
        }
        const outcomes = rows.map(({ id, fence }, at) => ({
          id,
          fence,
          outcome: ["completed", "released", "snoozed"][(round + at) % 3],
        }));
        for (const { id } of rows) holders.delete(id);
        const replies = await settle(sql, outcomes);
        assert.deepEqual(replies.map(({ outcome }) => outcome), outcomes.map(({ outcome }) => outcome));
        completed.push(...replies.filter(({ outcome }) => outcome === "completed").map(({ id }) => id));
      }
    }));
    assert.deepEqual([completed.length, new Set(completed).size], [total, total]);
  } finally {
    await Promise.all(sessions.map((sql) => sql.end()));
  }
});

test("settle · is repeated when a heartbeat has locked the row, and keeps the heartbeat's change", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  for (const result of ["snoozed", "completed"]) {
    const [{ fence: current }] = result === "snoozed" ? [{ fence }] : await claimAgain(id);
    await using first = session(project());
    await first`begin`;
    await call(first, "messenger_heartbeat", { leases: [{ id, fence: current, progress: { half: true } }] });
    const outcomes = [{ id, fence: current, outcome: result }];
    assert.equal((await settle(sql, outcomes))[0].outcome, "locked");
    await first`commit`;
    assert.equal((await settle(sql, outcomes))[0].outcome, result);
    const row = await messageOf(sql, id);
    assert.deepEqual([row.status, row.progress, row.locked_by], [
      result === "snoozed" ? "pending" : "completed",
      { half: true },
      null,
    ]);
  }
});

/** Claims the message that was delayed until now. */
async function claimAgain(id: string) {
  const rows = await claim(project().sql);
  assert.deepEqual(ids(rows), [id]);
  return rows;
}
