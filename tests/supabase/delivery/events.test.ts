// Lifecycle events: their kinds, their content, and their receivers.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  messageOf,
  type Row,
  setClock,
  settle,
} from "../bus.ts";
import { effects, makeEffects } from "./effects.ts";
import { completed, failed, storedEvents, subscribe, tick } from "./events.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });
const EVENTS = ["completed", "retried", "dead", "failed"];

Deno.test.beforeAll(async () => {
  await limitLockWaits(project().sql);
  await makeEffects(project().sql);
});
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate public.effects`;
});

async function eventOf(event: string): Promise<Row> {
  const [{ body }] = await project()
    .sql`select body from public.messenger_messages
      where message_type = 'symphony.event' and body ->> 'event' = ${event}`;
  return body;
}

test("completed · one event with the message's fields except its body, which the function receives", async () => {
  const { sql } = project();
  const subscription = await subscribe(sql, "completed");
  const { id, fence } = await dispatchAndClaim(sql, { payload: { secret: "of the business" }, queue: "shop" });
  await settle(sql, [completed({ id, fence })]);
  assert.deepEqual(await storedEvents(sql), ["completed of completed"]);
  await tick(sql);
  const [event] = await effects(sql) as Row[];
  const { created_at, processed_at, ...message } = event.message;
  assert.deepEqual({ ...event, at: null, message }, {
    subscription,
    event: "completed",
    at: null,
    message: {
      id,
      type: "Greeting",
      transport: "supabase",
      queue: "shop",
      status: "completed",
      retry_count: 0,
      error_class: null,
      error: null,
      created_by: null,
    },
  });
  const row = await messageOf(sql, id);
  assert.deepEqual([new Date(created_at), new Date(processed_at)], [row.created_at, row.processed_at]);
  assert.match(event.at, /^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/);
  assert.deepEqual(await storedEvents(sql), ["completed of completed"], "an event has no events");
});

test("retried, dead, failed · each failed delivery has an event, the end has both dead and failed", async () => {
  const { sql } = project();
  for (const event of EVENTS) await subscribe(sql, event);
  const first = await dispatchAndClaim(sql, { max_retries: 1 });
  await settle(sql, [failed(first, { error_class: "Timeout", delay_ms: 0 })]);
  assert.deepEqual(await storedEvents(sql), ["retried of pending"]);
  const { message } = await eventOf("retried");
  assert.deepEqual([message.retry_count, message.error, message.error_class, message.processed_at], [
    1,
    "no answer",
    "Timeout",
    null,
  ]);
  const [second] = await claim(sql, { types: ["Greeting"] });
  await settle(sql, [failed(second, { error: "gone", error_class: "Gone" })]);
  assert.deepEqual(await storedEvents(sql), ["retried of pending", "dead of failed", "failed of failed"]);
  for (const event of ["dead", "failed"]) {
    const { message } = await eventOf(event);
    assert.deepEqual([message.retry_count, message.error, message.error_class], [2, "gone", "Gone"]);
  }
});

test("failed · expired and cancelled messages, too, which are not dead", async () => {
  const { sql } = project();
  for (const event of EVENTS) await subscribe(sql, event);
  const { id } = await dispatch(sql);
  await callValue(sql, "messenger_cancel", { id });
  assert.equal((await eventOf("failed")).message.error_class, "Cancelled");
  const running = await dispatchAndClaim(sql, {}, { types: ["Greeting"] });
  await callValue(sql, "messenger_cancel", { id: running.id });
  assert.deepEqual(await storedEvents(sql), ["failed of failed"], "a request is no end");
  await settle(sql, [failed(running)]);
  const { id: expiring } = await dispatch(sql, { expires_at: new Date(Date.now() + 60_000) });
  await setClock(sql, "2 minutes");
  await tick(sql);
  assert.deepEqual((await effects(sql) as Row[]).map(({ event }) => event), ["failed", "failed", "failed"]);
  assert.equal((await messageOf(sql, expiring)).error_class, "Expired");
});

test("lost lease · has an event as retried, by the next claim or the ticker, and the last one as dead", async () => {
  const { sql } = project();
  for (const event of EVENTS) await subscribe(sql, event);
  await dispatch(sql, { max_retries: 2 });
  await claim(sql);
  await setClock(sql, "2 minutes");
  await claim(sql, { types: ["Greeting"] });
  const { message } = await eventOf("retried");
  assert.deepEqual([message.retry_count, message.error_class, message.status], [1, "LeaseExpired", "pending"]);
  await setClock(sql, "4 minutes");
  await tick(sql);
  assert.deepEqual((await effects(sql) as Row[]).map(({ event, message }) => [event, message.retry_count]), [
    ["retried", 1],
    ["retried", 2],
  ]);
  await claim(sql, { types: ["Greeting"] });
  await setClock(sql, "6 minutes");
  await tick(sql);
  await tick(sql);
  assert.deepEqual((await effects(sql) as Row[]).slice(2).map(({ event }) => event).sort(), ["dead", "failed"]);
});

test("snoozed, released · have no events, and neither has a retry of a dead letter", async () => {
  const { sql } = project();
  for (const event of EVENTS) await subscribe(sql, event);
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "snoozed", delay_ms: 0 }]);
  const [again] = await claim(sql, { types: ["Greeting"] });
  await settle(sql, [{ id, fence: again.fence, outcome: "released" }]);
  assert.deepEqual(await storedEvents(sql), []);
  const [third] = await claim(sql, { types: ["Greeting"] });
  await settle(sql, [failed(third, { retryable: false })]);
  await call(sql, "messenger_retry_failed", { filter: {} });
  assert.deepEqual(await storedEvents(sql), ["dead of failed", "failed of failed"]);
  const [fourth] = await claim(sql, { types: ["Greeting"] });
  await settle(sql, [failed(fourth, { retryable: false })]);
  assert.equal((await storedEvents(sql)).length, 4, "the second failure for good has its own event");
});

test("retention 0 · the message is deleted, the event is not", async () => {
  const { sql } = project();
  await sql`update public.messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
  await subscribe(sql, "completed");
  const message = await dispatchAndClaim(sql);
  await settle(sql, [completed(message)]);
  assert.equal(await messageOf(sql, message.id), undefined);
  await tick(sql);
  assert.equal((await effects(sql) as Row[])[0].message.id, message.id);
});

test("settle · a thousand outcomes, four subscribers, each event to each once", async () => {
  const { sql } = project();
  for (const [event, type] of [["completed", null], ["completed", "Greeting"], ["retried", null], ["failed", null]]) {
    await subscribe(sql, event as string, type);
  }
  await dispatchMany(sql, 1000);
  const rows = await claim(sql, { batch: 1000 });
  await settle(
    sql,
    rows.map((row, n) => n % 2 ? completed(row) : failed(row, { retryable: n % 4 !== 0, delay_ms: 3_600_000 })),
  );
  const counts = await sql`
    select body ->> 'event' as event, count(*)::int as times, count(distinct body #>> '{message,id}')::int as messages
    from public.messenger_messages where message_type = 'symphony.event' group by 1 order by 1`;
  assert.deepEqual(counts.map(({ event, times, messages }) => [event, times, messages]), [
    ["completed", 1000, 500],
    ["failed", 250, 250],
    ["retried", 250, 250],
  ]);
});

test("error · the event has the first 1000 bytes of a long text, whole characters", async () => {
  const { sql } = project();
  await subscribe(sql, "dead");
  await settle(sql, [failed(await dispatchAndClaim(sql), { error: `x${"漢".repeat(3000)}`, retryable: false })]);
  const { error } = (await eventOf("dead")).message;
  assert.match(error, /^x漢+$/);
  assert.equal(new TextEncoder().encode(error).length, 1000);
});

test("type · a subscription to one receives events of no other", async () => {
  const { sql } = project();
  await subscribe(sql, "completed", "Invoice");
  await settle(sql, [completed(await dispatchAndClaim(sql, { type: "Greeting" }))]);
  assert.deepEqual(await storedEvents(sql), []);
  await settle(sql, [completed(await dispatchAndClaim(sql, { type: "Invoice" }))]);
  assert.deepEqual(await storedEvents(sql), ["completed of completed"]);
});

test("complete_with, complete, SQL handlers · have the same events", async () => {
  const { sql } = project();
  await subscribe(sql, "completed", "Ship");
  await sql`select messenger.set_sql_handler('Ship', 'take_effect')`;
  await dispatch(sql, { type: "Ship", payload: { n: 1 } });
  await tick(sql);
  await sql`select messenger.set_sql_handler('Ship', null)`;
  const { id, fence } = await dispatchAndClaim(sql, { type: "Ship" }, { types: ["Ship"] });
  await callValue(sql, "messenger_complete_with", { id, fence, function_name: "take_effect", args: {} });
  const last = await dispatchAndClaim(sql, { type: "Ship" }, { types: ["Ship"] });
  await callValue(sql, "messenger_complete", { id: last.id, fence: last.fence });
  assert.equal((await storedEvents(sql)).length, 3);
});
