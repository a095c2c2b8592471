// Signed-in senders receive events of their messages by Supabase Realtime, if it is installed, and never at the cost of
// the outcome.
import assert from "node:assert/strict";
import postgres from "postgres";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, deadLetterOf, dispatchAndClaim, messageOf, type Row, settle } from "../bus.ts";

const project = useProject();
const user = "01990000-0000-4000-8000-00000000000a";

/** Supabase's own definitions; the tests define the body of send. */
async function makeRealtime(
  body =
    "insert into realtime.messages (topic, extension, payload, event, private) values ($3, 'broadcast', $1, $2, $4)",
) {
  await project().sql.unsafe(`
    create schema if not exists realtime;
    create table if not exists realtime.messages (
      topic text not null, extension text not null, payload jsonb, event text, private boolean default false,
      updated_at timestamp not null default now(),
      inserted_at timestamp not null default now(), id uuid not null default gen_random_uuid(),
        primary key (id, inserted_at));
    create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true)
      returns void language plpgsql as $send$
    begin
      ${body};
    end $send$`);
}

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql.unsafe("drop schema if exists realtime cascade");
  await call(sql, "messenger_register", { types: [{ type: "Greeting", dispatchable_by: "user" }] });
});

async function heldOfUser(): Promise<Row> {
  const { sql } = project();
  await asRole(sql, "authenticated", (tx) => call(tx, "messenger_user_dispatch", { type: "Greeting" }), user);
  const [row] = await claim(sql, { types: ["Greeting"] });
  return row;
}

const result = ({ id, fence }: Row, outcome: string, more: Row = {}) => ({
  id,
  fence,
  outcome,
  error: "no answer",
  ...more,
});
const sent = () => project().sql`select * from realtime.messages order by inserted_at, event`;
/** As in the edge functions: they have no rights on Realtime. */
const settleAsService = (outcomes: Row[]) => asRole(project().sql, "service_role", (tx) => settle(tx, outcomes));

test("realtime · every end is sent to the sender's private topic, with id, type, status and event only", async () => {
  const { sql } = project();
  await makeRealtime();
  const message = await heldOfUser();
  await settleAsService([result(message, "failed", { delay_ms: 0 })]);
  const [again] = await claim(sql, { types: ["Greeting"] });
  await settleAsService([result(again, "completed", { result: { secret: 1 } })]);
  const dying = await heldOfUser();
  await settleAsService([result(dying, "failed", { retryable: false })]);
  const cancelled = await heldOfUser();
  await callValue(sql, "messenger_release", { id: cancelled.id, fence: cancelled.fence });
  await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_cancel", { id: cancelled.id }));
  const rows = await sent();
  assert.deepEqual(rows.map(({ payload, event }) => [payload, event]), [
    [{ id: message.id, type: "Greeting", status: "pending", event: "retried" }, "retried"],
    [{ id: message.id, type: "Greeting", status: "completed", event: "completed" }, "completed"],
    [{ id: dying.id, type: "Greeting", status: "failed", event: "dead" }, "dead"],
    [{ id: dying.id, type: "Greeting", status: "failed", event: "failed" }, "failed"],
    [{ id: cancelled.id, type: "Greeting", status: "failed", event: "failed" }, "failed"],
  ]);
  for (const row of rows) assert.deepEqual([row.topic, row.private], [`messenger:${user}`, true]);
});

test("realtime · also for a message that retention 0 deletes", async () => {
  const { sql } = project();
  await makeRealtime();
  await sql`update messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
  const message = await heldOfUser();
  await settleAsService([result(message, "completed")]);
  assert.deepEqual([await messageOf(sql, message.id), (await sent()).length], [undefined, 1]);
});

test("realtime · a rolled back outcome is not sent", async () => {
  await makeRealtime();
  const message = await heldOfUser();
  await project().sql.begin(async (tx) => {
    await settle(tx, [result(message, "completed")]);
    throw new Error("rolled back");
  }).catch(() => {});
  assert.equal((await sent()).length, 0);
});

test("realtime · messages of services and the bus's own are not sent", async () => {
  const { sql } = project();
  await makeRealtime();
  await settleAsService([result(await dispatchAndClaim(sql), "completed")]);
  await sql`insert into messenger_messages (message_type, created_by) values ('symphony.event', ${user})`;
  const [own] = await claim(sql);
  await settleAsService([result(own, "completed")]);
  assert.equal((await sent()).length, 0);
});

test("realtime · if it is absent, outcomes are recorded as usual", async () => {
  const message = await heldOfUser();
  await settleAsService([result(message, "completed")]);
  assert.equal((await messageOf(project().sql, message.id)).status, "completed");
});

test("realtime · another signature, as an older or newer release may have, counts as absent", async () => {
  await makeRealtime();
  await project().sql.unsafe(`
    drop function realtime.send(jsonb, text, text, boolean);
    create function realtime.send(payload jsonb, topic text) returns void language sql as ''`);
  const message = await heldOfUser();
  await settleAsService([result(message, "completed")]);
  assert.equal((await messageOf(project().sql, message.id)).status, "completed");
});

test("realtime · an error of it affects neither the outcome nor other events, and is rolled back", async () => {
  const { sql } = project();
  await makeRealtime(
    "insert into realtime.messages (topic, extension) values ('half', 'broadcast'); raise " +
      "exception 'no partition for today'",
  );
  await sql.unsafe(`create or replace function public.listen(a jsonb) returns jsonb language sql as 'select a'`);
  for (const event of ["completed", "dead"]) await sql`select messenger.on(${event}, 'listen')`;
  const [done, dying] = [await heldOfUser(), await heldOfUser()];
  const log: string[] = [];
  const own = postgres(project().databaseUrl(), { max: 1, onnotice: ({ message }) => log.push(`${message}`) });
  await own`set client_min_messages = log`;
  await asRole(
    own,
    "service_role",
    (tx) => settle(tx, [result(done, "completed"), result(dying, "failed", { retryable: false })]),
  );
  await own.end();
  const line = "symphony: realtime.send failed, the senders were not notified: no partition for today";
  assert.deepEqual(log.filter((message) => message.startsWith("symphony")), [line, line]);
  assert.deepEqual([(await messageOf(sql, done.id)).status, (await sent()).length], ["completed", 0]);
  assert.ok(await deadLetterOf(sql, dying.id));
  const events =
    await sql`select body ->> 'event' as event from messenger_messages where message_type = 'symphony.event'
      order by 1`;
  assert.deepEqual(events.map(({ event }) => event), ["completed", "dead"]);
});
