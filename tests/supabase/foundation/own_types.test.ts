// The bus's own types, symphony.*: their messages are handled as the owner of the bus, so no other role can create,
// change or imitate one.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, claim, deadLetterOf, dispatch, dispatchAndClaim, messageOf, settle } from "../bus.ts";
import { effects, makeEffects } from "../delivery/effects.ts";
import { completed, failed, subscribe, tick } from "../delivery/events.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
const forged = { event: "completed", message: { id: crypto.randomUUID() } };

Deno.test.beforeAll(() => makeEffects(project().sql));
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`truncate public.effects`;
});

const asService = <Result>(work: Parameters<typeof asRole<Result>>[2]) => asRole(project().sql, "service_role", work);

for (const type of ["symphony.event", "symphony.webhook", "symphony.anything"]) {
  test(`own types · ${type} cannot be dispatched or scheduled, by service_role or by postgres`, async () => {
    const { sql } = project();
    await assertRejected(dispatch(sql, { type }), "SM_TYPE_FORBIDDEN", 403);
    await assertRejected(asService((tx) => dispatch(tx, { type })), "SM_TYPE_FORBIDDEN", 403);
    await assertRejected(
      asService((tx) => dispatch(tx, { type, idempotency_key: "k", idempotency_mode: "debounce", ordering_key: "o" })),
      "SM_TYPE_FORBIDDEN",
      403,
    );
    const schedule = { name: "forged", type, schedule: { interval: 1000 } };
    await assertRejected(asService((tx) => call(tx, "messenger_schedule", schedule)), "SM_TYPE_FORBIDDEN", 403);
    const messages = [{ type: "Letter" }, { type }];
    await assertRejected(
      asService((tx) => call(tx, "messenger_dispatch_batch", { messages })),
      "SM_TYPE_FORBIDDEN",
      403,
    );
    const replies = await call(sql, "messenger_dispatch_batch", { messages, atomic: false });
    assert.deepEqual(replies.map(({ error_code }) => error_code), [null, "SM_TYPE_FORBIDDEN"]);
    assert.deepEqual(
      (await sql`select message_type from messenger_messages`).map(({ message_type }) => message_type),
      ["Letter"],
    );
  });
}

test("own types · a schedule of one, inserted into the table, makes no message and records the reason", async () => {
  const { sql } = project();
  await call(sql, "messenger_schedule", { name: "s", type: "Letter", schedule: { interval: 1000 } });
  await asService((tx) =>
    tx`update messenger_schedules set message_type = 'symphony.event', queue_name = 'events',
      next_run_at = now() - interval '1 s'`
  );
  await tick(sql);
  const [{ last_error }] = await sql`select last_error from messenger_schedules`;
  assert.match(last_error, /SM_TYPE_FORBIDDEN/);
  assert.equal((await sql`select from messenger_messages`).length, 0);
});

test("own types · register ignores them with all their fields", async () => {
  const { sql } = project();
  const before = await sql`select * from messenger.message_types where type like 'symphony.%' order by type`;
  assert.deepEqual(before.map(({ type }) => type), ["symphony.event", "symphony.webhook"]);
  const types = [
    { type: "symphony.event", dispatchable_by: "user", queue: "mine", retry: { max_retries: 0 } },
    { type: "symphony.new" },
    { type: "Letter" },
  ];
  const [{ messenger_register }] = await asService((tx) => call(tx, "messenger_register", { types }));
  assert.equal(Number(messenger_register), 3);
  assert.deepEqual(
    [...await sql`select * from messenger.message_types where type like 'symphony.%' order by type`],
    [...before],
  );
});

test("own types · no other type can have one as its alias, which would bring its own handler", async () => {
  const { sql } = project();
  const types = [{ type: "Letter", aliases: ["Brief", "symphony.event"] }];
  const message = await assertRejected(call(sql, "messenger_register", { types }), "SM_TYPE_FORBIDDEN", 403);
  assert.match(message, /aliases of Letter/);
  await call(sql, "messenger_register", { types: [{ type: "Letter" }] });
  const error = await errorOf(
    asService((tx) => tx`update messenger.message_types set aliases = '{symphony.event}' where type = 'Letter'`),
  );
  assert.equal(error.code, "23514");
});

test("own types · an event forged in the table by service_role is rejected, new or by changing a message", async () => {
  const { sql } = project();
  await subscribe(sql, "completed");
  const [{ id: subscription }] = await sql`select id from messenger.subscriptions`;
  const body = { subscription, ...forged };
  const error = await errorOf(
    asService((tx) =>
      tx`insert into messenger_messages (queue_name, message_type, body) values ('events', 'symphony.event', ${
        tx.json(body)
      })`
    ),
  );
  assert.deepEqual([error.code, error.detail], ["PT403", "SM_TYPE_FORBIDDEN"]);
  const { id } = await dispatch(sql, { type: "Letter", payload: body, queue: "events" });
  const changed = await errorOf(
    asService((tx) => tx`update messenger_messages set message_type = 'symphony.event' where id = ${id}`),
  );
  assert.equal(changed.detail, "SM_TYPE_FORBIDDEN");
  await settle(sql, [completed(await dispatchAndClaim(sql, {}, { types: ["Greeting"] }))]);
  const rewritten = await errorOf(
    asService((tx) => tx`update messenger_messages set body = ${tx.json(body)} where message_type = 'symphony.event'`),
  );
  assert.equal(rewritten.detail, "SM_TYPE_FORBIDDEN");
  await tick(sql);
  assert.equal((await effects(sql)).length, 1, "the genuine event alone");
});

test("own types · a dead letter of one is retried unchanged, never with another payload", async () => {
  const { sql } = project();
  await subscribe(sql, "completed", null, "public.is_rejected");
  await sql`update messenger.message_types set max_retries = 0 where type = 'symphony.event'`;
  await settle(sql, [completed(await dispatchAndClaim(sql))]);
  await tick(sql);
  const [{ id, message_id }] = await sql`select id, message_id from messenger_failed_messages`;
  const edited = { ids: [id], payload: forged };
  await assertRejected(asService((tx) => call(tx, "messenger_retry_failed", edited)), "SM_TYPE_FORBIDDEN", 403);
  await assertRejected(call(sql, "messenger_retry_failed", edited), "SM_TYPE_FORBIDDEN", 403);
  assert.equal((await messageOf(sql, message_id)).status, "failed");
  const [{ outcome }] = await asService((tx) => call(tx, "messenger_retry_failed", { ids: [id] }));
  assert.deepEqual([outcome, (await messageOf(sql, message_id)).status], ["retried", "pending"]);
});

test("own types · a dead letter that is invented, or whose message is gone, makes no message", async () => {
  const { sql } = project();
  await subscribe(sql, "completed");
  const other = await dispatchAndClaim(sql, { type: "Letter" });
  await settle(sql, [failed(other, { retryable: false })]);
  const message_id = crypto.randomUUID();
  await asService((tx) =>
    tx`insert into messenger_failed_messages (message_id, transport_name, queue_name, message_type, body, retry_count,
      max_retries, created_at)
       values (${message_id}, 'supabase', 'events', 'symphony.event', ${tx.json(forged)}, 0, 3, now())`
  );
  const replies = await asService((tx) => call(tx, "messenger_retry_failed", { filter: {} }));
  assert.deepEqual(
    replies.map(({ message_id, outcome }) => [message_id, outcome]).sort(),
    [[other.id, "retried"], [message_id, "conflict"]].sort(),
  );
  assert.equal(await messageOf(sql, message_id), undefined);
  assert.equal((await deadLetterOf(sql, message_id)).resolved_at, null);
});

test("own types · genuine events of messages that a worker of service_role settles still arrive", async () => {
  const { sql } = project();
  for (const event of ["completed", "retried", "dead", "failed"]) await subscribe(sql, event);
  await call(sql, "messenger_register", { types: [{ type: "Letter", retry: { max_retries: 1, delay_ms: 0 } }] });
  await dispatch(sql, { type: "Letter" });
  await dispatch(sql, { type: "Other" });
  const outcomes = async (types: string[], make: typeof completed) =>
    await asService(async (tx) => settle(tx, (await claim(tx, { types })).map((row) => make(row))));
  await outcomes(["Other"], completed);
  await outcomes(["Letter"], failed);
  await outcomes(["Letter"], failed);
  await tick(sql);
  assert.deepEqual(
    (await effects(sql)).map((effect) => (effect as { event: string }).event).sort(),
    ["completed", "dead", "failed", "retried"],
  );
});
