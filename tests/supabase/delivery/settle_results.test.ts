// The results of messenger_settle: only the current fence counts, a repeated outcome is recognised, a late one changes
// nothing.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, claim, dispatch, dispatchAndClaim, dispatchMany, messageOf, setClock, settle } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const one = async (outcome: Record<string, unknown>) => (await settle(project().sql, [outcome]))[0];
const snapshot = async () => [...await project().sql`select * from messenger_messages order by id`];

test("results · in the order of the outcomes, each separately", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 4);
  const rows = await claim(sql);
  const unknown = crypto.randomUUID();
  const replies = await settle(sql, [
    { id: ids[3], fence: rows[3].fence, outcome: "released" },
    { id: ids[0], fence: rows[0].fence, outcome: "completed" },
    { id: unknown, fence: 1, outcome: "completed" },
    { id: ids[2], fence: rows[2].fence, outcome: "snoozed", delay_ms: 1000 },
    { id: ids[1], fence: 7, outcome: "completed" },
    { id: unknown, fence: 1, outcome: "failed", error: "e" },
    { id: unknown, fence: 1, outcome: "snoozed" },
    { id: unknown, fence: 1, outcome: "released" },
  ]);
  assert.deepEqual(replies.map(({ id, outcome }) => [id, outcome]), [
    [ids[3], "released"],
    [ids[0], "completed"],
    [unknown, "unknown"],
    [ids[2], "snoozed"],
    [ids[1], "stale"],
    [unknown, "unknown"],
    [unknown, "stale"],
    [unknown, "stale"],
  ]);
});

test("results · the same outcome again is already recorded, and changes nothing", async () => {
  const { sql } = project();
  const [a, b, c] = await dispatchMany(sql, 3, { max_retries: 1 });
  const fences = Object.fromEntries((await claim(sql)).map(({ id, fence }) => [id, fence]));
  const outcomes = [
    { id: a, fence: fences[a], outcome: "completed", result: { first: true } },
    { id: b, fence: fences[b], outcome: "failed", error: "first" },
    { id: c, fence: fences[c], outcome: "failed", error: "first", retryable: false },
  ];
  await settle(sql, outcomes);
  const before = await snapshot();
  const again = await settle(
    sql,
    outcomes.map((outcome) => ({ ...outcome, result: { first: false }, error: "second" })),
  );
  assert.deepEqual(again.map(({ outcome }) => outcome), ["already", "already", "already"]);
  assert.deepEqual(await snapshot(), before);
  assert.equal((await sql`select from messenger_failed_messages`).length, 1);
});

test("results · another outcome on a settled delivery is stale, and changes nothing", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await one({ id, fence, outcome: "completed" });
  const before = await snapshot();
  for (const outcome of ["failed", "snoozed", "released"]) {
    assert.equal((await one({ id, fence, outcome, error: "late" })).outcome, "stale", outcome);
  }
  assert.deepEqual(await snapshot(), before);
});

test("results · a wrong, older, newer or missing fence is stale for every outcome", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  await claim(sql, { worker: "bob" });
  const before = await snapshot();
  for (const outcome of ["completed", "failed", "snoozed", "released"]) {
    for (const fence of [0, 1, 3, -1, null]) {
      assert.equal((await one({ id, fence, outcome, error: "x" })).outcome, "stale", `${outcome} ${fence}`);
    }
  }
  assert.deepEqual(await snapshot(), before);
});

test("results · an outcome on a message never claimed is stale", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  for (const outcome of ["completed", "failed", "snoozed", "released"]) {
    assert.equal((await one({ id, fence: 0, outcome, error: "x" })).outcome, "stale", outcome);
  }
  assert.equal((await messageOf(sql, id)).status, "pending");
});

test("duplicates · of two outcomes on one delivery in one call the first counts", async () => {
  const { sql } = project();
  const [a, b, c] = await dispatchMany(sql, 3);
  const fences = Object.fromEntries((await claim(sql)).map(({ id, fence }) => [id, fence]));
  const replies = await settle(sql, [
    { id: a, fence: fences[a], outcome: "completed", result: { n: 1 } },
    { id: a, fence: fences[a], outcome: "completed", result: { n: 2 } },
    { id: b, fence: fences[b], outcome: "failed", error: "first" },
    { id: b, fence: fences[b], outcome: "failed", error: "second" },
    { id: c, fence: fences[c], outcome: "snoozed", delay_ms: 1000 },
    { id: c, fence: fences[c], outcome: "completed" },
  ]);
  assert.deepEqual(replies.map(({ outcome }) => outcome), [
    "completed",
    "already",
    "retry",
    "already",
    "snoozed",
    "stale",
  ]);
  assert.deepEqual((await messageOf(sql, a)).result, { n: 1 });
  assert.deepEqual([(await messageOf(sql, b)).last_error, (await messageOf(sql, b)).retry_count], ["first", 1]);
});

test("results · an outcome with the fence of a delivery that was released is stale after the next claim", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await one({ id, fence, outcome: "released" });
  const [next] = await claim(sql, { worker: "bob" });
  assert.equal((await one({ id, fence, outcome: "completed" })).outcome, "stale");
  assert.equal((await one({ id, fence: next.fence, outcome: "completed" })).outcome, "completed");
});

test("duplicates · of a release and a snooze on one delivery the first counts", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const { available_at } = await messageOf(sql, id);
  const replies = await settle(sql, [
    { id, fence, outcome: "released" },
    { id, fence, outcome: "snoozed", delay_ms: 3_600_000 },
  ]);
  assert.deepEqual(replies.map(({ outcome }) => outcome), ["released", "stale"]);
  assert.deepEqual((await messageOf(sql, id)).available_at, available_at);
});

test("duplicates · of two completions per message in a call of a thousand the first counts", async () => {
  const { sql } = project();
  await dispatchMany(sql, 500);
  const rows = await claim(sql, { batch: 500 });
  const outcomes = (n: number) => rows.map(({ id, fence }) => ({ id, fence, outcome: "completed", result: { n } }));
  const replies = await settle(sql, [...outcomes(1), ...outcomes(2)]);
  assert.deepEqual(replies.map(({ outcome }) => outcome), [
    ...Array(500).fill("completed"),
    ...Array(500).fill("already"),
  ]);
  const results = await sql`select result, count(*)::int as count from messenger_messages group by 1`;
  assert.deepEqual(results.map(({ result, count }) => [result, count]), [[{ n: 1 }, 500]]);
});

test("results · each completed message has its own", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 20);
  const rows = await claim(sql, { batch: 20 });
  await settle(sql, rows.map(({ id, fence, body }) => ({ id, fence, outcome: "completed", result: body })).reverse());
  for (const [n, id] of ids.entries()) assert.deepEqual((await messageOf(sql, id)).result, { n });
});

test("late · a completion after the lease was taken over is stale", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  const [taken] = await claim(sql, { worker: "bob" });
  assert.equal((await one({ id, fence, outcome: "completed" })).outcome, "stale");
  assert.equal((await one({ id, fence: taken.fence, outcome: "completed" })).outcome, "completed");
  assert.equal((await one({ id, fence, outcome: "completed" })).outcome, "stale");
});

test("late · a lease that expired but was not taken over can still be completed", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "10 minutes");
  assert.equal((await one({ id, fence, outcome: "completed" })).outcome, "completed");
  assert.equal((await messageOf(sql, id)).retry_count, 0);
});

test("late · an outcome after the ticker rescued the message is stale, and the message continues", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  await call(sql, "messenger_tick");
  const before = await snapshot();
  for (const outcome of ["completed", "failed", "snoozed", "released"]) {
    assert.equal((await one({ id, fence, outcome, error: "late" })).outcome, "stale", outcome);
  }
  assert.deepEqual(await snapshot(), before);
});

test("late · a failure of a message that is a dead letter for its lost lease is stale", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, { max_retries: 0 });
  await setClock(sql, "61 seconds");
  await claim(sql);
  const before = await snapshot();
  for (const outcome of ["failed", "completed", "snoozed", "released"]) {
    assert.equal((await one({ id, fence, outcome, error: "late" })).outcome, "stale", outcome);
  }
  assert.deepEqual(await snapshot(), before);
});

test("late · a failure whose reply was lost is 'already', also after another claim", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await one({ id, fence, outcome: "failed", error: "e", delay_ms: 0 });
  const [second] = await claim(sql, { worker: "bob" });
  const before = await snapshot();
  assert.equal((await one({ id, fence, outcome: "failed", error: "e", delay_ms: 0 })).outcome, "already");
  assert.deepEqual(await snapshot(), before);
  assert.equal((await one({ id, fence: second.fence, outcome: "completed" })).outcome, "completed");
});
