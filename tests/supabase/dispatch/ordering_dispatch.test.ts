// Dispatch with an ordering key: the first message, the blocked ones behind it, and no effect on others.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, claim, dispatch, messageOf, settle, type SqlClient } from "../bus.ts";
import { errorOf } from "../assert_rejected.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true, isolation: "read committed" });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));
Deno.test.afterEach(async () => {
  const wrong = (await call(project().sql, "messenger_audit")).filter(({ violations }) => violations !== "0");
  assert.deepEqual(wrong, []);
});

type Fields = Record<string, unknown>;
const send = (sql: SqlClient, fields: Fields = {}) => dispatch(sql, { ordering_key: "ada", ...fields });
const batch = (sql: SqlClient, messages: Fields[]) =>
  call(sql, "messenger_dispatch_batch", { messages: messages.map((fields) => ({ type: "Greeting", ...fields })) });
const line = async () => [
  ...await project().sql`
    select id, ordering_key, available_at = 'infinity' as blocked from messenger_messages where ordering_key is not null
      order by ordering_seq`,
];
const isBlocked = async (id: string) => (await line()).find((row) => row.id === id)?.blocked;

test("order · the first is due, those behind it are blocked without a time, in dispatch order", async () => {
  const { sql } = project();
  const replies = [await send(sql), await send(sql), await send(sql)];
  assert.deepEqual((await line()).map(({ id, blocked }) => [id, blocked]), [
    [replies[0].id, false],
    [replies[1].id, true],
    [replies[2].id, true],
  ]);
  assert(replies[0].available_at instanceof Date);
  assert.deepEqual(replies.slice(1).map(({ status, duplicate, available_at }) => [status, duplicate, available_at]), [
    ["pending", false, null],
    ["pending", false, null],
  ]);
  assert.deepEqual((await claim(sql)).map(({ id }) => id), [replies[0].id]);
});

test("order · a blocked message keeps the requested time", async () => {
  const { sql } = project();
  await send(sql);
  const moment = new Date("2090-01-01T00:00:00Z");
  const later = await send(sql, { available_at: moment });
  const row = await messageOf(sql, later.id);
  assert.deepEqual([later.available_at, row.scheduled_at], [null, moment]);
  assert.equal((await messageOf(sql, (await send(sql)).id)).scheduled_at, null);
});

test("order · a delayed first one keeps its time and blocks the rest", async () => {
  const { sql } = project();
  const moment = new Date("2090-01-01T00:00:00Z");
  assert.deepEqual((await send(sql, { available_at: moment })).available_at, moment);
  assert.equal((await send(sql)).available_at, null);
  assert.deepEqual(await claim(sql), []);
});

test("order · a running message and one that waits for a retry block the next; a finished one does not", async () => {
  const { sql } = project();
  const { id } = await send(sql, { max_retries: 1 });
  let [{ fence }] = await claim(sql);
  assert.equal((await send(sql, { queue: "default" })).available_at, null);
  await sql`delete from messenger_messages where available_at = 'infinity'`;
  await settle(sql, [{ id, fence, outcome: "failed", error: "no", delay_ms: 0 }]);
  assert.equal((await send(sql)).available_at, null);
  await sql`delete from messenger_messages where available_at = 'infinity'`;
  [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  assert.notEqual((await send(sql)).available_at, null);
});

for (
  const [policy, config] of [["continue", {}], ["continue", { ordering_dead_letter: "continue" }], ["block", {
    ordering_dead_letter: "block",
  }]] as const
) {
  test(`order · an open dead letter, with the transport's config ${JSON.stringify(config)}: ${policy}`, async () => {
    const { sql } = project();
    await sql`update messenger_transports set config = ${sql.json(config)} where name = 'supabase'`;
    const { id } = await send(sql, { max_retries: 0 });
    const [{ fence }] = await claim(sql);
    await settle(sql, [{ id, fence, outcome: "failed", error: "no" }]);
    const next = await send(sql);
    assert.equal(next.available_at === null, policy === "block");
    assert.notEqual((await send(sql, { ordering_key: "bob" })).available_at, null);
    assert.notEqual((await send(sql, { queue: "other" })).available_at, null);
    await sql`update messenger_failed_messages set resolved_at = messenger.now(), resolution = 'discarded'`;
    await sql`update messenger_messages set error_class = 'Discarded' where id = ${id}`;
    await sql`delete from messenger_messages where id = ${next.id}`;
    assert.notEqual((await send(sql)).available_at, null);
  });
}

test("order · a policy that is neither block nor continue is rejected", async () => {
  const work = project().sql`update messenger_transports set config = '{"ordering_dead_letter": "stop"}'`;
  assert.equal((await errorOf(work)).code, "23514");
});

test("order · other keys, queues and transports, and messages without a key, are not blocked", async () => {
  const { sql } = project();
  await using holder = session(project());
  await sql`insert into messenger_transports (name, type) values ('second', 'supabase')`;
  await holder`begin`;
  await send(holder);
  const others = [{ ordering_key: "bob" }, { queue: "other" }, { transport: "second" }, { ordering_key: null }];
  for (const fields of others) assert.notEqual((await send(sql, fields)).available_at, null);
  await holder`rollback`;
});

test("order · in a batch the first of each key is due, and the others have the batch's order", async () => {
  const { sql } = project();
  const replies = await batch(sql, [
    { ordering_key: "b" },
    { ordering_key: "a" },
    {},
    { ordering_key: "b" },
    { ordering_key: "a" },
    { ordering_key: "b" },
    { ordering_key: "b", queue: "other" },
  ]);
  assert.deepEqual(replies.map(({ available_at }) => available_at === null), [
    false,
    false,
    false,
    true,
    true,
    true,
    false,
  ]);
  const ofKey = async (key: string) => (await line()).filter((row) => row.ordering_key === key).map(({ id }) => id);
  assert.deepEqual(await ofKey("a"), [1, 4].map((n) => replies[n].id));
  assert.deepEqual((await ofKey("b")).filter((id) => id !== replies[6].id), [0, 3, 5].map((n) => replies[n].id));
  assert.deepEqual((await messageOf(sql, replies[2].id)).ordering_seq, null);
});

test("order · of a thousand on one key one is due", async () => {
  const replies = await batch(project().sql, Array.from({ length: 1000 }, () => ({ ordering_key: "ada" })));
  assert.deepEqual((await line()).map(({ id }) => id), replies.map(({ id }) => id));
  assert.equal(replies.filter(({ available_at }) => available_at !== null).length, 1);
});

test("order · a bad element of a batch that is not atomic has no position", async () => {
  const { sql } = project();
  const messages = [{ type: "bad type", ordering_key: "ada" }, { type: "T", ordering_key: "ada" }];
  const replies = await call(sql, "messenger_dispatch_batch", { messages, atomic: false });
  assert.deepEqual([replies[0].error_code, await isBlocked(replies[1].id)], ["SM_TYPE", false]);
});

for (const seen of ["an empty table", "the waiting messages"]) {
  test(`order · one more reads a few rows, however many keys are blocked, if the planner saw ${seen}`, async () => {
    const { sql } = project();
    if (seen === "an empty table") await sql`analyze messenger_messages`;
    await using planned = session(project());
    await send(planned, { ordering_key: "first" });
    for (let n = 0; n < 3; n++) {
      await batch(sql, Array.from({ length: 1000 }, (_, at) => ({ ordering_key: `k${at}` })));
    }
    if (seen === "the waiting messages") await sql`analyze messenger_messages`;
    await planned.begin(async (transaction) => {
      await send(transaction);
      const [{ read }] = await transaction`
        select sum(pg_stat_get_xact_tuples_returned(c) + pg_stat_get_xact_tuples_fetched(c))::int as read
        from (select indexrelid as c from pg_index where indrelid = 'public.messenger_messages'::regclass
          union all select 'public.messenger_messages'::regclass) t`;
      assert.ok(read < 20, `${read} rows were read`);
    });
  });
}

for (const key of ["new", "that was used before"]) {
  test(`race · with a key ${key}, the second session waits for the first's, and its message follows`, async () => {
    if (key !== "new") await call(project().sql, "messenger_cancel", { id: (await send(project().sql)).id });
    await using first = session(project());
    await using second = session(project());
    const pid = await pidOf(second);
    await first`begin`;
    const head = await send(first);
    const waiting = send(second);
    await untilBlocked(project().sql, pid);
    await first`commit`;
    const next = await waiting;
    assert.equal(next.available_at, null);
    assert.deepEqual((await line()).map(({ id }) => id).slice(-2), [head.id, next.id]);
  });
}

test("race · when the first rolls back, the second is first in order", async () => {
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  await send(first);
  const waiting = send(second);
  await untilBlocked(project().sql, pid);
  await first`rollback`;
  const stored = await waiting;
  assert.notEqual(stored.available_at, null);
  assert.deepEqual((await line()).map(({ id }) => id), [stored.id]);
});

for (const level of ["repeatable read", "serializable"]) {
  test(`race · under ${level} a message is stored blocked, as its snapshot may be stale`, async () => {
    await using sender = session(project());
    await sender.unsafe(`begin isolation level ${level}`);
    await sender`select from messenger_messages`;
    const { id, available_at } = await send(sender);
    const plain = await dispatch(sender);
    await sender`commit`;
    assert.deepEqual([available_at, await isBlocked(id)], [null, true]);
    assert.notEqual(plain.available_at, null);
    // The tick, which unblocks such a message, has not run.
    await project().sql`delete from messenger_messages`;
  });
}

test("race · batches with their keys in opposite order do not deadlock, and each key has one that is due", async () => {
  await using first = session(project());
  await using second = session(project());
  const keys = Array.from({ length: 200 }, (_, n) => ({ ordering_key: `k${n}` }));
  for (let round = 0; round < 5; round++) await Promise.all([batch(first, keys), batch(second, keys.toReversed())]);
  const rows = await line();
  assert.deepEqual([rows.length, rows.filter(({ blocked }) => !blocked).length], [2000, 200]);
});

test("race · batches wait for the first key they share, without a deadlock", async () => {
  await using holder = session(project());
  const both: (Sql & AsyncDisposable)[] = [session(project()), session(project())];
  const pids = await Promise.all(both.map(pidOf));
  await holder`begin`;
  await batch(holder, [{ ordering_key: "b" }]);
  const waiting = both.map((sql, n) => {
    const keys = ["a", "b", "c"].map((ordering_key) => ({ ordering_key }));
    return batch(sql, n === 0 ? keys : keys.toReversed());
  });
  for (const pid of pids) await untilBlocked(project().sql, pid);
  await holder`commit`;
  await Promise.all(waiting);
  await Promise.all(both.map((sql) => sql.end()));
  assert.equal((await line()).filter(({ blocked }) => !blocked).length, 3);
});

test("race · of fifty sessions on one key one message is due, and the rest are blocked in order", async () => {
  const sessions = Array.from({ length: 50 }, () => session(project()));
  try {
    await Promise.all(sessions.map((sql) => sql`select 1`));
    const replies = await Promise.all(sessions.map((sql) => send(sql)));
    const rows = await line();
    assert.equal(replies.filter(({ available_at }) => available_at !== null).length, 1);
    assert.deepEqual(rows.map(({ blocked }) => blocked), rows.map((_, n) => n > 0));
    assert.equal(rows[0].id, replies.find(({ available_at }) => available_at !== null)?.id);
  } finally {
    await Promise.all(sessions.map((sql) => sql.end()));
  }
});

test("order · a blocked message causes no wake-up", async () => {
  const { sql } = project();
  await send(sql);
  const woken = await asRole(sql, "service_role", async (transaction) => {
    await send(transaction);
    return (await transaction`select current_setting('messenger.woken', true) as woken`)[0].woken;
  });
  assert.ok(!woken);
});
