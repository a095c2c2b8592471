// The modes of an idempotency key: the changes of a later dispatch to the message with the key, and the cases in which
// a new one is stored.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, claim, deadLetterOf, dispatch, messageOf, secondsUntil, setClock, settle } from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));
Deno.test.afterEach(async () => {
  const wrong = (await call(project().sql, "messenger_audit")).filter(({ violations }) => violations !== "0");
  assert.deepEqual(wrong, []);
});

type Fields = Record<string, unknown>;
const send = (mode: string, fields: Fields = {}) =>
  dispatch(project().sql, { idempotency_key: "once", idempotency_mode: mode, ...fields });
const rowOf = (id: string) => messageOf(project().sql, id);
const stored = async () => (await project().sql`select from messenger_messages`).length;
const minutesUntil = async (moment: Date) => Math.round(await secondsUntil(project().sql, moment) / 60);
async function finish(outcome: Fields = { outcome: "completed" }) {
  const [{ id, fence }] = await claim(project().sql);
  await settle(project().sql, [{ id, fence, ...outcome }]);
}

const CHANGING = ["replace", "reschedule", "debounce"];
const [NEW, OLD] = [{ payload: { version: 2 } }, { payload: { version: 1 } }];

test("replace · a pending message gets the new content and keeps its position", async () => {
  const first = await send("replace", {
    ...OLD,
    delay: "1 hour",
    priority: 9,
    headers: { a: "1" },
    expires_at: "2100-01-01",
  });
  const old = await rowOf(first.id);
  const again = await send("replace", { ...NEW, max_retries: 7, metadata: { by: "me" } });
  assert.deepEqual({ ...again, duplicate: false }, { ...first });
  assert.equal(again.duplicate, true);
  const row = await rowOf(first.id);
  assert.deepEqual([row.body, row.headers, row.metadata, row.priority, row.max_retries, row.expires_at], [
    { version: 2 },
    {},
    { by: "me" },
    5,
    7,
    null,
  ]);
  assert.deepEqual([row.available_at, row.scheduled_at, row.created_at], [
    old.available_at,
    old.scheduled_at,
    old.created_at,
  ]);
  assert.equal(await stored(), 1);
});

test("replace · the key belongs to the new payload from then on", async () => {
  await send("ignore", OLD);
  await send("replace", NEW);
  assert.equal((await send("ignore", NEW)).duplicate, true);
  await assertRejected(send("ignore", OLD), "SM_IDEMPOTENCY_MISMATCH", 409);
});

test("replace · a message that waits for a retry keeps the delay and its used retries", async () => {
  const { sql } = project();
  const { id } = await send("ignore", { ...OLD, max_retries: 3 });
  for (let n = 0; n < 2; n++) {
    await finish({ outcome: "failed", error: "no", delay_ms: 0 });
  }
  await setClock(sql, "1 second");
  await finish({ outcome: "failed", error: "no", delay_ms: 3_600_000 });
  const { available_at } = await rowOf(id);
  assert.equal((await send("replace", { ...NEW, max_retries: 0 })).id, id);
  const row = await rowOf(id);
  assert.deepEqual([row.retry_count, row.max_retries, row.available_at], [3, 3, available_at]);
  await setClock(sql, "2 hours");
  await finish({ outcome: "failed", error: "no" });
  assert.deepEqual([(await rowOf(id)).status, (await deadLetterOf(sql, id)).body], ["failed", { version: 2 }]);
});

test("replace · an expiry before the message's time is rejected, and nothing changes", async () => {
  const { id } = await send("replace", { ...OLD, delay: "2 hours" });
  const soon = new Date(Date.now() + 3_600_000);
  const message = await assertRejected(send("replace", { ...NEW, expires_at: soon }), "SM_EXPIRES_AT");
  assert(message.includes(id), message);
  assert.deepEqual((await rowOf(id)).body, { version: 1 });
  assert.equal((await send("ignore", OLD)).id, id);
});

test("reschedule · a pending message moves, and keeps its content", async () => {
  const { id } = await send("ignore", { ...OLD, delay: "1 hour", priority: 9, metadata: { a: 1 } });
  const later = await send("reschedule", { ...OLD, available_at: "2090-01-01T00:00:00Z", priority: 1 });
  assert.deepEqual([later.id, later.duplicate, later.available_at], [id, true, new Date("2090-01-01T00:00:00Z")]);
  const row = await rowOf(id);
  assert.deepEqual([row.available_at, row.scheduled_at], [later.available_at, later.available_at]);
  assert.deepEqual([row.priority, row.metadata], [9, { a: 1 }]);
  await send("reschedule", OLD);
  assert.equal((await rowOf(id)).scheduled_at, null);
  assert.equal((await claim(project().sql))[0].id, id, "without a time it is due now");
});

test("reschedule · another payload is rejected, and nothing moves", async () => {
  const { id } = await send("ignore", OLD);
  await assertRejected(send("reschedule", { ...NEW, delay: "1 hour" }), "SM_IDEMPOTENCY_MISMATCH", 409);
  assert.equal((await rowOf(id)).scheduled_at, null);
});

test("reschedule · a time after the message's expiry is rejected", async () => {
  const { id } = await send("ignore", { ...OLD, expires_at: new Date(Date.now() + 3_600_000) });
  await assertRejected(send("reschedule", { ...OLD, delay: "2 hours" }), "SM_EXPIRES_AT");
  assert.equal((await rowOf(id)).scheduled_at, null);
});

for (const mode of ["reschedule", "debounce"]) {
  test(`${mode} · the delay of a retry is not shortened, but may grow`, async () => {
    const { id } = await send("ignore", OLD);
    await finish({ outcome: "failed", error: "no", delay_ms: 3_600_000 });
    const { available_at } = await rowOf(id);
    assert.deepEqual((await send(mode, { ...OLD, delay: "1 second" })).available_at, available_at);
    assert.equal(await minutesUntil((await send(mode, { ...OLD, delay: "2 hours" })).available_at), 120);
  });

  test(`${mode} · a message moved to now sends a wake-up, one moved to later does not`, async () => {
    await send("ignore", { ...OLD, delay: "1 hour" });
    const wokenBy = (fields: Fields) =>
      project().sql.begin(async (transaction) => {
        await dispatch(transaction, { idempotency_key: "once", idempotency_mode: mode, ...OLD, ...fields });
        const [{ woken }] = await transaction`select current_setting('messenger.woken', true) as woken`;
        return woken?.trim() || null;
      });
    assert.equal(await wokenBy({ delay: "2 hours" }), null);
    assert.equal(await wokenBy({ delay: "0" }), "supabase/default");
  });
}

test("throttle · one message per window, whatever the payloads are", async () => {
  const { sql } = project();
  const first = await send("throttle", { ...OLD, idempotency_window: "1 hour" });
  const again = await send("throttle", { ...NEW, idempotency_window: "1 minute", delay: "1 hour", priority: 1 });
  assert.deepEqual({ ...again, duplicate: false }, { ...first });
  await finish();
  await setClock(sql, "59 minutes");
  assert.deepEqual([(await send("throttle", NEW)).id, (await rowOf(first.id)).body], [first.id, { version: 1 }]);
  await setClock(sql, "61 minutes");
  const next = await send("throttle", NEW);
  assert.deepEqual([next.duplicate, (await rowOf(next.id)).body], [false, { version: 2 }]);
});

test("throttle · a message that takes longer than the window keeps its key until it is finished", async () => {
  const { sql } = project();
  const { id } = await send("throttle", { ...OLD, idempotency_window: "1 minute" });
  await setClock(sql, "1 hour");
  assert.equal((await send("throttle", NEW)).id, id);
  await finish();
  assert.equal((await send("throttle", NEW)).duplicate, false);
});

test("debounce · a burst makes one message, with the last payload, the delay after the last call", async () => {
  const { sql } = project();
  const first = await send("debounce", { payload: { n: 0 }, delay: "10 minutes" });
  assert.deepEqual([first.duplicate, await minutesUntil(first.available_at)], [false, 10]);
  for (let n = 1; n <= 3; n++) {
    await setClock(sql, `${n * 9} minutes`);
    assert.deepEqual(await claim(sql), []);
    const again = await send("debounce", { payload: { n }, delay: "10 minutes", priority: n });
    assert.deepEqual([again.id, again.duplicate, await minutesUntil(again.available_at)], [first.id, true, 10]);
    assert.deepEqual((await rowOf(first.id)).scheduled_at, again.available_at);
  }
  await setClock(sql, "38 minutes");
  assert.deepEqual((await claim(sql)).map(({ id, body, priority }) => [id, body, priority]), [[first.id, { n: 3 }, 3]]);
});

test("debounce · without a delay it waits for the window of call or transport; a time wins", async () => {
  const { sql } = project();
  assert.equal(await minutesUntil((await send("debounce", OLD)).available_at), 1440);
  await sql`update messenger_transports set config = '{"idempotency_window": "2 hours"}' where name = 'supabase'`;
  assert.equal(await minutesUntil((await send("debounce", OLD)).available_at), 120);
  assert.equal(await minutesUntil((await send("debounce", { idempotency_window: "5 minutes" })).available_at), 5);
  const moment = new Date("2090-01-01T00:00:00Z");
  assert.deepEqual((await send("debounce", { ...OLD, available_at: moment })).available_at, moment);
});

test("debounce · a call while the message runs stores a new one, the old one loses the key", async () => {
  const { sql } = project();
  const old = await send("debounce", { ...OLD, delay: "0" });
  const [{ fence }] = await claim(sql);
  const next = await send("debounce", { ...NEW, delay: "10 minutes" });
  assert.deepEqual([next.duplicate, next.id === old.id], [false, false]);
  assert.deepEqual([(await rowOf(old.id)).idempotency_key, (await rowOf(next.id)).idempotency_key], [null, "once"]);
  assert.deepEqual((await rowOf(old.id)).body, { version: 1 });
  assert.equal((await send("debounce", { payload: { version: 3 }, delay: "20 minutes" })).id, next.id);
  await settle(sql, [{ id: old.id, fence, outcome: "failed", error: "no", delay_ms: 0 }]);
  await setClock(sql, "1 second");
  assert.deepEqual((await claim(sql)).map(({ id, body }) => [id, body]), [[old.id, { version: 1 }]]);
  assert.equal(await stored(), 2);
});

test("debounce · a call after the message finished stores a new one, within its window or not", async () => {
  const { sql } = project();
  const { id } = await send("debounce", { ...OLD, delay: "0" });
  await finish();
  assert.equal((await rowOf(id)).idempotency_key, "once");
  const next = await send("debounce", { ...OLD, delay: "0" });
  assert.equal(next.duplicate, false);
  await sql`update messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
  await finish();
  assert.equal((await send("debounce", NEW)).duplicate, false);
});

test("debounce · a call beside an open dead letter stores a new one, which keeps the key", async () => {
  const { id } = await send("debounce", { ...OLD, delay: "0", max_retries: 0 });
  await finish({ outcome: "failed", error: "no" });
  const next = await send("debounce", NEW);
  assert.deepEqual([next.duplicate, (await rowOf(id)).idempotency_key], [false, null]);
  assert.equal((await deadLetterOf(project().sql, id)).idempotency_key, "once");
});

for (const mode of [...CHANGING, "throttle"]) {
  for (const [what, fields] of [["type", { type: "Farewell" }], ["queue", { queue: "other" }]] as const) {
    test(`${mode} · another ${what} is rejected, while the message is pending and while it runs`, async () => {
      const { id } = await send("ignore", OLD);
      const before = await rowOf(id);
      await assertRejected(send(mode, { ...OLD, ...fields, delay: "1 hour" }), "SM_IDEMPOTENCY_MISMATCH", 409);
      assert.deepEqual(await rowOf(id), before);
      await claim(project().sql);
      await assertRejected(send(mode, { ...OLD, ...fields, delay: "1 hour" }), "SM_IDEMPOTENCY_MISMATCH", 409);
      assert.equal(await stored(), 1);
    });
  }
}

for (const mode of ["replace", "reschedule"]) {
  const fields = mode === "replace" ? NEW : OLD;
  test(`${mode} · a running, finished, dead or deleted message is not changed within its window`, async () => {
    const { sql } = project();
    const unchanged = async (status: string) => {
      const before = await rowOf(id);
      const again = await send(mode, { ...fields, delay: "3 hours" });
      assert.deepEqual([again.id, again.duplicate, again.status], [id, true, status]);
      assert.deepEqual(await rowOf(id), before);
    };
    let { id } = await send("ignore", OLD);
    const [{ fence }] = await claim(sql);
    await unchanged("processing");
    await settle(sql, [{ id, fence, outcome: "completed" }]);
    await unchanged("completed");
    await setClock(sql, "25 hours");
    ({ id } = await send(mode, { ...OLD, max_retries: 0 }));
    await finish({ outcome: "failed", error: "no" });
    await unchanged("failed");
    await sql`update messenger_failed_messages set resolved_at = messenger.now(), resolution = 'discarded'`;
    await sql`update messenger_messages set error_class = 'Discarded' where id = ${id}`;
    await setClock(sql, "50 hours");
    await sql`update messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
    ({ id } = await send(mode, OLD));
    await finish();
    await unchanged("completed");
    assert.equal((await send("ignore", OLD)).id, id, "the key still belongs to the payload that was sent");
  });
}

for (const mode of CHANGING) {
  test(`${mode} · a message past its expiry is not restored, whether a claim has found it or not`, async () => {
    const { sql } = project();
    const { id } = await send("ignore", { ...OLD, expires_at: new Date(Date.now() + 60_000) });
    await setClock(sql, "2 minutes");
    const again = await send(mode, { ...OLD, delay: "0" });
    assert.deepEqual([again.id === id, again.duplicate], mode === "debounce" ? [false, false] : [true, true]);
    await claim(sql);
    assert.equal((await rowOf(id)).error_class, "Expired");
  });
}
