// The modes within one batch: elements with one key are applied in their order, as if each were a separate call, and
// the results show the final state.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, claim, dispatch, messageOf, type Row } from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));
Deno.test.afterEach(async () => {
  const wrong = (await call(project().sql, "messenger_audit")).filter(({ violations }) => violations !== "0");
  assert.deepEqual(wrong, []);
});

type Fields = Record<string, unknown>;
const year = (n: number) => `20${80 + n}-01-01T00:00:00Z`;
const element = (mode: string, n: number, fields: Fields = {}) => ({
  type: "Greeting",
  payload: { n: mode === "ignore" || mode === "reschedule" ? 0 : n },
  idempotency_key: "once",
  idempotency_mode: mode,
  available_at: year(n),
  ...fields,
});
const send = (messages: Fields[], atomic = true): Promise<Row[]> =>
  call(project().sql, "messenger_dispatch_batch", { messages, atomic });
const rows = async () => [...await project().sql`select * from messenger_messages order by id`];

// The message after a batch of elements 0, 1, 2 of one mode.
const LEFT: Record<string, [payload: number, place: number]> = {
  ignore: [0, 0],
  replace: [2, 0],
  reschedule: [0, 2],
  throttle: [0, 0],
  debounce: [2, 2],
};

for (const [mode, [payload, place]] of Object.entries(LEFT)) {
  for (const window of ["1 hour", "0"]) {
    test(`batch · ${mode} three times with one key stores one message, with a window of ${window}`, async () => {
      const replies = await send([0, 1, 2].map((n) => element(mode, n, { idempotency_window: window })));
      const [row, ...others] = await rows();
      assert.deepEqual(others, []);
      assert.deepEqual([row.body, row.available_at], [{ n: payload }, new Date(year(place))]);
      assert.deepEqual(replies.map(({ id, duplicate, status }) => [id, duplicate, status]), [
        [row.id, false, "pending"],
        [row.id, true, "pending"],
        [row.id, true, "pending"],
      ]);
      assert(replies.every(({ available_at }) => available_at.getTime() === row.available_at.getTime()));
      assert.equal((await dispatch(project().sql, { ...element("ignore", 0), payload: row.body })).id, row.id);
    });
  }

  test(`batch · ${mode} with the key of an older message is applied in order, too`, async () => {
    const first = await dispatch(project().sql, element("ignore", 5, { payload: { n: 0 } }));
    const replies = await send([0, 1, 2].map((n) => element(mode, n)));
    const [row] = await rows();
    assert(replies.every(({ id, duplicate }) => id === first.id && duplicate));
    assert(replies.every(({ available_at }) => available_at.getTime() === row.available_at.getTime()));
    const moves = mode === "reschedule" || mode === "debounce";
    assert.deepEqual([row.body, row.available_at], [{ n: payload }, new Date(year(moves ? 2 : 5))]);
  });
}

test("batch · modes may be mixed on one key: each element finds the state that the ones before it left", async () => {
  const same = { payload: { n: 1 } };
  const replies = await send([
    element("ignore", 0, { payload: { n: 9 } }),
    element("replace", 1),
    element("reschedule", 3, same),
    element("throttle", 4),
    element("ignore", 5, same),
  ]);
  assert.deepEqual(replies.map(({ duplicate }) => duplicate), [false, true, true, true, true]);
  const [row] = await rows();
  assert.deepEqual([row.body, row.available_at], [{ n: 1 }, new Date(year(3))]);
});

test("batch · a mismatch of two elements rejects an atomic batch, and one element of another", async () => {
  const messages = [
    { type: "T" },
    element("replace", 0),
    element("replace", 1, { type: "Farewell" }),
    element("reschedule", 1, { payload: { n: 7 } }),
    element("replace", 2),
  ];
  const message = await assertRejected(send(messages), "SM_IDEMPOTENCY_MISMATCH", 409);
  assert(message.includes("message 3"), message);
  assert.deepEqual(await rows(), []);
  const replies = await send(messages, false);
  assert.deepEqual(replies.map(({ error_code }) => error_code), [
    null,
    null,
    "SM_IDEMPOTENCY_MISMATCH",
    "SM_IDEMPOTENCY_MISMATCH",
    null,
  ]);
  assert.deepEqual((await rows()).map(({ body }) => body), [{}, { n: 2 }]);
});

test("batch · an expiry before the message's time is one element's error", async () => {
  const expires_at = year(1);
  const replies = await send(
    [element("replace", 3), element("replace", 0, { expires_at }), element("reschedule", 2, { payload: { n: 3 } })],
    false,
  );
  assert.deepEqual(replies.map(({ error_code }) => error_code), [null, "SM_EXPIRES_AT", null]);
  assert.deepEqual(replies[0].available_at, new Date(year(2)));
});

test("batch · with keys of every mode and without: each has its result at its index", async () => {
  const { sql } = project();
  const messages = [
    ...Object.keys(LEFT).map((mode, n) => element(mode, n, { idempotency_key: mode })),
    { type: "Plain", priority: 9 },
    { type: "bad type" },
    ...Object.keys(LEFT).map((mode, n) => element(mode, n, { idempotency_key: mode })),
  ];
  const replies = await send(messages, false);
  assert.deepEqual(replies.map(({ ord }) => ord), messages.map((_, n) => n + 1));
  assert.deepEqual(replies[6].error_code, "SM_TYPE");
  for (let n = 0; n < 5; n++) {
    assert.deepEqual({ ...replies[n], ord: 0, duplicate: true }, { ...replies[n + 7], ord: 0 });
    assert.equal((await messageOf(sql, replies[n].id)).idempotency_key, Object.keys(LEFT)[n]);
  }
  assert.equal((await rows()).length, 6);
});

test("batch · debounce beside a running message stores one new message for all its elements", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { idempotency_key: "once" });
  await claim(sql);
  const replies = await send([0, 1, 2].map((n) => element("debounce", n)));
  assert.deepEqual(replies.map(({ duplicate }) => duplicate), [false, true, true]);
  assert.deepEqual((await rows()).map((row) => [row.id, row.body, row.idempotency_key]), [
    [id, {}, null],
    [replies[0].id, { n: 2 }, "once"],
  ]);
});

test("batch · a message that an element moved to now causes a wake-up", async () => {
  const woken = await project().sql.begin(async (transaction) => {
    await call(transaction, "messenger_dispatch_batch", {
      messages: [element("reschedule", 1), element("reschedule", 2, { available_at: "2020-01-01T00:00:00Z" })],
    });
    return (await transaction`select current_setting('messenger.woken', true) as woken`)[0].woken.trim();
  });
  assert.equal(woken, "supabase/default");
  assert.equal((await claim(project().sql)).length, 1);
});
