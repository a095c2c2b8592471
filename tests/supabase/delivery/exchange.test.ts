// messenger_exchange and messenger_claim_one: settle and claim in one commit; one message by its id.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  messageOf,
  setClock,
  settle,
} from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const exchange = (outcomes: unknown[], args: Record<string, unknown> = {}, sql = project().sql) =>
  callValue(sql, "messenger_exchange", { outcomes, worker: "ada", ...args });
const claimOne = (id: string, args: Record<string, unknown> = {}, sql = project().sql) =>
  call(sql, "messenger_claim_one", { id, worker: "ada", ...args });

test("exchange · settles first, then claims, and returns both", async () => {
  const { sql } = project();
  const [a, b, c] = await dispatchMany(sql, 3);
  const rows = await claim(sql, { batch: 2 });
  const reply = await exchange([
    { id: a, fence: rows[0].fence, outcome: "completed" },
    { id: b, fence: rows[1].fence, outcome: "failed", error: "e", delay_ms: 0 },
  ]);
  assert.deepEqual(reply.settled.map(({ id, outcome }: Record<string, unknown>) => [id, outcome]), [[a, "completed"], [
    b,
    "retry",
  ]]);
  // b became due at the time of the exchange or a little later; c was due before.
  assert.equal(reply.claimed[0].id, c);
  assert.deepEqual(Object.keys(reply.claimed[0]).toSorted(), Object.keys(rows[0]).toSorted());
  assert.deepEqual([reply.claimed[0].fence, reply.claimed[0].body], [1, { n: 2 }]);
});

test("exchange · nothing to settle and nothing to claim give empty lists", async () => {
  assert.deepEqual(await exchange([]), { settled: [], claimed: [] });
});

test("exchange · batch, lease, transport, queues and types are the claim's", async () => {
  const { sql } = project();
  await dispatchMany(sql, 3, { queue: "a", type: "A" });
  await dispatch(sql, { queue: "b", type: "A" });
  await dispatch(sql, { queue: "a", type: "B", priority: 10 });
  const { claimed } = await exchange([], {
    batch: 2,
    lease: "2 hours",
    transport: "supabase",
    queues: ["a"],
    types: ["A"],
  });
  assert.deepEqual(claimed.map((row: Record<string, unknown>) => [row.queue_name, row.message_type]), [["a", "A"], [
    "a",
    "A",
  ]]);
  assert(Date.parse(claimed[0].lock_expires_at) > Date.now() + 7_000_000);
});

test("exchange · a bad claim rolls the settle back: one commit", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const outcomes = [{ id, fence, outcome: "completed" }];
  await assertRejected(exchange(outcomes, { batch: 0 }), "SM_BATCH");
  await assertRejected(exchange(outcomes, { worker: "" }), "SM_WORKER");
  await assertRejected(exchange(outcomes, { worker: "a\u0007" }), "SM_WORKER");
  await assertRejected(exchange(outcomes, { queues: ["A b"] }), "SM_QUEUE");
  await assertRejected(exchange(outcomes, { transport: "pigeon" }), "SM_TRANSPORT");
  assert.equal((await messageOf(sql, id)).status, "processing");
  await assertRejected(exchange([{ id, fence, outcome: "nonsense" }]), "SM_OUTCOME");
});

test("exchange · repeated after a lost reply, outcomes are already recorded, first rows stay leased", async () => {
  const { sql } = project();
  const [a, b, c] = await dispatchMany(sql, 3);
  const [{ fence }] = await claim(sql, { batch: 1 });
  const outcomes = [{ id: a, fence, outcome: "completed" }];
  assert.equal((await exchange(outcomes, { batch: 1 })).claimed[0].id, b);
  const again = await exchange(outcomes, { batch: 1 });
  assert.deepEqual([again.settled[0].outcome, again.claimed[0].id], ["already", c]);
  assert.equal((await messageOf(sql, b)).fence, "1");
});

test("exchange · a message it released is not lost if the claim skips it, and service_role may", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const reply = await asRole(
    sql,
    "service_role",
    (tx) => callValue(tx, "messenger_exchange", { outcomes: [{ id, fence, outcome: "released" }], worker: "w" }),
  );
  assert.deepEqual(reply.claimed.map((row: Record<string, unknown>) => [row.id, row.fence]), [[id, 2]]);
});

test("claim one · returns the message by id, due or not, and no other", async () => {
  const { sql } = project();
  const first = await dispatch(sql);
  const { id } = await dispatch(sql, { delay: "1 hour", transport: "sync", payload: { a: 1 } });
  const [row] = await claimOne(id, { lease: "5 s" });
  assert.deepEqual([row.id, row.fence, row.body, row.solo, row.message_type], [id, "1", { a: 1 }, false, "Greeting"]);
  assert.equal((await messageOf(sql, first.id)).status, "pending");
  assert.equal((await settle(sql, [{ id, fence: row.fence, outcome: "completed" }]))[0].outcome, "completed");
});

test("claim one · returns no row for a message that is claimed, finished, expired, waiting or unknown", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  assert.deepEqual(await claimOne(id), []);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  assert.deepEqual(await claimOne(id), []);
  const old = await dispatch(sql, { expires_at: new Date(Date.now() + 60_000) });
  const blocked = await dispatch(sql);
  await sql`update messenger_messages set available_at = 'infinity' where id = ${blocked.id}`;
  await setClock(sql, "61 seconds");
  assert.deepEqual(await claimOne(old.id), []);
  assert.deepEqual(await claimOne(blocked.id), []);
  assert.deepEqual(await claimOne(crypto.randomUUID()), []);
});

test("claim one · of many concurrent calls one gets the message", async () => {
  const { id } = await dispatch(project().sql);
  const sessions = Array.from({ length: 6 }, () => session(project()));
  try {
    const rows = (await Promise.all(sessions.map((sql, n) => claimOne(id, { worker: `w${n}` }, sql)))).flat();
    assert.deepEqual(rows.map((row) => [row.id, row.fence]), [[id, "1"]]);
  } finally {
    await Promise.all(sessions.map((sql) => sql.end()));
  }
});

test("claim one · a message that lost a lease is marked solo, and bad arguments are rejected", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  await call(sql, "messenger_tick");
  const [row] = await asRole(sql, "service_role", (tx) => call(tx, "messenger_claim_one", { id, worker: "w" }));
  assert.deepEqual([row.solo, row.fence, row.retry_count], [true, "2", 1]);
  await assertRejected(claimOne(id, { worker: "" }), "SM_WORKER");
  await assertRejected(claimOne(id, { worker: "a\nb" }), "SM_WORKER");
  await assertRejected(claimOne(id, { lease: "13 h" }), "SM_LEASE");
});
