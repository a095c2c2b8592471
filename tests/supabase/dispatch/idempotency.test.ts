// One key, one message: duplicates, windows, mismatches, and the times at which a key is in use and free.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, claim, dispatch, messageOf, setClock, settle } from "../bus.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const once = (fields: Record<string, unknown> = {}) => dispatch(project().sql, { idempotency_key: "once", ...fields });
const stored = async () => (await project().sql`select from messenger_messages`).length;

test("key · the second dispatch returns the first one's values and stores nothing", async () => {
  const first = await once({ queue: "letters", delay: "1 hour", priority: 9 });
  const second = await once({ queue: "letters", priority: 1 });
  assert.deepEqual({ ...second, duplicate: false }, { ...first });
  assert.equal(second.duplicate, true);
  assert.equal(await stored(), 1);
});

test("key · a duplicate returns the current status", async () => {
  const { sql } = project();
  const { id } = await once();
  const [{ fence }] = await claim(sql);
  assert.equal((await once()).status, "processing");
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  const last = await once();
  assert.deepEqual([last.id, last.status, last.duplicate], [id, "completed", true]);
});

for (
  const [what, fields] of [
    ["type", { type: "Farewell" }],
    ["queue", { queue: "other" }],
    ["payload", { payload: { a: 1 } }],
  ] as const
) {
  test(`key · the same key with another ${what} is rejected`, async () => {
    const { id } = await once();
    const message = await assertRejected(once(fields), "SM_IDEMPOTENCY_MISMATCH", 409);
    assert(message.includes(id), message);
    assert.equal(await stored(), 1);
  });
}

test("key · the order of a payload's fields and its whitespace do not make another payload", async () => {
  const { sql } = project();
  await sql`select * from messenger_dispatch('T', '{"a": 1, "b": 2}', idempotency_key => 'k')`;
  const [reply] = await sql`select * from messenger_dispatch('T', '{"b":2,"a":1}', idempotency_key => 'k')`;
  assert.equal(reply.duplicate, true);
});

test("key · payloads that are equal as jsonb are one payload, whatever the format of their numbers", async () => {
  const { sql } = project();
  const same: [first: string, second: string][] = [
    ['{"n": 1}', '{"n": 1.0}'],
    ['{"n": 2.50, "s": "a"}', '{"s":"a","n":2.5}'],
    ['{"n": [0.0, -3.00, {"m": 100}]}', '{"n": [-0, -3, {"m": 1e2}]}'],
    ['{"s": "v1.0", "t": "\\" 2.0, ", "n": 1.0}', '{"s": "v1.0", "t": "\\" 2.0, ", "n": 1}'],
    ['{"n": 12345678901234567890.0}', '{"n": 12345678901234567890}'],
  ];
  for (const [index, payloads] of same.entries()) {
    const replies = [];
    for (const payload of payloads) {
      replies.push(
        ...await sql`select *
          from messenger_dispatch('T', ${payload}::text::jsonb, idempotency_key => ${`same${index}`})`,
      );
    }
    assert.deepEqual(replies.map(({ duplicate }) => duplicate), [false, true], payloads.join(" "));
  }
});

test("key · payloads that differ in a number or in a string that looks like one are different", async () => {
  const { sql } = project();
  const pairs: [first: string, second: string][] = [
    ['{"n": 1}', '{"n": 10}'],
    ['{"n": 0.10}', '{"n": 0.01}'],
    ['{"s": "1.0"}', '{"s": "1"}'],
    ['{"s": "a, 1.0]", "n": 1.0}', '{"s": "a, 1]", "n": 1.0}'],
    ['{"s": "\\\\", "t": "1.0]"}', '{"s": "\\\\", "t": "1]"}'],
    [
      `[${Array.from({ length: 40 }, (_, n) => n)}]`,
      `[32,${Array.from({ length: 31 }, (_, n) => n + 1)},0,33,34,35,36,37,38,39]`,
    ],
  ];
  for (const [index, [first, second]] of pairs.entries()) {
    const key = `other${index}`;
    const send = (list: string) =>
      sql`select * from messenger_dispatch('T', jsonb_build_object('list', ${list}::text::jsonb),
        idempotency_key => ${key})`;
    await send(first);
    await assertRejected(send(second), "SM_IDEMPOTENCY_MISMATCH", 409);
  }
});

test("key · one that release 0.1.0 stored, with its own digest of the payload, still finds its message", async () => {
  const { sql } = project();
  const send = () => sql`select * from messenger_dispatch('T', '{"price": 1.10}', idempotency_key => 'price')`;
  await send();
  await sql`update messenger.idempotency_keys set fingerprint = sha256(convert_to('{"price": 1.10}', 'UTF8'))`;
  assert.equal((await send())[0].duplicate, true);
});

test("key · priority, delay and metadata may differ", async () => {
  await once();
  assert.equal((await once({ priority: 1, delay: "1 h", metadata: { try: 2 } })).duplicate, true);
});

test("key · of 255 bytes is accepted", async () => {
  assert.equal((await once({ idempotency_key: "ä".repeat(127) + "a" })).duplicate, false);
});

test("window · a finished message keeps its key for 24 hours, then the key is free", async () => {
  const { sql } = project();
  const { id } = await once();
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  await setClock(sql, "23 hours 59 minutes");
  assert.equal((await once()).id, id);
  await setClock(sql, "24 hours 1 minute");
  const next = await once();
  assert.deepEqual([next.duplicate, next.id === id], [false, false]);
  assert.equal((await once()).id, next.id);
});

test("window · a free key can be used for another message", async () => {
  const { sql } = project();
  const { id } = await once({ idempotency_window: "1 minute" });
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  await setClock(sql, "2 minutes");
  assert.equal((await once({ payload: { other: true } })).duplicate, false);
});

test("window · an unfinished message keeps its key for any time", async () => {
  const { sql } = project();
  const { id } = await once({ idempotency_window: "1 second" });
  await setClock(sql, "400 days");
  assert.equal((await once()).id, id);
});

test("window · the transport's config sets it, the call's own overrides it", async () => {
  const { sql } = project();
  await sql`update messenger_transports set config = '{"idempotency_window": "1 hour"}' where name = 'supabase'`;
  for (const [key, window] of [["a", undefined], ["b", "3 hours"]] as const) {
    const { id } = await once({ idempotency_key: key, ...window && { idempotency_window: window } });
    const [{ fence }] = await claim(sql);
    await settle(sql, [{ id, fence, outcome: "completed" }]);
  }
  await setClock(sql, "2 hours");
  assert.equal((await once({ idempotency_key: "a" })).duplicate, false);
  assert.equal((await once({ idempotency_key: "b" })).duplicate, true);
});

test("window · the key outlives a row that retention 0 deleted", async () => {
  const { sql } = project();
  await sql`update messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
  const { id } = await once();
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  assert.equal(await stored(), 0);
  const again = await once();
  assert.deepEqual([again.id, again.duplicate, again.status, again.transport, again.queue], [
    id,
    true,
    "completed",
    "supabase",
    "default",
  ]);
});

test("key · an open dead letter keeps its key past every window; a resolved one does not", async () => {
  const { sql } = project();
  const { id } = await once({ max_retries: 0 });
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "no" }]);
  await setClock(sql, "60 days");
  const again = await once();
  assert.deepEqual([again.id, again.duplicate, again.status], [id, true, "failed"]);
  await sql`update messenger_failed_messages set resolved_at = now(), resolution = 'discarded'`;
  assert.equal((await once()).duplicate, false);
});

test("key · an expired message releases its key after the window", async () => {
  const { sql } = project();
  const { id } = await once({ expires_at: new Date(Date.now() + 60_000), idempotency_window: "1 hour" });
  await setClock(sql, "2 minutes");
  assert.deepEqual(await claim(sql), []);
  assert.equal((await messageOf(sql, id)).error_class, "Expired");
  assert.equal((await once()).duplicate, true);
  await setClock(sql, "61 minutes");
  assert.equal((await once()).duplicate, false);
});

test("batch · a key twice in one batch stores one message, whatever its window", async () => {
  const { sql } = project();
  for (const window of ["1 hour", "0"]) {
    const element = { type: "T", idempotency_key: `k${window}`, idempotency_window: window };
    const replies = await call(sql, "messenger_dispatch_batch", { messages: [element, { type: "T" }, element] });
    assert.deepEqual(replies.map(({ duplicate }) => duplicate), [false, false, true]);
    assert.deepEqual([replies[2].id, replies[2].status, replies[2].available_at], [
      replies[0].id,
      "pending",
      replies[0].available_at,
    ]);
  }
  assert.equal(await stored(), 4);
});

test("batch · a mismatch rejects an atomic batch, and is one element's error in another", async () => {
  const { sql } = project();
  const { id } = await once();
  const messages = [{ type: "T" }, { type: "Other", idempotency_key: "once" }, { type: "T" }];
  const message = await assertRejected(
    call(sql, "messenger_dispatch_batch", { messages }),
    "SM_IDEMPOTENCY_MISMATCH",
    409,
  );
  assert(message.includes("message 2") && message.includes(id), message);
  assert.equal(await stored(), 1);
  const replies = await call(sql, "messenger_dispatch_batch", { messages, atomic: false });
  assert.deepEqual(replies.map(({ error_code }) => error_code), [null, "SM_IDEMPOTENCY_MISMATCH", null]);
  assert.equal(await stored(), 3);
});

test("batch · a rejected atomic batch leaves its keys free", async () => {
  const { sql } = project();
  const messages = [{ type: "Greeting", idempotency_key: "once" }, { type: "bad type" }];
  await assertRejected(call(sql, "messenger_dispatch_batch", { messages }), "SM_TYPE");
  assert.equal((await once()).duplicate, false);
});
