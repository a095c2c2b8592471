// Messages that were dispatched before their type was registered: route and retries follow the type.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, dispatch, dispatchMany, dispatchPair, messageOf, type Row, settle } from "../bus.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const MAIL = { type: "Mail", queue: "mail", priority: 9, retry: { max_retries: 7 } };
const register = (types: unknown[] = [MAIL], sql = project().sql) => callValue(sql, "messenger_register", { types });
const tick = () => callValue(project().sql, "messenger_tick");
const routeOf = ({ queue_name, priority, max_retries, unrouted }: Row) => [queue_name, priority, max_retries, unrouted];
const stored = async (id: string) => routeOf(await messageOf(project().sql, id));

test("routing · a message stored before its type gets the type's queue, priority and retries", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { type: "Mail" });
  assert.deepEqual(await stored(id), ["default", 5, 3, ["queue", "priority", "max_retries"]]);
  await register();
  assert.deepEqual(await stored(id), ["mail", 9, 7, null]);
  assert.deepEqual((await claim(sql, { queues: ["mail"] })).map((row) => row.id), [id]);
});

test("routing · the registration of service_role does it, too", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { type: "Mail" });
  await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_register", { types: [MAIL] }));
  assert.deepEqual(await stored(id), ["mail", 9, 7, null]);
});

test("routing · options of the dispatch are kept, each field separately, in a batch, too", async () => {
  const { sql } = project();
  const cases: [fields: Row, expected: unknown[]][] = [
    [{ queue: "own" }, ["own", 9, 7, null]],
    [{ queue: "default" }, ["default", 9, 7, null]],
    [{ priority: 5 }, ["mail", 5, 7, null]],
    [{ max_retries: 3 }, ["mail", 9, 3, null]],
    [{ queue: "own", priority: 1, max_retries: 0 }, ["own", 1, 0, null]],
  ];
  const ids = [];
  for (const [fields] of cases) ids.push((await dispatch(sql, { type: "Mail", ...fields })).id);
  const messages = cases.map(([fields]) => ({ type: "Mail", ...fields }));
  ids.push(...(await call(sql, "messenger_dispatch_batch", { messages })).map(({ id }) => id));
  await register();
  for (const [index, id] of ids.entries()) {
    assert.deepEqual(await stored(id), cases[index % cases.length][1], `${index}`);
  }
});

test("routing · a type without a route changes only the retries", async () => {
  const { id } = await dispatch(project().sql, { type: "Mail" });
  await register([{ type: "Mail", retry: { max_retries: 1 } }]);
  assert.deepEqual(await stored(id), ["default", 5, 1, null]);
});

test("routing · a message with a key stays in its queue and gets the retries", async () => {
  const { sql } = project();
  const { id: keyed } = await dispatch(sql, { type: "Mail", idempotency_key: "k" });
  const [{ id: ordered }, { id: blocked }] = await dispatchPair(sql, { type: "Mail", ordering_key: "o" });
  await register();
  for (const id of [keyed, ordered, blocked]) assert.deepEqual(await stored(id), ["default", 5, 7, null]);
  assert.deepEqual((await claim(sql, { queues: ["default"] })).map(({ id }) => id).sort(), [keyed, ordered].sort());
});

test("routing · used retries stay used", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { type: "Mail" });
  for (let delivery = 0; delivery < 3; delivery++) {
    const [{ fence }] = await claim(sql);
    await settle(sql, [{ id, fence, outcome: "failed", error: "e", delay_ms: 0 }]);
  }
  await register([{ type: "Mail", retry: { max_retries: 1 } }]);
  assert.deepEqual(await stored(id), ["default", 5, 3, null]);
});

test("routing · a running message follows when it is pending again, by the ticker", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { type: "Mail" });
  const [{ fence }] = await claim(sql);
  await register();
  assert.deepEqual(await stored(id), ["default", 5, 3, ["queue", "priority", "max_retries"]]);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e" }]);
  await tick();
  assert.deepEqual(await stored(id), ["mail", 9, 7, null]);
});

test("routing · messages of other types, finished ones and later ones are not changed", async () => {
  const { sql } = project();
  const { id: finished } = await dispatch(sql, { type: "Mail" });
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id: finished, fence, outcome: "completed" }]);
  const { id: other } = await dispatch(sql, { type: "Sms" });
  await register();
  await tick();
  assert.equal((await messageOf(sql, finished)).queue_name, "default");
  assert.deepEqual(await stored(other), ["default", 5, 3, ["queue", "priority", "max_retries"]]);
  const { id: later } = await dispatch(sql, { type: "Mail" });
  assert.deepEqual(await stored(later), ["mail", 9, 7, null]);
});

test("routing · of more than a thousand the registration routes a thousand and the ticker the rest", async () => {
  const { sql } = project();
  await dispatchMany(sql, 1000, { type: "Mail" });
  await dispatchMany(sql, 700, { type: "Mail" });
  await register();
  const routed = async () => (await sql`select from messenger_messages where queue_name = 'mail'`).length;
  assert.equal(await routed(), 1000);
  for (let ticks = 0; ticks < 10 && await routed() < 1700; ticks++) await tick();
  assert.equal(await routed(), 1700);
});

test("routing · workers of the queue that receives messages are woken, those of delayed ones are not", async () => {
  const { sql } = project();
  await dispatch(sql, { type: "Mail" });
  await dispatch(sql, { type: "Later", delay: "1 hour" });
  await using listener = session(project());
  const received: string[] = [];
  await listener.listen("messenger", (payload) => received.push(payload));
  await register([MAIL, { type: "Later", queue: "later" }]);
  await sql`select pg_notify('messenger', 'the end')`;
  while (received.at(-1) !== "the end") await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(received, ["supabase/mail", "the end"]);
});

test("routing · a dispatch that did not see the registration is routed by the ticker", async () => {
  await using sender = session(project());
  await sender`begin`;
  const { id } = await dispatch(sender, { type: "Mail" });
  await register();
  await sender`commit`;
  assert.deepEqual(await stored(id), ["default", 5, 3, ["queue", "priority", "max_retries"]]);
  await tick();
  assert.deepEqual(await stored(id), ["mail", 9, 7, null]);
});

test("routing · a locked message does not delay the registration, and follows with the tick", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { type: "Mail" });
  await using holder = session(project());
  await holder`begin`;
  await holder`select from messenger_messages where id = ${id} for update`;
  assert.equal(await register(), "1");
  await holder`rollback`;
  await tick();
  assert.deepEqual(await stored(id), ["mail", 9, 7, null]);
});

test("routing · a trigger of the project that rejects the change does not block the registration", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { type: "Mail" });
  await sql.unsafe(
    `create function public.no_moves() returns trigger language plpgsql as $$ begin raise 'no moves'; end $$;
    create trigger no_moves before update of queue_name on public.messenger_messages for each row
      execute function public.no_moves()`,
  );
  try {
    assert.equal(await register(), "1");
    assert.equal((await sql`select from messenger.message_types where type = 'Mail'`).length, 1);
    assert.equal((await stored(id))[0], "default");
  } finally {
    await sql.unsafe("drop trigger no_moves on public.messenger_messages; drop function public.no_moves()");
  }
  await tick();
  assert.deepEqual(await stored(id), ["mail", 9, 7, null]);
});
