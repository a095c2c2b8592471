// Locks of the bus are rows: roles without rights on schema messenger cannot hold one, and no call waits for one.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, dispatch, settle } from "../bus.ts";
import { errorOf } from "../assert_rejected.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true, isolation: "read committed" });

Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate messenger.locks`;
  await project().sql`delete from net.http_request_queue`;
});

const tryLock = async (sql: { unsafe: (text: string) => PromiseLike<Record<string, unknown>[]> }) =>
  (await sql.unsafe("select messenger.try_lock('roll_up') as taken"))[0].taken;
const keys = async () =>
  (await project().sql`select ordering_key from messenger.ordering_keys order by 1`).map((row) => row.ordering_key);

test("lock · one transaction has it, others are rejected at once, and it ends with the transaction", async () => {
  await using first = session(project());
  await using second = session(project());
  for (const round of ["first row ever", "row is there"]) {
    await first.unsafe("begin");
    assert.equal(await tryLock(first), true, round);
    assert.equal(await tryLock(first), true, "again, in the same transaction");
    if (round === "row is there") assert.equal(await tryLock(second), false, round);
    await first.unsafe("commit");
    assert.equal(await tryLock(second), true, round);
  }
});

test("lock · a tick while another transaction rolls up does all the rest and does not wait", async () => {
  const { sql } = project();
  await tryLock(sql);
  await using holder = session(project());
  await holder.unsafe("begin");
  assert.equal(await tryLock(holder), true);
  await sql`select messenger_start('http://127.0.0.1:1/functions/v1'), messenger_stop()`;
  await dispatch(sql);
  await callValue(sql, "messenger_tick");
  const [{ last_tick_at }] = await sql`select last_tick_at from messenger.clock`;
  assert.notEqual(last_tick_at, null);
  await holder.unsafe("rollback");
});

test("lock · roles without rights on the schema can neither lock the rows nor block the bus", async () => {
  const { sql } = project();
  await tryLock(sql);
  await dispatch(sql, { ordering_key: "k" });
  for (const role of ["anon", "authenticated"]) {
    await using own = session(project());
    await own.unsafe("begin");
    await own.unsafe(`set local role ${role}`);
    for (
      const key of [
        "messenger.roll_up",
        "messenger.run_sql_handlers",
        "messenger.wake_worker/supabase/default",
        "messenger.order/supabase/default/k",
      ]
    ) {
      await own`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`;
    }
    await dispatch(sql, { ordering_key: "k" });
    await callValue(sql, "messenger_tick");
    await own.unsafe("savepoint s");
    for (const table of ["locks", "ordering_keys", "wakeup_locks", "senders"]) {
      assert.equal((await errorOf(own.unsafe(`select * from messenger.${table} for update`))).code, "42501");
      await own.unsafe("rollback to s");
      assert.equal((await errorOf(own.unsafe(`lock table messenger.${table} in access share mode`))).code, "42501");
      await own.unsafe("rollback to s");
    }
    await own.unsafe("rollback");
  }
});

test("lock · if any role locks pg_net's queue, a dispatch and a tick lose their wake-up and nothing else", async () => {
  const { sql } = project();
  await sql`select messenger_start('http://127.0.0.1:1/functions/v1'), messenger_stop()`;
  await using anybody = session(project());
  await anybody.unsafe("begin");
  await anybody.unsafe("set local role anon");
  await anybody.unsafe("lock table net.http_request_queue in access exclusive mode");
  assert.equal((await dispatch(sql)).status, "pending");
  assert.equal((await callValue(sql, "messenger_tick")).woken, 0);
  await anybody.unsafe("rollback");
  assert.equal((await dispatch(sql)).status, "pending");
  assert.equal((await sql`select from net.http_request_queue`).length, 1);
});

test("lock · if a user locks Realtime's table, the sender loses a notice, and no outcome is lost", async () => {
  const { sql } = project();
  await using admin = session(project(), "supabase_admin");
  await admin.unsafe(`
    create schema if not exists realtime;
    create table realtime.messages (payload jsonb, event text, topic text, private boolean);
    create function realtime.send(payload jsonb, event text, topic text, private boolean) returns void language sql as
      'insert into realtime.messages values (payload, event, topic, private)';
    grant usage on schema realtime to postgres, authenticated;
    grant all on realtime.messages to postgres, authenticated`);
  try {
    await call(sql, "messenger_register", { types: [{ type: "Wish", dispatchable_by: "user" }] });
    await asRole(
      sql,
      "authenticated",
      (tx) => call(tx, "messenger_user_dispatch", { type: "Wish" }),
      crypto.randomUUID(),
    );
    const [{ id, fence }] = await claim(sql);
    await using anybody = session(project());
    await anybody.unsafe("begin");
    await anybody.unsafe("set local role authenticated");
    await anybody.unsafe("lock table realtime.messages in access exclusive mode");
    assert.equal(await callValue(sql, "messenger_complete", { id, fence }), "completed");
    await anybody.unsafe("rollback");
  } finally {
    await admin.unsafe("drop schema realtime cascade");
  }
});

test("ordering keys · two thousand in one transaction take no more locks than one", async () => {
  const { sql } = project();
  await sql.begin(async (tx) => {
    await tx`select count(d.id) from generate_series(1, 2000) n cross
      join lateral messenger_dispatch('Letter', ordering_key => 'customer-' || n) d`;
    const [{ locks }] = await tx`select count(*)::int as locks from pg_locks where pid = pg_backend_pid()`;
    assert(locks < 100, `${locks} locks`);
    throw new Error("undo");
  }).catch((error) => assert.equal(error.message, "undo"));
});

test("ordering keys · two keys never wait for each other, whatever their hash", async () => {
  await using first = session(project());
  await first.unsafe("begin");
  await dispatch(first, { ordering_key: "a" });
  const { sql } = project();
  for (let n = 0; n < 50; n++) await dispatch(sql, { ordering_key: `b${n}` });
  await first.unsafe("rollback");
});

test("ordering keys · batches with the same keys in opposite orders do not deadlock", async () => {
  const { sql } = project();
  await using first = session(project());
  await using second = session(project());
  await first.unsafe("begin");
  await second.unsafe("begin");
  const batch = (on: typeof first, keys: string[]) =>
    on`select * from messenger_dispatch_batch(${
      on.json(keys.map((ordering_key) => ({ type: "Letter", ordering_key })))
    })`;
  await batch(first, ["a", "b", "c"]);
  const pid = await pidOf(second);
  const waiting = batch(second, ["c", "b", "a"]).then((rows) => rows.length);
  await untilBlocked(sql, pid);
  await first.unsafe("commit");
  assert.equal(await waiting, 3);
  await second.unsafe("commit");
});

test("ordering keys · are pruned an hour after their last unfinished message, unless they are held", async () => {
  const { sql } = project();
  for (const ordering_key of ["held", "used", "idle"]) await dispatch(sql, { ordering_key });
  const rows = await claim(sql, { batch: 10 });
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  await dispatch(sql, { ordering_key: "used" });
  await using holder = session(project());
  await holder.unsafe("begin");
  await dispatch(holder, { ordering_key: "held" });
  const prune = (minutes: number) =>
    sql`select messenger.prune_ordering_keys(messenger.now() + make_interval(mins => ${minutes}), 100)`;
  await prune(59);
  assert.deepEqual(await keys(), ["held", "idle", "used"]);
  await prune(61);
  assert.deepEqual(await keys(), ["held", "used"]);
  await holder.unsafe("rollback");
  await prune(61);
  assert.deepEqual(await keys(), ["used"]);
  const [{ later }] =
    await sql`select check_at > messenger.now() + interval '90 minutes' as later from messenger.ordering_keys`;
  assert.equal(later, true, "a key in use is checked again an hour later");
});

test("wake-ups · the rows for sharing them are made by the tick and pruned a day later", async () => {
  const { sql } = project();
  await sql`select messenger_start('http://127.0.0.1:1/functions/v1'), messenger_stop()`;
  await dispatch(sql);
  await callValue(sql, "messenger_tick");
  const rows = async () =>
    (await sql`select transport_name || '/' || queue_name as queue from messenger.wakeup_locks`).map(({ queue }) =>
      queue
    );
  assert.deepEqual(await rows(), ["supabase/default"]);
  await sql`select messenger.prune_wakeup_locks(messenger.now() + interval '25 hours', 10)`;
  assert.deepEqual(await rows(), []);
});
