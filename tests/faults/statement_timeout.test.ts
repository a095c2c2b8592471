// F14: statement_timeout interrupts a dispatch, claim, settle and tick. Each call is rolled back as a whole, and the
// next one succeeds.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../project.ts";
import { call, claim, dispatch, dispatchAndClaim, dispatchMany, messageOf, setClock, settle } from "../supabase/bus.ts";
import { errorOf } from "../supabase/assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

/** Runs the work in a session with a statement_timeout of 200 ms, while another session locks the rows it needs. */
async function timedOut(lock: string, work: (sql: Sql) => Promise<unknown>): Promise<void> {
  await using holder = session(project());
  await using hurried = session(project());
  await hurried`set statement_timeout = '200 ms'`;
  await holder`begin`;
  await holder.unsafe(lock);
  assert.equal((await errorOf(work(hurried))).code, "57014");
  await holder`rollback`;
}

const TABLE = "lock table messenger_messages in access exclusive mode";

test("statement timeout · during a dispatch: nothing is stored, and its key is free", async () => {
  const { sql } = project();
  await timedOut(TABLE, (hurried) => dispatch(hurried, { idempotency_key: "k" }));
  assert.equal((await sql`select from messenger.idempotency_keys`).length, 0);
  assert.equal((await dispatch(sql, { idempotency_key: "k" })).duplicate, false);
});

test("statement timeout · during a claim: nothing is claimed, and the next claim returns the message", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 3);
  await timedOut(TABLE, (hurried) => claim(hurried));
  const rows = await claim(sql);
  assert.deepEqual(rows.map(({ id, fence, retry_count }) => [id, fence, retry_count]), ids.map((id) => [id, "1", 0]));
});

test("statement timeout · at one row of a settle: no outcome is recorded, the same ones count later", async () => {
  const { sql } = project();
  await dispatchMany(sql, 5);
  const outcomes = (await claim(sql)).map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
  await sql.unsafe(`
    create function public.take_long() returns trigger language plpgsql as $$ begin perform pg_sleep(10);
      return new; end $$;
    create trigger take_long before update on messenger_messages for each row when (new.id = '${outcomes[4].id}')
      execute function public.take_long()`);
  try {
    await using hurried = session(project());
    await hurried`set statement_timeout = '200 ms'`;
    assert.equal((await errorOf(settle(hurried, outcomes))).code, "57014");
  } finally {
    await sql.unsafe("drop trigger take_long on messenger_messages; drop function public.take_long()");
  }
  const [{ done }] = await sql`select count(*) as done from messenger_messages where processed_at is not null`;
  assert.equal(done, "0");
  assert.deepEqual((await settle(sql, outcomes)).map(({ outcome }) => outcome), Array(5).fill("completed"));
});

test("statement timeout · during an exchange, after its settle: the settle is rolled back with it", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  // The claim records the worker as active; the settle does not touch that table.
  await timedOut(
    "lock table messenger.workers in access exclusive mode",
    (hurried) =>
      call(hurried, "messenger_exchange", { outcomes: [{ id, fence, outcome: "completed" }], worker: "bob" }),
  );
  assert.equal((await messageOf(sql, id)).status, "processing");
  assert.equal((await settle(sql, [{ id, fence, outcome: "completed" }]))[0].outcome, "completed");
});

test("statement timeout · during a step of a tick: that step is rolled back and retried, others have run", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await setClock(sql, "2 hours");
  await using hurried = session(project());
  await hurried`begin`; // a tick that only caches the plans of its statements
  await hurried`delete from messenger.workers where false`;
  await call(hurried, "messenger_tick", { batch: 1 });
  await hurried`rollback`;
  await sql.unsafe(`
    create function public.take_long() returns trigger language plpgsql as $$ begin perform pg_sleep(10);
      return old; end $$;
    create trigger take_long before delete on messenger.workers for each row execute function public.take_long()`);
  try {
    await hurried`set statement_timeout = '1 s'`;
    const [{ messenger_tick: figures }] = await call(hurried, "messenger_tick");
    assert.deepEqual([figures.rescued, Object.keys(figures.errors)], [1, ["prune_workers"]]);
  } finally {
    await sql.unsafe("drop trigger take_long on messenger.workers; drop function public.take_long()");
  }
  assert.deepEqual([(await messageOf(sql, id)).status, (await messageOf(sql, id)).retry_count], ["pending", 1]);
  assert.equal((await sql`select from messenger.workers`).length, 1);
  const [{ messenger_tick: again }] = await call(sql, "messenger_tick");
  assert.deepEqual([again.rescued, again.errors], [0, undefined]);
  assert.equal((await sql`select from messenger.workers`).length, 0);
  assert.equal((await sql`select from messenger.attempts`).length, 1);
});
