// F21: the project's own transactions lock rows and tables of the bus, or its database is serializable by default.
// Locked rows are skipped; all others are claimed, completed, rescued and pruned, and the ticker keeps its pace.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { eventually } from "../eventually.ts";
import { empty, session, test, useProject } from "../project.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchMany,
  messageOf,
  type Row,
  setClock,
  settle,
} from "../supabase/bus.ts";
import { errorOf } from "../supabase/assert_rejected.ts";
import { limitLockWaits } from "../supabase/until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const tick = (sql = project().sql) => callValue(sql, "messenger_tick");
const outcomes = (rows: Row[]) => rows.map(({ outcome }) => outcome);
const completed = ({ id, fence }: Row) => ({ id, fence, outcome: "completed" });

/** Runs the work while another session has an open transaction with this statement. */
async function beside(statement: string, work: () => Promise<void>): Promise<void> {
  await using holder = session(project());
  await holder`begin`;
  await holder.unsafe(statement);
  await work();
  await holder`rollback`;
}

/** A call through the API must not wait for locks: the contract allows half a second. */
async function atOnce<T>(what: string, work: Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work;
  const taken = performance.now() - started;
  assert(taken < 500, `${what} took ${Math.round(taken)} ms`);
  return result;
}

/** The given number of ticks in a row, each short enough for 55 ticks per minute. */
async function assertPace(ticks: number): Promise<void> {
  const { sql } = project();
  await sql`truncate messenger.ticks`;
  for (let n = 0; n < ticks; n++) await sql`select messenger.tick_or_note_error()`;
  const [{ noted, longest }] =
    await sql`select count(*)::int as noted, max(duration_ms) as longest from messenger.ticks`;
  assert.equal(noted, ticks);
  assert(longest < 1_000, `the longest tick took ${longest} ms`);
}

/** Two minutes later, after another attempt of every step that a lock had blocked. */
async function assertClean(sql: Sql): Promise<void> {
  await setClock(sql, "9 days");
  for (let n = 0; n < 3; n++) assert.equal((await tick()).errors, undefined);
  assert.deepEqual([...await sql`select step, row_id from messenger.set_aside`], []);
  assert.deepEqual((await call(sql, "messenger_audit")).filter(({ violations }) => violations > 0), []);
}

test("row locks · of an idle transaction: all other messages are claimed, completed, rescued and pruned", async (t) => {
  for (const mode of ["key share", "share", "no key update", "update"]) {
    await t.step(`for ${mode}`, () => besideRowLocks(mode));
    await empty(project().sql);
  }
});

async function besideRowLocks(mode: string): Promise<void> {
  const { sql } = project();
  const [oldLocked, old] = await dispatchMany(sql, 2);
  await settle(sql, (await claim(sql)).map(completed));
  const [lostLocked, lost] = await dispatchMany(sql, 2);
  await claim(sql);
  await setClock(sql, "8 days");
  const [heldLocked, held] = await dispatchMany(sql, 2, { type: "Held" });
  const running = await claim(sql, { worker: "bob", types: ["Held"] });
  const [dueLocked, due] = await dispatchMany(sql, 2, { type: "Due" });
  const locked = [oldLocked, lostLocked, heldLocked, dueLocked];
  const ids = locked.map((id) => `'${id}'`).join();
  await beside(`select from messenger_messages where id in (${ids}) for ${mode}`, async () => {
    const { errors, rescued, pruned } = await atOnce("a tick", tick());
    assert.deepEqual([errors, pruned], [undefined, 1]);
    const isShared = mode === "key share"; // an update is compatible with it, a delete is not
    assert.equal(rescued, isShared ? 2 : 1);
    assert.equal((await messageOf(sql, lost)).status, "pending");
    assert.deepEqual([(await messageOf(sql, oldLocked)).status, await messageOf(sql, old)], ["completed", undefined]);

    const claimed = await atOnce("a claim", claim(sql, { types: ["Due"] }));
    assert.deepEqual(claimed.map(({ id }) => id), isShared ? [dueLocked, due] : [due]);
    assert.deepEqual(
      outcomes(await atOnce("a settle", settle(sql, claimed.map(completed)))),
      claimed.map(() => "completed"),
    );

    const leases = running.map(({ id, fence }) => ({ id, fence }));
    const kept = await atOnce("a heartbeat", call(sql, "messenger_heartbeat", { leases }));
    assert.deepEqual(outcomes(kept), [isShared ? "extended" : "locked", "extended"]);
    const settled = await atOnce("a settle beside it", settle(sql, running.map(completed)));
    assert.deepEqual(settled.map(({ id, outcome }) => [id, outcome]), [
      [heldLocked, isShared ? "completed" : "locked"],
      [held, "completed"],
    ]);
  });
  assert.deepEqual(outcomes(await settle(sql, running.map(completed)))[1], "already");
  await tick();
  assert.equal(await messageOf(sql, oldLocked), undefined);
  assert.equal((await messageOf(sql, heldLocked)).status, "completed");
  // Messages of a lost lease are handed out alone.
  for (let rows = await claim(sql); rows.length > 0; rows = await claim(sql)) await settle(sql, rows.map(completed));
  assert.equal((await sql`select from messenger_messages where processed_at is null`).length, 0);
  await assertClean(sql);
}

test("row locks · a strict completion, a cancel and an exchange do not wait for them", async () => {
  const { sql } = project();
  const [first, second] = await dispatchMany(sql, 2);
  const running = await claim(sql);
  await beside(`select from messenger_messages where id = '${first}' for update`, async () => {
    const strict = errorOf(call(sql, "messenger_complete", { id: first, fence: running[0].fence, strict: true }));
    const { code, detail } = await atOnce("a strict completion", strict);
    assert.deepEqual([code, detail], ["PT503", "SM_UNAVAILABLE"]);
    const rejected = await atOnce("a cancel", errorOf(call(sql, "messenger_cancel", { id: first })));
    assert.deepEqual([rejected.code, rejected.detail], ["PT503", "SM_UNAVAILABLE"]);
    const { settled } = await atOnce(
      "an exchange",
      callValue(sql, "messenger_exchange", { outcomes: running.map(completed), worker: "ada" }),
    );
    assert.deepEqual(outcomes(settled), ["locked", "completed"]);
  });
  assert.deepEqual(outcomes(await settle(sql, running.map(completed))), ["completed", "already"]);
  assert.equal((await messageOf(sql, second)).status, "completed");
  await assertClean(sql);
});

test("claims · an open claim of the same worker or of another does not block the claim of other messages", async () => {
  const { sql } = project();
  await dispatchMany(sql, 2);
  await claim(sql, { batch: 1, types: ["Other"] }); // so that the worker has its row
  for (const worker of ["ada", "bob"]) {
    await beside(`select messenger_claim('${worker}', 1)`, async () => {
      const [row] = await atOnce("a claim", claim(sql, { batch: 1 }));
      assert.deepEqual(outcomes(await atOnce("a settle", settle(sql, [completed(row)]))), ["completed"]);
      assert.equal((await atOnce("a tick", tick())).errors, undefined);
    });
    await dispatch(sql);
  }
  await settle(sql, (await claim(sql)).map(completed));
  await assertClean(sql);
});

test("foreign key · an insert that refers to a message does not block its completion or a later pruning", async () => {
  const { sql } = project();
  await sql`update messenger_transports set config = '{"retention": "0 seconds"}' where name = 'supabase'`;
  await sql`create table public.orders (message_id uuid references public.messenger_messages)`;
  try {
    const ids = await dispatchMany(sql, 2);
    const running = await claim(sql);
    await beside(`insert into public.orders values ('${ids[0]}')`, async () => {
      const rows = await atOnce("a settle", settle(sql, running.map(completed)));
      assert.deepEqual(outcomes(rows), ["completed", "completed"]);
      assert.equal((await atOnce("a tick", tick())).errors, undefined);
      const left = await sql`select id, status from messenger_messages`;
      assert.deepEqual([...left], [{ id: ids[0], status: "completed" }]);
    });
    assert.equal((await tick()).pruned, 1);
    await assertClean(sql);
  } finally {
    await sql`drop table public.orders`;
  }
});

test("trigger · one that rejects updates of a message blocks its outcome only, until the trigger is gone", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 5);
  const running = await claim(sql);
  await sql.unsafe(`
    create function public.keep_still() returns trigger
      language plpgsql as $$ begin raise exception 'the project keeps this one'; end $$;
    create trigger keep_still before update on messenger_messages for each row when (old.id = '${
    ids[2]
  }') execute function public.keep_still()`);
  try {
    const rows = await settle(sql, running.map(completed));
    assert.equal(rows.filter(({ outcome }) => outcome === "completed").length, 4);
    assert.equal((await messageOf(sql, ids[2])).status, "processing");
    await assertPace(3);
  } finally {
    await sql.unsafe("drop trigger keep_still on messenger_messages; drop function public.keep_still()");
  }
  assert.deepEqual(outcomes(await settle(sql, [completed(running[2])])), ["completed"]);
  await assertClean(sql);
});

const DDL = {
  "alter table messenger_messages add column note text": "messages",
  "create index on messenger_messages (message_type)": "messages",
  "alter table messenger_failed_messages add column note text": "dead letters",
  "alter table messenger_schedules add column note text": "schedules",
  "alter table messenger.metrics add column note text": "metrics",
  "alter table messenger.idempotency_keys add column note text": "idempotency keys",
};
test("ddl · while a table of the bus is altered, the ticker keeps its pace, and other work continues", async (t) => {
  for (const [statement, what] of Object.entries(DDL)) {
    await t.step(statement, () => besideDdl(statement, what));
    await empty(project().sql);
  }
});

async function besideDdl(statement: string, what: string): Promise<void> {
  const { sql } = project();
  const [lost] = await dispatchMany(sql, 1);
  await claim(sql);
  await setClock(sql, "2 minutes");
  await sql`insert into messenger.measurements (at, transport_name, message_type, kind)
    values (messenger.now(), 'supabase', 'T', 'dispatched')`;
  await beside(statement, async () => {
    await assertPace(5);
    const [{ rolled_up }] = await sql`select count(*) = 0 as rolled_up from messenger.measurements`;
    assert.equal(rolled_up, what !== "metrics");
    if (what !== "messages") {
      assert.equal((await messageOf(sql, lost)).status, "pending");
      const [row] = await claim(sql);
      assert.deepEqual(outcomes(await settle(sql, [completed(row)])), ["completed"]);
    }
  });
  await setClock(sql, "4 minutes");
  await tick();
  if (what === "messages") await settle(sql, (await claim(sql)).map(completed));
  assert.equal((await messageOf(sql, lost)).status, "completed");
  await assertClean(sql);
}

test("serializable · as the database's default: workers complete all once, the ticker keeps its pace", async () => {
  const { sql } = project();
  await using admin = session(project(), "supabase_admin");
  await admin`alter database postgres set default_transaction_isolation = 'serializable'`;
  try {
    const again = <T>(work: () => Promise<T>) =>
      eventually("a concurrent call is not rejected", () =>
        work().catch((error) => {
          if (error.code !== "40001" && error.code !== "40P01") throw error;
          return undefined;
        }));
    await using stack = new AsyncDisposableStack();
    const workers = Array.from({ length: 4 }, () => stack.use(session(project())));
    const ids = await dispatchMany(sql, 200);
    const [{ level }] = await workers[0]`select current_setting('transaction_isolation') as level`;
    assert.equal(level, "serializable");
    const handled = await Promise.all(workers.map(async (own, n) => {
      const done: string[] = [];
      for (;;) {
        await again(() => dispatch(own, { type: "Other" }));
        const rows = await again(() => claim(own, { worker: `w${n}`, batch: 20, types: ["Greeting"] }));
        if (rows.length === 0) return done;
        const settled = await again(() => settle(own, rows.map(completed)));
        done.push(...settled.filter(({ outcome }) => outcome === "completed").map(({ id }) => id));
      }
    }));
    assert.deepEqual(handled.flat().toSorted(), ids.toSorted());
    await using own = session(project());
    await own.unsafe(`
      do $$ begin
        perform messenger.prepare_job();
        commit;
        for n in 1..3 loop perform messenger.tick_or_note_error(); commit; end loop;
      end $$`);
    assert.equal((await sql`select from messenger.ticks`).length, 3);
  } finally {
    await admin`alter database postgres reset default_transaction_isolation`;
  }
  await assertClean(sql);
});
