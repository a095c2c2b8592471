// An ordering key and an idempotency key on one message: a duplicate takes no new position in the order, and a change
// keeps it.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch, messageOf } from "../bus.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true, isolation: "read committed" });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

type Fields = Record<string, unknown>;
const ORDERED = { type: "Greeting", ordering_key: "ada" };
const send = (fields: Fields = {}) => dispatch(project().sql, { ...ORDERED, ...fields });
const batch = (messages: Fields[]) =>
  call(project().sql, "messenger_dispatch_batch", { messages: messages.map((fields) => ({ ...ORDERED, ...fields })) });
const line = async () => [
  ...await project().sql`
    select id, body, available_at = 'infinity' as blocked from messenger_messages where ordering_key is not null
      order by ordering_seq`,
];

test("keys · a duplicate takes no new position, and the result of a blocked message has no time", async () => {
  const { sql } = project();
  const head = await send({ idempotency_key: "first" });
  const next = await send({ idempotency_key: "second" });
  const before = await line();
  const repeated = [await send({ idempotency_key: "first" }), await send({ idempotency_key: "second" })];
  assert.deepEqual(repeated.map(({ id, duplicate, available_at }) => [id, duplicate, available_at]), [
    [head.id, true, head.available_at],
    [next.id, true, null],
  ]);
  assert.deepEqual(await line(), before);
  const both = await batch([{ idempotency_key: "second" }, { idempotency_key: "third" }, { idempotency_key: "third" }]);
  assert.deepEqual(both.map(({ duplicate, available_at }) => [duplicate, available_at]), [
    [true, null],
    [false, null],
    [true, null],
  ]);
  assert.equal((await messageOf(sql, both[1].id)).ordering_seq, "3");
});

test("keys · a blocked message that is replaced or moved keeps its position", async () => {
  const { sql } = project();
  const moment = new Date("2090-01-01T00:00:00Z");
  await send();
  const { id } = await send({ idempotency_key: "once", payload: { n: 0 } });
  await send();
  const before = await line();
  for (const [mode, fields] of [["replace", {}], ["reschedule", {}], ["debounce", { payload: { n: 2 } }]] as const) {
    const again = await send({
      idempotency_key: "once",
      idempotency_mode: mode,
      payload: { n: 1 },
      available_at: moment,
      ...fields,
    });
    assert.deepEqual([again.id, again.duplicate, again.available_at], [id, true, null]);
    assert.deepEqual((await messageOf(sql, id)).scheduled_at, mode === "replace" ? null : moment);
  }
  assert.deepEqual((await line()).map((row) => [row.id, row.blocked]), before.map((row) => [row.id, row.blocked]));
  assert.deepEqual((await messageOf(sql, id)).body, { n: 2 });
});

test("keys · debounce beside a running ordered message stores one that is blocked by it", async () => {
  const { sql } = project();
  const fields = { idempotency_key: "once", idempotency_mode: "debounce", delay: "0" };
  const { id } = await send(fields);
  await claim(sql);
  const next = await send(fields);
  assert.deepEqual([next.duplicate, next.available_at], [false, null]);
  assert.deepEqual((await line()).map((row) => [row.id, row.blocked]), [[id, false], [next.id, true]]);
});

const REPEATED = { idempotency_key: "once", idempotency_mode: "replace" };
const BATCHES: [what: string, messages: Fields[], line: number[]][] = [
  ["first, then changed", [{ ...REPEATED, payload: { n: 0 } }, {}, { ...REPEATED, payload: { n: 2 } }], [0, 1]],
  ["last, then changed", [{}, { ...REPEATED, payload: { n: 0 } }, { ...REPEATED, payload: { n: 2 } }], [0, 1]],
  ["between", [{}, { ...REPEATED, payload: { n: 0 } }, {}, { ...REPEATED, payload: { n: 2 } }], [0, 1, 2]],
];
for (const [what, messages, order] of BATCHES) {
  test(`keys · in a batch a message with a repeated key keeps the position of its first element: ${what}`, async () => {
    const replies = await batch(messages);
    const rows = await line();
    assert.deepEqual(rows.map(({ id }) => id), order.map((n) => replies[n].id));
    assert.deepEqual(rows.map(({ blocked }) => blocked), order.map((n) => n > 0));
    const changed = rows.find(({ body }) => body.n === 2);
    const ofKey = replies.filter(({ id }) => id === changed?.id);
    assert.deepEqual(ofKey.map(({ duplicate }) => duplicate), [false, true]);
    assert.deepEqual(ofKey.map(({ available_at }) => available_at === null), [changed?.blocked, changed?.blocked]);
    const { ordering_seq } = await messageOf(project().sql, changed?.id);
    assert.notEqual(ordering_seq, null);
  });
}

test("keys · a due message with a repeated key causes a wake-up when it has its position", async () => {
  const woken = await project().sql.begin(async (transaction) => {
    await call(transaction, "messenger_dispatch_batch", {
      messages: [{ ...ORDERED, ...REPEATED }, { ...ORDERED, ...REPEATED, payload: { n: 1 } }],
    });
    return (await transaction`select current_setting('messenger.woken', true) as woken`)[0].woken.trim();
  });
  assert.equal(woken, "supabase/default");
});

test("race · batches with both kinds of keys in opposite order do not deadlock", async () => {
  await using first = session(project());
  await using second = session(project());
  const keys = Array.from({ length: 100 }, (_, n) => n);
  const of = (own: number[]) => ({
    messages: own.map((n) => ({
      type: "T",
      idempotency_key: `i${n}`,
      idempotency_mode: "debounce",
      ordering_key: `o${99 - n}`,
    })),
  });
  for (let round = 0; round < 3; round++) {
    await Promise.all([
      call(first, "messenger_dispatch_batch", of(keys)),
      call(second, "messenger_dispatch_batch", of(keys.toReversed())),
    ]);
  }
  assert.deepEqual((await line()).map(({ blocked }) => blocked), keys.map(() => false));
});

test("race · a call that waited for one that rolled back takes its own position", async () => {
  const { sql } = project();
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  await dispatch(first, { ...ORDERED, idempotency_key: "once" });
  const waiting = dispatch(second, { ...ORDERED, idempotency_key: "once" });
  await untilBlocked(sql, pid);
  await first`rollback`;
  const stored = await waiting;
  assert.deepEqual([stored.duplicate, stored.available_at === null], [false, false]);
  assert.deepEqual((await line()).map(({ id }) => id), [stored.id]);
});
