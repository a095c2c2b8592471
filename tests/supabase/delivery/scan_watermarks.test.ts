// The limits of scan watermarks: the sessions from which one hides messages, and its maximum duration.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch, dispatchMany, setClock, settle } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

/** A session whose every scan counts as slow, so that each stores a scan watermark. */
async function slowSession() {
  const sql = session(project());
  await sql`set messenger.watermark_after = '-1 day'`;
  return sql;
}

const marks = async (sql: Sql) => {
  const [{ mark }] =
    await sql`select current_setting(messenger.watermark_setting('supabase', 'default', null), true) as mark`;
  return mark || null;
};

test("scan watermark · is stored by a slow scan and deleted by a fast one that began at the beginning", async () => {
  await using sql = await slowSession();
  await dispatch(sql);
  assert.equal(await marks(sql), null);
  await claim(sql);
  assert.notEqual(await marks(sql), null);
  await sql`set messenger.watermark_after = '1 day'`;
  await dispatch(sql);
  await claim(sql);
  assert.notEqual(await marks(sql), null, "a fast scan from a watermark proves nothing about the rows before it");
  await setClock(sql, "10 seconds");
  await dispatch(sql);
  await claim(sql);
  assert.equal(await marks(sql), null);
});

test("scan watermark · a batch that was filled leaves the rest where it can be found", async () => {
  await using sql = await slowSession();
  const all = [];
  for (const priority of [10, 5, 5, 1]) all.push(...await dispatchMany(sql, 5, { priority }));
  const taken = [];
  for (let n = 0; n < 10; n++) taken.push(...await claim(sql, { batch: 2 }));
  assert.deepEqual(taken.map(({ id }) => id), all);
});

test("scan watermark · a message released behind it waits at most five seconds in this session", async () => {
  await using sql = await slowSession();
  await using other = await slowSession();
  const { id } = await dispatch(sql);
  await setClock(sql, "1 minute");
  const [{ fence }] = await claim(sql);
  assert.deepEqual(await claim(sql), []);
  await settle(sql, [{ id, fence, outcome: "released" }]);
  assert.deepEqual(await claim(sql), [], "hidden: otherwise this test proves nothing");
  const [seen] = await claim(other);
  assert.equal(seen.id, id);
  await settle(other, [{ id, fence: seen.fence, outcome: "released" }]);
  await setClock(sql, "65.1 seconds");
  assert.equal((await claim(sql))[0]?.id, id);
});

test("scan watermark · does not renew itself: scans after it do not postpone its end", async () => {
  await using sql = await slowSession();
  const { id } = await dispatch(sql);
  await setClock(sql, "1 minute");
  const [{ fence }] = await claim(sql);
  assert.deepEqual(await claim(sql), []);
  await settle(sql, [{ id, fence, outcome: "released" }]);
  let found: string | undefined;
  for (let tenths = 0; tenths <= 60 && !found; tenths++) {
    await setClock(sql, `${60 + tenths / 10} seconds`);
    found = (await claim(sql))[0]?.id;
  }
  assert.equal(found, id);
});

test("scan watermark · hides no lost lease, expired or cancelled message that the scan has met", async () => {
  const { sql: any } = project();
  const [lost] = await dispatchMany(any, 1);
  await claim(any);
  await dispatchMany(any, 1, { expires_at: new Date(Date.now() + 30_000).toISOString() });
  await setClock(any, "61 seconds");
  await using sql = await slowSession();
  assert.deepEqual((await claim(sql)).map(({ id }) => id), [lost]);
  const [{ left }] = await any`select count(*)::int as left from messenger_messages where status = 'pending'`;
  assert.equal(left, 0, "the expired one has ended");
});

test("scan watermark · of one queue hides nothing in another", async () => {
  await using sql = await slowSession();
  const { id } = await dispatch(sql, { queue: "b" });
  await dispatch(sql, { queue: "a" });
  await setClock(sql, "1 minute");
  assert.equal((await claim(sql, { queues: ["a"] })).length, 1);
  assert.deepEqual(await claim(sql, { queues: ["a"] }), []);
  assert.deepEqual((await claim(sql, { queues: ["b"] })).map((row) => row.id), [id]);
});

test("scan watermark · a claim that rolls back hides nothing for longer than five seconds", async () => {
  await using sql = await slowSession();
  const { id } = await dispatch(sql);
  await setClock(sql, "1 minute");
  await sql`begin`;
  await claim(sql);
  await claim(sql);
  await sql`rollback`;
  await setClock(sql, "65.1 seconds");
  assert.deepEqual((await claim(sql)).map((row) => row.id), [id]);
});

test("scan watermark · the ticker's rescue ignores them", async () => {
  await using sql = await slowSession();
  await dispatch(sql);
  await setClock(sql, "1 minute");
  await claim(sql, { lease: "1 s" });
  await claim(sql);
  await setClock(sql, "61.5 seconds");
  const [{ messenger_tick: tick }] = await call(sql, "messenger_tick");
  assert.equal(tick.rescued, 1);
});
