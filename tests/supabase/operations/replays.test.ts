// Slow retries: spread over time, counted by the ticker, stopped when they fail again, after which everything not
// handed out is as before.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch, messageOf, type Row, secondsUntil, setClock, settle } from "../bus.ts";
import {
  assertSound,
  deadLettersOf,
  discard,
  failForGood,
  makeDeadLetter,
  makeDeadLetters,
  retry,
} from "./make_dead_letters.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));
Deno.test.afterEach(() => assertSound(project().sql));

const tick = () => callValue(project().sql, "messenger_tick");
const reports = async (): Promise<Row[]> => [...await project().sql`select * from messenger.replay_report()`];
const figures = async () => {
  const [{ total, completed, dead, lapsed, returned, remaining }] = await reports();
  return { total, completed, dead, lapsed, returned, remaining };
};
const NONE = { completed: 0, dead: 0, lapsed: 0, returned: 0 };

/** Makes a worker handle due messages: it fails the given number and completes the rest. */
async function work(deadly: number, batch = 1000): Promise<Row[]> {
  const { sql } = project();
  const rows = await claim(sql, { batch });
  for (const row of rows.slice(0, deadly)) await failForGood(sql, row, { error: "again" });
  const rest = rows.slice(deadly).map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
  if (rest.length > 0) await settle(sql, rest);
  return rows;
}

test("rate · messages become available at the given rate per second, oldest first, the first at once", async () => {
  const { sql } = project();
  const ids = await makeDeadLetters(sql, 5);
  const rows = await retry(sql, { filter: {}, per_second: 2 });
  assert.equal(rows.length, 5);
  const moments = await Promise.all(ids.map(async (id) => (await messageOf(sql, id)).available_at.getTime()));
  assert.deepEqual(moments.map((moment) => moment - moments[0]), [0, 500, 1000, 1500, 2000]);
  assert((await secondsUntil(sql, new Date(moments[0]))) <= 0);
  assert.deepEqual((await claim(sql)).map(({ id }) => id), [ids[0]]);
  await setClock(sql, "2 seconds");
  assert.deepEqual((await claim(sql)).map(({ id }) => id), ids.slice(1));
});

test("rate · only slow retries of at least one message are replays", async () => {
  const { sql } = project();
  const { deadLetter } = await makeDeadLetter(sql);
  await retry(sql, { ids: [deadLetter] });
  await retry(sql, { ids: [deadLetter], per_second: 5 });
  assert.deepEqual(await reports(), []);
});

test("finish · a replay whose messages have ended is finished with its figures, and pruned after a week", async () => {
  const { sql } = project();
  await makeDeadLetters(sql, 10);
  await retry(sql, { filter: {}, per_second: 1000 });
  await setClock(sql, "1 second");
  await work(1, 6);
  await tick();
  assert.deepEqual(await figures(), { ...NONE, total: 10, completed: 5, dead: 1, remaining: 4 });
  assert.equal((await reports())[0].finished_at, null);
  await work(1);
  await tick();
  const [report] = await reports();
  assert.deepEqual(await figures(), { ...NONE, total: 10, completed: 8, dead: 2, remaining: 0 });
  assert.deepEqual([report.stopped_at, report.per_second, report.finished_at instanceof Date], [null, 1000, true]);
  await setClock(sql, "6 days 23 hours");
  await tick();
  assert.equal((await sql`select from messenger.replayed`).length, 10);
  await setClock(sql, "7 days 1 hour");
  await tick();
  assert.deepEqual([(await reports()).length, (await sql`select from messenger.replayed`).length], [0, 0]);
});

test("stop · more than a fifth of at least five failed: the others are dead letters again", async () => {
  const { sql } = project();
  const ids = await makeDeadLetters(sql, 12);
  const before = await Promise.all(ids.map((id) => messageOf(sql, id)));
  const [old] = await deadLettersOf(sql, ids[11]);
  await setClock(sql, "1 hour");
  await retry(sql, { filter: {}, per_second: 1 });
  await setClock(sql, "1 hour 5.5 seconds");
  await work(2, 4);
  await tick();
  assert.deepEqual([(await figures()).dead, (await reports())[0].stopped_at], [2, null], "four have ended");
  const [running] = await claim(sql, { batch: 1 });
  await settle(sql, [{ id: running.id, fence: running.fence, outcome: "failed", error: "a hiccup", delay_ms: 0 }]);
  await work(0, 1);
  await tick();
  const [report] = await reports();
  assert.equal(report.stop_reason, "2 of 5 handled messages are dead letters again");
  assert.deepEqual([report.stopped_at instanceof Date, report.finished_at], [true, null], "one was handed out");
  assert.deepEqual(await figures(), { total: 12, completed: 3, dead: 2, lapsed: 0, returned: 6, remaining: 1 });

  const lasting = ({ processed_at, updated_at, available_at, ...rest }: Row) =>
    processed_at && updated_at && available_at && rest;
  for (const row of before.slice(6)) assert.deepEqual(lasting(await messageOf(sql, row.id)), lasting(row));
  assert.deepEqual(await deadLettersOf(sql, ids[11]), [old], "the very same dead letter is open again");
  await setClock(sql, "2 hours");
  assert.deepEqual((await claim(sql)).map(({ id }) => id), [running.id], "nothing else fires");
  await settle(sql, [{ id: running.id, fence: "3", outcome: "completed" }]);
  await tick();
  assert.equal((await reports())[0].finished_at instanceof Date, true);
  assert.equal((await figures()).completed, 4);
});

test("stop · a fifth is not more than a fifth", async () => {
  const { sql } = project();
  await makeDeadLetters(sql, 10);
  await retry(sql, { filter: {}, per_second: 1000 });
  await setClock(sql, "1 second");
  await work(1, 5);
  await tick();
  assert.deepEqual([(await figures()).dead, (await reports())[0].stopped_at], [1, null]);
});

test("stop · four are too few for a decision", async () => {
  const { sql } = project();
  await makeDeadLetters(sql, 10);
  await retry(sql, { filter: {}, per_second: 1000 });
  await setClock(sql, "1 second");
  await work(4, 4);
  await tick();
  assert.deepEqual([(await figures()).dead, (await reports())[0].stopped_at], [4, null]);
  await work(0, 1);
  await tick();
  assert.deepEqual([(await figures()).returned, (await reports())[0].finished_at instanceof Date], [5, true]);
});

test("stop · a restored dead letter can be retried or discarded as usual", async () => {
  const { sql } = project();
  await makeDeadLetters(sql, 7);
  await retry(sql, { filter: {}, per_second: 1 });
  await setClock(sql, "4.5 seconds");
  await work(5);
  await tick();
  assert.deepEqual([(await figures()).returned, (await reports())[0].finished_at instanceof Date], [2, true]);
  assert.equal(await discard(sql, { filter: {}, max: 1 }), 1);
  const rest = await retry(sql, { filter: {} });
  assert.deepEqual(rest.map(({ outcome }) => outcome), Array(6).fill("retried"));
  assert.equal((await claim(sql)).length, 6);
});

test("stop · a message that was restored from the dead letter alone returns to it", async () => {
  const { sql } = project();
  const ids = await makeDeadLetters(sql, 6);
  await sql`delete from messenger_messages`;
  await retry(sql, { filter: {}, per_second: 1 });
  await setClock(sql, "4.5 seconds");
  await work(5);
  await tick();
  assert.equal((await figures()).returned, 1);
  assert.deepEqual([(await messageOf(sql, ids[5])).status, (await messageOf(sql, ids[5])).retry_count], ["failed", 1]);
});

test("stop · keys of restored dead letters stay in use", async () => {
  const { sql } = project();
  await makeDeadLetters(sql, 5);
  const fields = { queue: "dead", idempotency_key: "k", idempotency_window: "0" };
  const last = await makeDeadLetter(sql, fields);
  await retry(sql, { filter: {}, per_second: 1 });
  await setClock(sql, "4.5 seconds");
  await work(5);
  await tick();
  await setClock(sql, "1 day");
  await tick();
  assert.deepEqual([(await figures()).returned, (await dispatch(sql, fields)).id], [1, last.id]);
});

test("race · a message that is being claimed while the replay stops stays with its worker", async () => {
  const { sql } = project();
  const ids = await makeDeadLetters(sql, 8);
  await retry(sql, { filter: {}, per_second: 1000 });
  await setClock(sql, "1 second");
  await work(5, 5);
  await using worker = session(project());
  await worker`begin`;
  const [given] = await claim(worker, { worker: "grace", batch: 1 });
  await tick();
  assert.deepEqual([(await figures()).returned, (await reports())[0].finished_at], [2, null]);
  await worker`commit`;
  assert.equal((await messageOf(sql, given.id)).status, "processing");
  assert.equal(given.id, ids[5]);
  await settle(sql, [{ id: given.id, fence: given.fence, outcome: "completed" }]);
  await tick();
  assert.deepEqual(await figures(), { total: 8, completed: 1, dead: 5, lapsed: 0, returned: 2, remaining: 0 });
});

test("race · a message whose claim rolled back while the replay stopped is restored by the next tick", async () => {
  const { sql } = project();
  await makeDeadLetters(sql, 7);
  await retry(sql, { filter: {}, per_second: 1000 });
  await setClock(sql, "1 second");
  await work(5, 5);
  await using worker = session(project());
  await worker`begin`;
  await claim(worker, { worker: "grace", batch: 1 });
  await tick();
  await worker`rollback`;
  await tick();
  assert.equal((await figures()).returned, 2);
  assert.deepEqual(await claim(sql), []);
});

test("race · a tick skips a replay that another tick has locked, and each end is counted once", async () => {
  const { sql } = project();
  await makeDeadLetters(sql, 50);
  await retry(sql, { filter: {}, per_second: 1000 });
  await setClock(sql, "1 second");
  await work(20);
  await using other = session(project());
  await other`begin`;
  await call(other, "messenger_tick");
  await tick();
  assert.equal((await figures()).remaining, 50);
  await other`commit`;
  await tick();
  assert.deepEqual(await figures(), { total: 50, completed: 30, dead: 20, lapsed: 0, returned: 0, remaining: 0 });
});

test("figures · expired and pruned messages end a replay without failing it", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type, config) values ('brief', 'supabase', '{"retention": "0"}')`;
  const expires_at = new Date(Date.now() + 60_000);
  for (let n = 0; n < 5; n++) await makeDeadLetter(sql, { expires_at });
  await makeDeadLetter(sql, { transport: "brief" });
  await retry(sql, { filter: {}, per_second: 1000 });
  await setClock(sql, "1 second");
  await claim(sql, { transport: "brief" }).then(([{ id, fence }]) =>
    settle(sql, [{ id, fence, outcome: "completed" }])
  );
  await setClock(sql, "1 hour");
  await tick();
  assert.deepEqual(await figures(), { total: 6, completed: 1, dead: 0, lapsed: 5, returned: 0, remaining: 0 });
  assert.equal((await reports())[0].stopped_at, null);
});

test("figures · messenger_status shows running replays and those that ended within a day", async () => {
  const { sql } = project();
  const { deadLetter } = await makeDeadLetter(sql);
  await retry(sql, { ids: [deadLetter], per_second: 1 });
  const replays = async () => (await callValue(sql, "messenger_status")).replays.map((row: Row) => row.total);
  assert.deepEqual(await replays(), [1]);
  await setClock(sql, "2 days");
  await work(0);
  assert.deepEqual(await replays(), [1]);
  await tick();
  await setClock(sql, "4 days");
  assert.deepEqual(await replays(), []);
});
