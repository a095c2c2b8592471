// What a session caches of its polls for 20 ms: it applies to one worker, one selection and one moment, and to no
// argument that may change within it. The clock stands still, so that all claims are within the 20 ms.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { claim, dispatch, dispatchMany } from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";
import { freezeClock, installFrozenClock } from "../frozen_clock.ts";

const project = useProject();
Deno.test.beforeAll(() => installFrozenClock(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const ids = (rows: { id: string }[]) => rows.map(({ id }) => id);

/** A session in the next second, in which everything that is dispatched now is due. */
async function frozenSession(): Promise<Sql & AsyncDisposable> {
  const sql = session(project());
  await freezeClock(sql, 1);
  return sql;
}

test("poll · a malformed worker name is rejected after the poll of another worker", async () => {
  await using sql = await frozenSession();
  await claim(sql);
  await assertRejected(claim(sql, { worker: "" }), "SM_WORKER");
});

test("poll · each of two workers of a session is recorded as active", async () => {
  await using sql = await frozenSession();
  await claim(sql, { worker: "ada" });
  await claim(sql, { worker: "bob" });
  assert.deepEqual(
    (await sql`select worker from messenger.workers order by worker`).map(({ worker }) => worker),
    ["ada", "bob"],
  );
});

test("poll · the next claim from another transport returns nothing of the first", async () => {
  const { sql: any } = project();
  await any`insert into messenger_transports (name, type) values ('post', 'supabase')`;
  const [first] = await dispatchMany(any, 2, { transport: "post" });
  const { id } = await dispatch(any);
  await using sql = await frozenSession();
  assert.deepEqual(ids(await claim(sql, { transport: "post", batch: 1 })), [first]);
  assert.deepEqual(ids(await claim(sql, { transport: "supabase" })), [id]);
});

test("poll · the next claim from another queue returns nothing of the first", async () => {
  const { sql: any } = project();
  const [first] = await dispatchMany(any, 2, { queue: "a" });
  const { id } = await dispatch(any, { queue: "b" });
  await using sql = await frozenSession();
  assert.deepEqual(ids(await claim(sql, { queues: ["a"], batch: 1 })), [first]);
  assert.deepEqual(ids(await claim(sql, { queues: ["b"] })), [id]);
});

test("poll · a worker is active for the types of its last claim", async () => {
  await using sql = await frozenSession();
  await claim(sql, { types: ["A"] });
  await claim(sql, { types: ["B"] });
  const [{ types }] = await sql`select types from messenger.workers`;
  assert.deepEqual(types, ["B"]);
});

test("poll · a worker stays active while it polls", async () => {
  await using sql = await frozenSession();
  await claim(sql);
  await freezeClock(sql, 100);
  await claim(sql);
  const [{ seconds }] = await sql`select extract(epoch from messenger.now() - polled_at)::int as seconds
    from messenger.workers`;
  assert.equal(seconds, 0);
});

test("poll · batch and lease are checked at every claim", async () => {
  await dispatchMany(project().sql, 3);
  await using sql = await frozenSession();
  await claim(sql, { batch: 1 });
  for (const lease of ["0", "-1 s", "13 h"]) await assertRejected(claim(sql, { lease }), "SM_LEASE");
  for (const batch of [0, -1, 1001]) await assertRejected(claim(sql, { batch }), "SM_BATCH");
  assert.equal((await claim(sql, { lease: "12 hours" })).length, 2);
});

test("poll · a poll that is rolled back is repeated by the next claim", async () => {
  await using sql = await frozenSession();
  await sql`begin`;
  await claim(sql);
  await sql`rollback`;
  await claim(sql);
  assert.equal((await sql`select from messenger.workers`).length, 1);
});
