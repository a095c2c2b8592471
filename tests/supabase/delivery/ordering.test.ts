// Ordering keys after dispatch: one message in flight per key, in order, through every way in which a message can end
// or be delayed.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch, dispatchMany, messageOf, setClock, settle } from "../bus.ts";

const project = useProject({ testClock: true, isolation: "read committed" });
Deno.test.beforeEach(() => empty(project().sql));
Deno.test.afterEach(async () => {
  const [{ broken }] = await project().sql`select sum(violations)::int as broken from messenger_audit()`;
  assert.equal(broken, 0);
});

const KEY = { ordering_key: "customer-1" };
const ids = (rows: { id: string }[]) => rows.map(({ id }) => id);
const taken = async (args: Record<string, unknown> = {}) => ids(await claim(project().sql, args));
const tick = () => call(project().sql, "messenger_tick");
const config = (value: Record<string, unknown>) =>
  project().sql`update messenger_transports set config = ${project().sql.json(value as never)} where name = 'supabase'`;

const waits = async (id: string): Promise<boolean> =>
  (await project().sql`select available_at = 'infinity' as waits from messenger_messages where id = ${id}`)[0].waits;

/** Claims the one message that must be due, and settles the outcome. */
async function result(id: string, outcome: Record<string, unknown>): Promise<string> {
  const { sql } = project();
  const rows = await claim(sql);
  assert.deepEqual(ids(rows), [id]);
  return (await settle(sql, [{ id, fence: rows[0].fence, ...outcome }]))[0].outcome;
}

test("order · each of five messages of a key is handed out when the one before has completed", async () => {
  const all = await dispatchMany(project().sql, 5, KEY);
  for (const id of all) {
    assert.equal(await result(id, { outcome: "completed" }), "completed");
  }
  assert.deepEqual(await taken(), []);
});

test("order · also if completed messages are deleted at once", async () => {
  await config({ retention: "0" });
  for (const id of await dispatchMany(project().sql, 3, KEY)) await result(id, { outcome: "completed" });
  assert.equal((await project().sql`select from messenger_messages`).length, 0);
});

test("order · a priority does not overtake within a key", async () => {
  const { sql } = project();
  const { id: first } = await dispatch(sql, { ...KEY, priority: 1 });
  await dispatch(sql, { ...KEY, priority: 10 });
  assert.deepEqual(await taken(), [first]);
});

test("order · other keys, other queues and messages without a key do not wait", async () => {
  const { sql } = project();
  const { id: first } = await dispatch(sql, KEY);
  await dispatch(sql, KEY);
  const free = [
    await dispatch(sql, { ordering_key: "customer-2" }),
    await dispatch(sql, { ...KEY, queue: "other" }),
    await dispatch(sql),
  ];
  assert.deepEqual((await taken()).toSorted(), [first, ...ids(free)].toSorted());
});

test("order · one settle of many keys unblocks the next of each key", async () => {
  const { sql } = project();
  const keys = Array.from({ length: 20 }, (_, n) => `k${n}`);
  const firsts = await Promise.all(keys.map((ordering_key) => dispatch(sql, { ordering_key })));
  const seconds = await Promise.all(keys.map((ordering_key) => dispatch(sql, { ordering_key })));
  const rows = await claim(sql, { batch: 100 });
  assert.deepEqual(ids(rows).toSorted(), ids(firsts).toSorted());
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  assert.deepEqual((await taken({ batch: 100 })).toSorted(), ids(seconds).toSorted());
});

for (
  const [what, outcome, moment] of [
    ["a retry", { outcome: "failed", error: "e", delay_ms: 60_000 }, "1 minute"],
    ["a snooze", { outcome: "snoozed", delay_ms: 60_000 }, "1 minute"],
    ["a release", { outcome: "released" }, "0"],
  ] as const
) {
  test(`order · ${what} keeps its position: the next one stays blocked`, async () => {
    const [first, second] = await dispatchMany(project().sql, 2, KEY);
    await result(first, outcome);
    assert.ok(await waits(second));
    await setClock(project().sql, moment);
    await result(first, { outcome: "completed" });
    await result(second, { outcome: "completed" });
  });
}

test("order · a lost lease keeps its position, too", async () => {
  const [first, second] = await dispatchMany(project().sql, 2, KEY);
  assert.deepEqual(await taken(), [first]);
  await setClock(project().sql, "2 minutes");
  await tick();
  assert.deepEqual(await taken(), [first]);
  assert.ok(await waits(second));
});

const ENDS: Record<string, (first: string) => Promise<unknown>> = {
  "a dead letter": (first) => result(first, { outcome: "failed", error: "e", retryable: false }),
  "a cancelled message": (first) => callValue(project().sql, "messenger_cancel", { id: first }),
  "a message with a cancel request": async (first) => {
    const [{ fence }] = await claim(project().sql);
    await callValue(project().sql, "messenger_cancel", { id: first });
    await settle(project().sql, [{ id: first, fence, outcome: "failed", error: "e" }]);
  },
  "an exhausted message found by a claim": async (first) => {
    await project().sql`update messenger_messages set max_retries = 0 where id = ${first}`;
    assert.deepEqual(await taken(), [first]);
    await setClock(project().sql, "2 minutes");
    await project().sql`select from messenger_claim('other', queues => array['default'], types => array['Greeting'])`;
  },
  "an exhausted message found by the tick": async (first) => {
    await project().sql`update messenger_messages set max_retries = 0 where id = ${first}`;
    assert.deepEqual(await taken(), [first]);
    await setClock(project().sql, "2 minutes");
    await tick();
  },
  "an expired message": async (first) => {
    await project().sql`update messenger_messages set expires_at = now() where id = ${first}`;
    await setClock(project().sql, "1 minute");
    await tick();
  },
};
for (const [what, end] of Object.entries(ENDS)) {
  test(`order · ${what} unblocks the next one`, async () => {
    const { sql } = project();
    const [first, second] = await dispatchMany(sql, 2, KEY);
    await end(first);
    assert.equal((await messageOf(sql, first)).status, "failed");
    const row = await messageOf(sql, second);
    assert.ok(!await waits(second));
    assert.ok(row.status === "processing" || (await taken()).includes(second));
  });
}

test("order · cancelling a blocked one changes nothing for the others", async () => {
  const { sql } = project();
  const [first, second, third] = await dispatchMany(sql, 3, KEY);
  assert.equal(await callValue(sql, "messenger_cancel", { id: second }), "cancelled");
  await result(first, { outcome: "completed" });
  await result(third, { outcome: "completed" });
});

test("order · a delayed one is unblocked to its own time, not before", async () => {
  const { sql } = project();
  const { id: first } = await dispatch(sql, KEY);
  const { id: second } = await dispatch(sql, { ...KEY, delay: "1 hour" });
  await result(first, { outcome: "completed" });
  assert.deepEqual(await taken(), []);
  await setClock(sql, "61 minutes");
  assert.deepEqual(await taken(), [second]);
});

test("order · one that expired while it was blocked is skipped", async () => {
  const { sql } = project();
  const { id: first } = await dispatch(sql, KEY);
  const { id: second } = await dispatch(sql, { ...KEY, expires_at: new Date(Date.now() + 60_000) });
  const { id: third } = await dispatch(sql, KEY);
  assert.deepEqual(await taken(), [first]);
  await setClock(sql, "2 minutes");
  const rows = await claim(sql, { worker: "again" });
  assert.deepEqual(ids(rows), [first]);
  await settle(sql, [{ id: first, fence: rows[0].fence, outcome: "completed" }]);
  assert.deepEqual(await taken(), [third]);
  assert.equal((await messageOf(sql, second)).error_class, "Expired");
});

test("order · an unblocked message causes a wake-up", async () => {
  const { sql } = project();
  const [first] = await dispatchMany(sql, 2, KEY);
  const [{ fence }] = await claim(sql);
  await sql`delete from messenger.workers`;
  await sql.begin(async (tx) => {
    await settle(tx, [{ id: first, fence, outcome: "completed" }]);
    const [{ woken }] = await tx`select current_setting('messenger.woken', true) as woken`;
    assert.equal(woken, "supabase/default");
  });
});

test("block · with this policy of the transport, a dead letter blocks its key until it is resolved", async () => {
  const { sql } = project();
  await config({ ordering_dead_letter: "block" });
  const [first, second] = await dispatchMany(sql, 2, KEY);
  await result(first, { outcome: "failed", error: "e", retryable: false });
  await tick();
  assert.deepEqual(await taken(), []);
  const { available_at } = await dispatch(sql, KEY);
  assert.equal(available_at, null);
  const [{ id }] = await sql`select id from messenger_failed_messages where message_id = ${first}`;
  await call(sql, "messenger_discard_failed", { ids: [id] });
  assert.deepEqual(await taken(), [second]);
});

test("block · a retried dead letter goes first, then its successors", async () => {
  const { sql } = project();
  await config({ ordering_dead_letter: "block" });
  const [first, second] = await dispatchMany(sql, 2, KEY);
  await result(first, { outcome: "failed", error: "e", retryable: false });
  const [{ id }] = await sql`select id from messenger_failed_messages where message_id = ${first}`;
  await call(sql, "messenger_retry_failed", { ids: [id] });
  await result(first, { outcome: "completed" });
  await result(second, { outcome: "completed" });
});

test("retry · a dead letter whose successors continued waits for the one in flight, then goes first", async () => {
  const { sql } = project();
  const [first, second, third] = await dispatchMany(sql, 3, KEY);
  await result(first, { outcome: "failed", error: "e", retryable: false });
  const [running] = await claim(sql);
  assert.equal(running.id, second);
  const [{ id }] = await sql`select id from messenger_failed_messages where message_id = ${first}`;
  await call(sql, "messenger_retry_failed", { ids: [id] });
  assert.deepEqual(await taken(), []);
  await settle(sql, [{ id: second, fence: running.fence, outcome: "completed" }]);
  await result(first, { outcome: "completed" });
  await result(third, { outcome: "completed" });
});

test("race · one stored behind a predecessor that finishes meanwhile is unblocked by the tick", async () => {
  const { sql } = project();
  const { id: first } = await dispatch(sql, KEY);
  const [{ fence }] = await claim(sql);
  await using sender = session(project());
  await sender`begin`;
  const { id: second, available_at } = await dispatch(sender, KEY);
  assert.equal(available_at, null, "its predecessor is unfinished");
  await settle(sql, [{ id: first, fence, outcome: "completed" }]);
  await sender`commit`;
  assert.deepEqual(await taken(), []);
  await tick();
  assert.deepEqual(await taken(), [second]);
});

test("tick · scans the blocked keys in chunks and misses none", async () => {
  const { sql } = project();
  const keys = Array.from({ length: 25 }, (_, n) => `k${n}`);
  const all = await Promise.all(keys.map((ordering_key) => dispatch(sql, { ordering_key })));
  await sql`update messenger_messages set scheduled_at = available_at, available_at = 'infinity'`;
  let released = 0;
  for (let chunk = 0; chunk < 3; chunk++) {
    const [{ count }] = await sql`select messenger.unblock_stuck(messenger.now(), 10)::int as count`;
    released += count;
  }
  assert.equal(released, 25);
  assert.deepEqual((await taken({ batch: 100 })).toSorted(), ids(all).toSorted());
});
