// Functions that are subscribed to events: their calls by the ticker, and the event after a failure.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { deadLetterOf, dispatchAndClaim, messageOf, setClock, settle } from "../bus.ts";
import { effects, makeEffects } from "./effects.ts";
import { completed, failed, storedEvents, subscribe, tick } from "./events.ts";
import { assertRejected } from "../assert_rejected.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });

Deno.test.beforeAll(async () => {
  await limitLockWaits(project().sql);
  await makeEffects(project().sql);
});
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate public.effects`;
});

test("off · no more events are stored, and undelivered ones are dropped", async () => {
  const { sql } = project();
  const id = await subscribe(sql, "completed");
  await settle(sql, [completed(await dispatchAndClaim(sql))]);
  const off = async () => (await sql`select messenger.off(${id}) as off`)[0].off;
  assert.deepEqual([await off(), await off()], [true, false]);
  await settle(sql, [completed(await dispatchAndClaim(sql, {}, { types: ["Greeting"] }))]);
  await tick(sql);
  assert.deepEqual([await storedEvents(sql), await effects(sql)], [["completed of completed"], []]);
  const [{ status, result }] =
    await sql`select status, result from public.messenger_messages where message_type = 'symphony.event'`;
  assert.deepEqual([status, result], ["completed", { skipped: "unsubscribed" }]);
});

test("on · the same subscription twice is one", async () => {
  const { sql } = project();
  assert.equal(await subscribe(sql, "completed"), await subscribe(sql, "completed"));
  assert.notEqual(await subscribe(sql, "completed"), await subscribe(sql, "completed", "Greeting"));
  await settle(sql, [completed(await dispatchAndClaim(sql, { type: "Other" }))]);
  assert.equal((await storedEvents(sql)).length, 1);
});

test("subscriber with an error · is retried and becomes its own dead letter, without events", async () => {
  const { sql } = project();
  for (const event of ["failed", "dead", "retried"]) await subscribe(sql, event);
  await subscribe(sql, "completed", null, "public.is_rejected");
  const message = await dispatchAndClaim(sql);
  await settle(sql, [completed(message)]);
  for (const minutes of [0, 2, 4, 8, 16, 32]) {
    await setClock(sql, `${minutes} minutes`);
    await tick(sql);
  }
  assert.deepEqual([(await messageOf(sql, message.id)).status, await effects(sql)], ["completed", []]);
  const [{ id, error, retry_count }] =
    await sql`select message_id as id, error, retry_count from public.messenger_failed_messages`;
  assert.deepEqual([error, retry_count], ["out of stock", 6]);
  assert.deepEqual((await messageOf(sql, id)).message_type, "symphony.event");
  assert.deepEqual(await storedEvents(sql), ["completed of completed"]);
});

/** Granting functions to service_role, which only a superuser may do. */
async function asAdmin(statements: string): Promise<void> {
  await using admin = session(project(), "supabase_admin");
  await admin.unsafe(statements).simple();
}

test("subscriber that is gone, or belongs to another role by then · is not called", async () => {
  const { sql } = project();
  await sql.unsafe(`create function public.passing(args jsonb) returns jsonb language sql as 'select args'`);
  await subscribe(sql, "completed", null, "passing");
  await sql`drop function public.passing(jsonb)`;
  await settle(sql, [completed(await dispatchAndClaim(sql))]);
  await tick(sql);
  const [row] = await sql`select * from public.messenger_messages where message_type = 'symphony.event'`;
  assert.match(row.last_error, /^public\.passing\(jsonb\) returns jsonb is gone, or has changed its owner/);
  await asAdmin(`
    create function public.passing(args jsonb) returns jsonb language sql as 'select args';
    alter function public.passing(jsonb) owner to service_role`);
  await setClock(sql, "1 minute");
  await tick(sql);
  assert.deepEqual((await messageOf(sql, row.id)).retry_count, 2);
  await asAdmin("drop function public.passing(jsonb)");
});

test("disabled transport · outcomes are recorded all the same, and their events wait in it", async () => {
  const { sql } = project();
  await subscribe(sql, "dead");
  const message = await dispatchAndClaim(sql);
  await sql`update public.messenger_transports set enabled = false where name = 'supabase'`;
  await settle(sql, [failed(message, { retryable: false })]);
  assert.ok(await deadLetterOf(sql, message.id));
  await tick(sql);
  assert.deepEqual(await effects(sql), []);
  await sql`update public.messenger_transports set enabled = true where name = 'supabase'`;
  await tick(sql);
  assert.equal((await effects(sql)).length, 1);
});

test("tick · searches events in their queue alone, beside other SQL handlers in all queues", async () => {
  const { sql } = project();
  const looked = async () => {
    await tick(sql);
    return (await sql`select queues, types from messenger.workers where worker like 'sql-%' order by polled_at desc`)[
      0
    ];
  };
  await subscribe(sql, "completed");
  assert.deepEqual({ ...await looked() }, { queues: ["events"], types: ["symphony.event"] });
  await sql`select messenger.set_sql_handler('Ship', 'take_effect')`;
  const { queues, types } = await looked();
  assert.deepEqual([queues, types.sort()], [null, ["Ship", "symphony.event"]]);
});

const BAD: [string, [event: string | null, name: string | null, type?: string], string, number][] = [
  ["no event", [null, "take_effect"], "SM_NOT_FOUND", 404],
  ["an unknown event", ["Completed", "take_effect"], "SM_NOT_FOUND", 404],
  ["an invalid type", ["dead", "take_effect", "a b"], "SM_TYPE", 400],
  ["an empty type", ["dead", "take_effect", ""], "SM_TYPE", 400],
  ["a type of the bus", ["dead", "take_effect", "symphony.event"], "SM_FIELD_FORBIDDEN", 403],
  ["no function", ["dead", null], "SM_NOT_FOUND", 404],
  ["a missing function", ["dead", "nothing"], "SM_NOT_FOUND", 404],
  ["SQL", ["dead", "take_effect('{}'); drop table public.effects; --"], "SM_NOT_FOUND", 404],
  ["a function of the bus", ["dead", "messenger.deliver_event"], "SM_FIELD_FORBIDDEN", 403],
  ["a function of the system", ["dead", "pg_catalog.jsonb_strip_nulls"], "SM_FIELD_FORBIDDEN", 403],
  ["a function owned by a service", ["dead", "of_a_service"], "SM_FIELD_FORBIDDEN", 403],
];

test("on · rejects subscriptions that could not run, or would run as the owner of the bus", async (t) => {
  const { sql } = project();
  await asAdmin(`
    create function public.of_a_service(args jsonb) returns jsonb language sql as 'select args';
    alter function public.of_a_service(jsonb) owner to service_role`);
  for (const [what, [event, name, type = null], code, status] of BAD) {
    await t.step(what, async () => {
      await assertRejected(sql`select messenger.on(${event}, ${name}, ${type})`, code, status);
    });
  }
  assert.equal((await sql`select from messenger.subscriptions`).length, 0);
});
