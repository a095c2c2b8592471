// F17: thousands of messages fall due at one instant, also while a snapshot is held (F12). All are handed out once, in
// order.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../project.ts";
import { claim, dispatch, dispatchMany, setClock, settle } from "../supabase/bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const MESSAGES = 5_000;
const WORKERS = 4;

test("many due · five thousand at one instant: none before it, then each once, in dispatch order", async () => {
  const { sql } = project();
  const available_at = new Date(Date.now() + 3_600_000).toISOString();
  const ids: string[] = [];
  while (ids.length < MESSAGES) ids.push(...await dispatchMany(sql, 1_000, { available_at }));
  assert.deepEqual(await claim(sql, { batch: 1_000 }), []);
  await setClock(sql, "2 hours");
  const sessions = Array.from({ length: WORKERS }, () => session(project()));
  try {
    const taken = await Promise.all(sessions.map(async (own, n) => {
      const all: string[] = [];
      for (let rows = await claim(own, { worker: `w${n}`, batch: 100 }); rows.length > 0;) {
        const batch = rows.map(({ id }) => id);
        assert.deepEqual(batch, batch.toSorted(), "in the order of their ids, which is the order of dispatch");
        all.push(...batch);
        // The scan of another session may lock a row for longer than a settle waits.
        for (let left = rows; left.length > 0;) {
          const replies = await settle(own, left.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
          left = left.filter((_, at) => replies[at].outcome === "locked");
        }
        rows = await claim(own, { worker: `w${n}`, batch: 100 });
      }
      return all;
    }));
    assert.deepEqual(taken.flat().toSorted(), ids.toSorted());
  } finally {
    await Promise.all(sessions.map((own) => own.end()));
  }
  const [{ odd }] = await sql`select count(*) as odd from messenger_messages where status <> 'completed' or fence <> 1`;
  assert.equal(odd, "0");
});

test("held snapshot · thousands are handled beside the index entries it keeps, later messages are found", async () => {
  const { sql } = project();
  await using holder = session(project());
  await using worker = session(project());
  await holder`begin isolation level repeatable read`;
  await holder`select count(*) from messenger_messages`;
  // Every scan of this worker counts as slow, as beside many dead index entries, so it uses scan watermarks.
  await worker`set messenger.watermark_after = '-1 hour'`;
  let handled = 0;
  for (let round = 0; round < 3; round++) {
    await dispatchMany(sql, 1_000);
    for (let rows = await claim(worker, { batch: 250 }); rows.length > 0; rows = await claim(worker, { batch: 250 })) {
      handled += rows.length;
      await settle(worker, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
    }
  }
  assert.equal(handled, 3_000);
  const { id } = await dispatch(sql);
  assert.deepEqual((await claim(worker)).map((row) => row.id), [id]);
  const [{ seen }] = await holder`select count(*) as seen from messenger_messages`;
  assert.equal(seen, "0", "void: the snapshot was not held");
  await holder`rollback`;
});
