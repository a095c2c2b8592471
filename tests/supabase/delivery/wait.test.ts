// The wait of messenger_exchange: which calls wait, what ends a wait, and that nothing else is held up by it.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { assertRejected } from "../assert_rejected.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, dispatch, dispatchAndClaim, messageOf, type Row, setClock, type SqlClient } from "../bus.ts";
import { limitLockWaits, pidOf, untilPolling } from "../until_blocked.ts";

const project = useProject({ testClock: true, isolation: "read committed" });
/** A new name per test, because a session does not store the same poll twice within 20 ms. */
let ada: string;
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(async () => {
  const { sql } = project();
  ada = `ada-${crypto.randomUUID()}`;
  await empty(sql);
  await sql`insert into messenger.poll_slots values (1), (2) on conflict do nothing`;
});

const exchange = (sql: SqlClient, args: Record<string, unknown>): Promise<Row> =>
  callValue(sql, "messenger_exchange", { outcomes: [], worker: ada, ...args });

/** The worker's row covers every wait, however late its next poll is. */
const announce = (worker = ada) =>
  project().sql`
    insert into messenger.workers (worker, started_at, polled_at, active_until)
    values (${worker}, messenger.now(), messenger.now(), 'infinity')
    on conflict (worker) do update set active_until = 'infinity'`;

/** True after a call that waited and claimed nothing: every other call stores its poll. */
async function hasWaited(worker = ada): Promise<boolean> {
  const [row] = await project().sql`
    select active_until = 'infinity' as unchanged from messenger.workers where worker = ${worker}`;
  return row.unchanged === true;
}

const isWaiting = async (pid: number): Promise<boolean> => {
  const [row] = await project().sql`
    select state = 'active' and query like '%messenger_exchange%' as waiting from pg_stat_activity where pid = ${pid}`;
  return row.waiting;
};

const freeSlots = async () => (await project().sql`select from messenger.poll_slots for update skip locked`).length;

/**
 * Starts a poll that waits for a second, and acts during its wait. A machine may be too slow for that once, not ten
 * times.
 * @param endsEarly whether the poll must hand out a message before its last look
 * @returns the reply to the poll
 */
async function duringWait(act: () => Promise<unknown>, endsEarly = false): Promise<Row> {
  const { sql } = project();
  for (let attempt = 1; attempt <= 10; attempt++) {
    await using own = session(project());
    const pid = await pidOf(own);
    await announce();
    const reply = exchange(own, { wait: "1 second" });
    await untilPolling(sql, pid);
    const [{ end }] = await sql`
      select query_start + interval '1 second' as end from pg_stat_activity where pid = ${pid}`;
    let hasEnded = false;
    reply.then(() => hasEnded = true);
    await act();
    const isInTime = !hasEnded;
    const { claimed } = await reply;
    const wasEarly = claimed.length > 0 && (await messageOf(sql, claimed[0].id)).locked_at < end;
    if (endsEarly ? wasEarly : isInTime) return { claimed };
    await sql`truncate messenger_messages`;
  }
  throw new Error("No poll of ten met the message in time.");
}

test("wait · a message dispatched while a poll waits is handed out by that poll", async () => {
  const { sql } = project();
  let sent: Row;
  const { claimed } = await duringWait(async () => sent = await dispatch(sql, { payload: { n: 1 } }), true);
  assert.deepEqual(claimed.map(({ id, fence }: Row) => [id, fence]), [[sent!.id, 1]]);
  const { status, locked_by } = await messageOf(sql, sent!.id);
  assert.deepEqual([status, locked_by, await freeSlots()], ["processing", ada, 2]);
});

test("wait · a message that is due claims without a wait, and a filled batch announces none", async () => {
  const { sql } = project();
  await announce();
  for (const batch of [2, 1]) {
    const { id } = await dispatch(sql);
    const { claimed } = await exchange(sql, { wait: "1 second", batch });
    const [row] = await sql`select active_until is null as idle from messenger.workers where worker = ${ada}`;
    assert.deepEqual([claimed[0].id, row.idle], [id, batch === 1]);
  }
});

test("wait · ends after its interval with nothing, and writes no row", async () => {
  await announce();
  assert.deepEqual(await exchange(project().sql, { wait: "20 ms" }), { settled: [], claimed: [] });
  assert.deepEqual([await hasWaited(), await freeSlots()], [true, 2]);
});

test("wait · a worker whose row does not cover the wait returns at once, and its next call waits", async () => {
  await using sql = session(project());
  const rowOf = async () => {
    const [row] = await sql`
      select *, active_until - polled_at = '1250 ms' as announced from messenger.workers where worker = ${ada}`;
    return row;
  };
  await sql`update messenger.workers set active_until = null`;
  await exchange(sql, { wait: "1 second" });
  const first = await rowOf();
  assert.equal(first.announced, true, "a killed worker is idle 250 ms after the wait that it announced");
  await exchange(sql, { wait: "10 ms" });
  assert.deepEqual(await rowOf(), first, "the second call waited");
  await exchange(sql, {});
  assert.equal((await rowOf()).active_until, null, "a call without a wait withdraws it");
  await sql`update messenger.workers set active_until = messenger.now() + interval '500 ms'`;
  await exchange(sql, { wait: "1 second" });
  assert.equal((await rowOf()).announced, true, "a shorter announcement does not cover it");
  await exchange(sql, { wait: "1 ms", types: ["Other"] });
  assert.deepEqual((await rowOf()).types, ["Other"], "nor one for other types");
});

test("wait · of ten polls two wait, and the others return at once", async () => {
  for (let attempt = 1;; attempt++) {
    const names = Array.from({ length: 10 }, (_, n) => `w${n}`);
    const sessions = names.map(() => session(project()));
    try {
      for (const name of names) await announce(name);
      const polls: Promise<Row>[] = [];
      const pids = await Promise.all(sessions.map(pidOf));
      for (const n of [0, 1]) {
        polls.push(exchange(sessions[n], { worker: names[n], wait: "1 second" }));
        await untilPolling(project().sql, pids[n]);
      }
      await Promise.all(names.slice(2).map((worker, n) => exchange(sessions[n + 2], { worker, wait: "1 second" })));
      const stillWaiting = await isWaiting(pids[0]) && await isWaiting(pids[1]);
      await Promise.all(polls);
      if (!stillWaiting && attempt < 10) continue;
      assert.equal(stillWaiting, true);
      const waited = await Promise.all(names.map((name) => hasWaited(name)));
      return assert.deepEqual(waited, [true, true, ...Array(8).fill(false)]);
    } finally {
      await Promise.all(sessions.map((sql) => sql.end()));
    }
  }
});

test("wait · a dispatch during it sends no wake-up, and one after the worker's end does", async () => {
  const { sql } = project();
  await call(sql, "messenger_start", { functions_url: "https://example.test/functions/v1" });
  await call(sql, "messenger_stop");
  await sql`delete from net.http_request_queue`;
  const wakeups = async () => (await sql`select from net.http_request_queue`).length;
  await exchange(sql, { wait: "1 second" });
  await sql`update messenger.workers set polled_at = polled_at - interval '1 minute'`;
  await dispatch(sql);
  assert.equal(await wakeups(), 0);
  await setClock(sql, "1251 ms");
  await dispatch(sql);
  assert.equal(await wakeups(), 1);
  await setClock(sql, "-1 hour");
  await dispatch(sql);
  assert.equal(await wakeups(), 2, "nor does a wait count that began in the future");
});

test("wait · a waiting worker is active in the lists of workers and queues", async () => {
  const { sql } = project();
  await dispatch(sql, { delay: "1 hour" });
  await exchange(sql, { wait: "1 second" });
  await sql`update messenger.workers set polled_at = polled_at - interval '1 minute' where worker = ${ada}`;
  await sql`delete from messenger.workers where worker <> ${ada}`;
  const figures = async () => {
    const { workers } = await callValue(sql, "messenger_list_workers");
    const { queues } = await callValue(sql, "messenger_list_queues");
    return [workers[0].awake, queues[0].awake_workers, (await callValue(sql, "messenger_counters")).workers_awake];
  };
  assert.deepEqual(await figures(), [true, 1, 1]);
  await setClock(sql, "1251 ms");
  assert.deepEqual(await figures(), [false, 0, 0]);
});

test("wait · a call with outcomes settles them and does not wait", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await announce();
  const { settled } = await exchange(sql, { wait: "1 second", outcomes: [{ id, fence, outcome: "completed" }] });
  assert.deepEqual([settled[0].outcome, await hasWaited()], ["completed", false]);
  await announce("bob");
  const again = await exchange(sql, {
    worker: "bob",
    wait: "1 second",
    outcomes: [{ id, fence, outcome: "completed" }],
  });
  assert.deepEqual([again.settled[0].outcome, await hasWaited("bob")], ["already", false]);
});

test("wait · a call in a transaction that has written, or that sees one snapshot, does not wait", async () => {
  const { sql } = project();
  await announce();
  await sql.begin(async (tx) => {
    await tx`create temporary table written () on commit drop`;
    await exchange(tx, { wait: "1 second" });
  });
  assert.equal(await hasWaited(), false);
  await announce("bob");
  await sql.begin("isolation level repeatable read", (tx) => exchange(tx, { worker: "bob", wait: "1 second" }));
  assert.equal(await hasWaited("bob"), false);
  await sql.begin(async (tx) => {
    await exchange(tx, { worker: "cyd", wait: "1 second" });
    await exchange(tx, { worker: "cyd", wait: "10 ms" });
  });
  const [row] = await sql`
    select active_until - polled_at = '260 ms' as announced from messenger.workers where worker = 'cyd'`;
  assert.equal(row.announced, true, "its own announcement is not committed");
});

test("wait · a claim that finishes an expired message returns at once, so that this is committed", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { expires_at: new Date(Date.now() + 60_000) });
  await setClock(sql, "61 seconds");
  await announce();
  await exchange(sql, { wait: "1 second" });
  assert.deepEqual([(await messageOf(sql, id)).status, await hasWaited()], ["failed", false]);
});

test("wait · the longest is a second, and another value rolls the settlement back", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const outcomes = [{ id, fence, outcome: "completed" }];
  for (const wait of ["1001 milliseconds", "-1 milliseconds", "1 month -30 days 2 seconds", "1 hour"]) {
    const message = await assertRejected(exchange(sql, { outcomes, wait }), "SM_SETTING");
    assert.match(message, /^wait: "[^"]+": the wait must be an interval from zero to 1 second$/);
  }
  assert.equal((await messageOf(sql, id)).status, "processing");
  await announce();
  await exchange(sql, { wait: "1 month -30 days 1 ms" });
  assert.equal(await hasWaited(), true);
  for (const wait of [null, "0", "1 month -30 days"]) {
    const worker = `${wait}`;
    await announce(worker);
    await exchange(sql, { worker, wait });
    assert.equal(await hasWaited(worker), false, worker);
  }
});

test("wait · a cancelled one frees its slot and leaves the message", async () => {
  const { sql } = project();
  await using own = session(project());
  const pid = await pidOf(own);
  await announce();
  const reply = exchange(own, { wait: "1 second" }).then(() => null, (error) => error.code);
  await untilPolling(sql, pid);
  await sql`select pg_cancel_backend(${pid})`;
  assert.deepEqual([await reply, await freeSlots()], ["57014", 2]);
});

test("wait · a statement_timeout that could end it prevents it", async () => {
  await using own = session(project());
  for (
    const [timeout, waits] of [["200 ms", false], ["1 s", false], ["2 s", true], ["1 min", true], ["0", true]] as const
  ) {
    await own.unsafe(`set statement_timeout = '${timeout}'`);
    await announce(timeout);
    await exchange(own, { worker: timeout, wait: "10 ms" });
    assert.equal(await hasWaited(timeout), waits, timeout);
  }
});

test("wait · messages of a paused queue or a disabled transport are not handed out", async () => {
  const { sql } = project();
  const { claimed } = await duringWait(async () => {
    await call(sql, "messenger_pause", { transport: "supabase", queue: "slow" });
    await dispatch(sql, { queue: "slow" });
    await sql`update messenger_transports set enabled = false where name = 'sync'`;
    await sql`insert into messenger_messages (transport_name, message_type) values ('sync', 'Greeting')`;
  });
  assert.deepEqual(claimed, []);
});

test("wait · a message that becomes due during it is handed out, although nothing is committed then", async () => {
  let sent: Row;
  const { claimed } = await duringWait(async () => sent = await dispatch(project().sql, { delay: "50 ms" }), true);
  assert.deepEqual(claimed.map(({ id }: Row) => id), [sent!.id]);
});

test("wait · slots that a crash has removed are inserted by the next poll", async () => {
  const { sql } = project();
  await sql`truncate messenger.poll_slots`;
  const waits = async (worker: string) => {
    await announce(worker);
    await asRole(sql, "service_role", (tx) => exchange(tx, { worker, wait: "5 ms" }));
    return await hasWaited(worker);
  };
  assert.deepEqual([await waits("bob"), await waits("cyd"), await freeSlots()], [false, true, 2]);
});
