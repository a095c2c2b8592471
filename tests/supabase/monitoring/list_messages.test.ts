// messenger_list_messages and messenger_get_message: filters, pages while messages come and go, the limit of a scan,
// and bad input.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, dispatch, dispatchMany, type Row, setClock, settle } from "../bus.ts";
import { forgeCursor, INJECTIONS, readAllPages } from "./pages.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true, isolation: "read committed" });
Deno.test.beforeEach(() => empty(project().sql));

type Filter = Record<string, unknown>;
const list = (args: Row = {}): Promise<Row> => callValue(project().sql, "messenger_list_messages", args);
const idsOf = ({ messages }: Row): string[] => messages.map(({ id }: Row) => id);
const found = async (filter: Filter) => idsOf(await list({ filter }));
const hour = (n: number) => `2031-01-01T${String(n).padStart(2, "0")}:00:00Z`;

/** Dispatches as a signed-in user. */
async function dispatchAs(user: string, fields: Row): Promise<string> {
  const { sql } = project();
  await call(sql, "messenger_register", { types: [{ type: "Greeting", dispatchable_by: "user" }] });
  const send = { type: "Greeting", ...fields };
  return (await asRole(sql, "authenticated", (tx) => call(tx, "messenger_user_dispatch", send), user))[0].id;
}

test("list_messages · each filter selects exactly the matching messages", async () => {
  const { sql } = project();
  await call(sql, "messenger_put_transport", { name: "mail" });
  const user = crypto.randomUUID();
  const plain = (await dispatch(sql)).id;
  const typed = (await dispatch(sql, { type: "Other" })).id;
  const queued = (await dispatch(sql, { queue: "letters" })).id;
  const mailed = (await dispatch(sql, { transport: "mail" })).id;
  const keyed = (await dispatch(sql, { idempotency_key: "once" })).id;
  const ordered = (await dispatch(sql, { ordering_key: "ada" })).id;
  const sent = await dispatchAs(user, {});
  const dead = (await dispatch(sql, { queue: "dead" })).id;
  const done = (await dispatch(sql, { queue: "done" })).id;
  const held = (await dispatch(sql, { queue: "held" })).id;
  for (const [queue, outcome] of [["dead", "failed"], ["done", "completed"]]) {
    const [{ id, fence }] = await claim(sql, { queues: [queue] });
    await settle(sql, [{ id, fence, outcome, ...(outcome === "failed" && { error_class: "Oops", retryable: false }) }]);
  }
  await claim(sql, { queues: ["held"] });
  const pending = [sent, ordered, keyed, mailed, queued, typed, plain];
  const cases: [Filter, string[]][] = [
    [{}, [held, done, dead, ...pending]],
    [{ status: "pending" }, pending],
    [{ status: "processing" }, [held]],
    [{ status: "completed" }, [done]],
    [{ status: "failed" }, [dead]],
    [{ type: "Other" }, [typed]],
    [{ transport: "mail" }, [mailed]],
    [{ queue: "letters" }, [queued]],
    [{ error_class: "Oops" }, [dead]],
    [{ idempotency_key: "once" }, [keyed]],
    [{ ordering_key: "ada" }, [ordered]],
    [{ created_by: user }, [sent]],
    [{ id: dead }, [dead]],
    [{ id: dead.toUpperCase() }, [dead]],
    [{ id: dead, status: "pending" }, []],
    [{ queue: "letters", type: "Greeting", status: "pending", transport: "supabase" }, [queued]],
    [{ type: "greeting" }, []],
  ];
  for (const [filter, ids] of cases) {
    const page = await list({ filter });
    assert.deepEqual([idsOf(page), page.total, page.estimated], [ids, ids.length, false], JSON.stringify(filter));
    assert.deepEqual([page.next_cursor, page.searched_to], [null, null]);
  }
});

test("list_messages · from is inclusive, to is exclusive, and both may be any time", async () => {
  const { sql } = project();
  const ids: string[] = [];
  for (const hours of [0, 1, 2]) {
    await setClock(sql, `${(Date.parse(hour(hours)) - Date.now()) / 1000} seconds`);
    ids.unshift((await dispatch(sql)).id);
  }
  // To the microsecond, for the limits; within the minute of tolerance that an id has.
  await sql`update messenger_messages set created_at = date_trunc('minute', created_at + interval '30 seconds')`;
  assert.deepEqual(await found({ from: hour(1) }), ids.slice(0, 2));
  assert.deepEqual(await found({ to: hour(1) }), ids.slice(2));
  assert.deepEqual(await found({ from: hour(1), to: hour(2) }), ids.slice(1, 2));
  assert.deepEqual(await found({ from: "2031-01-01T02:00:00+01:00", to: hour(2) }), ids.slice(1, 2));
  for (const early of ["1969-12-31T00:00:00Z", "0001-01-01T00:00:00Z", "0044-03-15 12:00+00 BC"]) {
    assert.deepEqual(await found({ from: early }), ids, early);
    assert.deepEqual(await found({ to: early }), [], early);
  }
  assert.deepEqual(await found({ to: "9999-12-31T23:59:59Z" }), ids);
  assert.deepEqual(await found({ from: "9999-12-31T23:59:59Z" }), []);
});

test("list_messages · a key of several senders finds all messages, or those of one sender", async () => {
  const { sql } = project();
  const users = [crypto.randomUUID(), crypto.randomUUID()];
  const ids = [(await dispatch(sql, { idempotency_key: "same" })).id];
  for (const user of users) ids.unshift(await dispatchAs(user, { idempotency_key: "same" }));
  assert.deepEqual(await found({ idempotency_key: "same" }), ids);
  assert.deepEqual(await found({ idempotency_key: "same", created_by: users[0] }), [ids[1]]);
});

test("list_messages · a message that waits for its predecessor is blocked and has no time", async () => {
  const { sql } = project();
  const first = (await dispatch(sql, { ordering_key: "ada" })).id;
  const second = (await dispatch(sql, { ordering_key: "ada" })).id;
  const { messages } = await list({ filter: { ordering_key: "ada" } });
  assert.deepEqual(messages.map(({ id, blocked }: Row) => [id, blocked]), [[second, true], [first, false]]);
  assert.deepEqual([messages[0].available_at, typeof messages[1].available_at], [null, "string"]);
  const whole = await callValue(sql, "messenger_get_message", { id: second });
  assert.deepEqual([whole.blocked, whole.available_at, whole.attempts, whole.dead_letters], [true, null, [], []]);
});

test("list_messages · a list has neither bodies nor long errors", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { payload: { secret: "hush" }, headers: { a: "hush" }, metadata: { b: "hush" } });
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "x".repeat(5_000) }]);
  const page = await list();
  assert.ok(!JSON.stringify(page).includes("hush"));
  assert.equal(page.messages[0].last_error.length, 200);
  assert.equal((await callValue(sql, "messenger_get_message", { id })).body.secret, "hush");
  assert.equal(await callValue(sql, "messenger_get_message", { id: crypto.randomUUID() }), null);
});

for (const filter of [{}, { type: "Greeting" }, { status: "pending" }, { status: "completed" }]) {
  test(`list_messages · pages of ${JSON.stringify(filter)} repeat and omit nothing during changes`, async () => {
    const { sql } = project();
    const ids = await dispatchMany(sql, 40);
    const finish = async (count: number) => {
      const rows = await claim(sql, { batch: count });
      await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
    };
    if ("status" in filter && filter.status === "completed") await finish(40);
    const removed: string[] = [];
    const seen = await readAllPages(
      (cursor) => list({ filter, cursor, max: 7 }),
      "messages",
      async (page) => {
        await dispatchMany(sql, 3);
        // The oldest finish, the next oldest are deleted.
        if (page === 1 && !("status" in filter)) await finish(2);
        if (page === 2) {
          const gone = ids.slice(3, 5);
          await sql`delete from messenger_messages where id = any (${gone})`;
          removed.push(...gone);
        }
      },
    );
    const shown = seen.map(({ id }) => id);
    assert.equal(new Set(shown).size, shown.length, "nothing twice");
    const stayed = ids.filter((id) => !removed.includes(id)).reverse();
    assert.deepEqual(shown.filter((id) => ids.includes(id)), stayed);
  });
}

test("list_messages · a page that is just full ends the list", async () => {
  const ids = (await dispatchMany(project().sql, 4)).reverse();
  const full = await list({ max: 4 });
  assert.deepEqual([idsOf(full), full.next_cursor], [ids, null]);
  const half = await list({ max: 2 });
  assert.deepEqual(idsOf(await list({ max: 2, cursor: half.next_cursor })), ids.slice(2));
});

async function fill(count: number) {
  const { sql } = project();
  await sql`
    insert into messenger_messages (id, message_type, queue_name, status, processed_at, created_at)
    select (messenger.id_prefix(t) || lpad(to_hex(messenger.id_random()), 16, '0'))::uuid, 'Filler', 'filler',
      'completed', t, t
    from (select messenger.now() + n * interval '1 ms' as t from generate_series(1, ${count}::int) n) x`;
  await sql`analyze messenger_messages`;
}

test("list_messages · a scan ends after 20,000 messages and continues from its position", async () => {
  const { sql } = project();
  const rare = (await dispatch(sql, { type: "Rare" })).id;
  await fill(45_000);
  const searched: string[] = [];
  const seen = await readAllPages(
    (cursor) => list({ filter: { type: "Rare" }, cursor }),
    "messages",
    (_, page) => Promise.resolve(void (page.searched_to && searched.push(page.searched_to))),
  );
  assert.deepEqual(seen.map(({ id }) => id), [rare]);
  const order = await sql`select to_jsonb(created_at) #>> '{}' as at from messenger_messages order by id desc`;
  assert.deepEqual(searched, [order[19_999].at, order[39_999].at]);
  const first = await list({ filter: { type: "Rare" } });
  assert.deepEqual([first.messages, first.next_cursor !== null], [[], true]);
});

test("list_messages · a message is found by its id, and by a key in use, however many are younger", async () => {
  const { sql } = project();
  const user = crypto.randomUUID();
  const old = (await dispatch(sql, { idempotency_key: "order-1" })).id;
  const theirs = await dispatchAs(user, { idempotency_key: "order-1" });
  await fill(21_000);
  assert.deepEqual(await found({ id: old }), [old]);
  assert.deepEqual(await found({ created_by: user }), [theirs]);
  assert.deepEqual(await found({ to: (await list({ filter: { id: old } })).messages[0].created_at }), []);
  const first = await list({ filter: { idempotency_key: "order-1" } });
  assert.deepEqual([idsOf(first), first.searched_to !== null], [[old], true]);
  const pages = await readAllPages(
    (cursor) => list({ filter: { idempotency_key: "order-1" }, cursor, max: 1 }),
    "messages",
  );
  assert.deepEqual(pages.map(({ id }) => id).sort(), [old, theirs].sort());
  // The key is deleted between two pages: listed messages are not listed again.
  await sql`delete from messenger.idempotency_keys`;
  const next = await list({ filter: { idempotency_key: "order-1" }, cursor: first.next_cursor });
  assert.deepEqual(idsOf(next), [theirs]);
});

test("list_messages · totals above 10,000 are estimated", async () => {
  await fill(12_000);
  const { total, estimated } = await list();
  assert.ok(estimated && total > 10_000 && total < 14_000, `${total}`);
  const few = await list({ filter: { id: (await list({ max: 1 })).messages[0].id } });
  assert.deepEqual([few.total, few.estimated], [1, false]);
});

const REJECTED: [what: string, args: Row, code: string][] = [
  ["a filter that is a list", { filter: [] }, "SM_FILTER"],
  ["an unknown key", { filter: { colour: "red" } }, "SM_UNKNOWN_FIELD"],
  ["a key in another spelling", { filter: { errorClass: "x" } }, "SM_UNKNOWN_FIELD"],
  ["an unknown status", { filter: { status: "lost" } }, "SM_FILTER"],
  ["a number for type", { filter: { type: 5 } }, "SM_FILTER"],
  ["null for queue", { filter: { queue: null } }, "SM_FILTER"],
  ["a word for id", { filter: { id: "five" } }, "SM_FILTER"],
  ["braces around created_by", { filter: { created_by: `{${crypto.randomUUID()}}` } }, "SM_FILTER"],
  ["a word for from", { filter: { from: "soon" } }, "SM_FILTER"],
  ["infinity for to", { filter: { to: "infinity" } }, "SM_FILTER"],
  ["a range that ends before it begins", { filter: { from: hour(2), to: hour(2) } }, "SM_FILTER"],
  ["pages of nothing", { max: 0 }, "SM_BATCH"],
  ["pages of 1001", { max: 1001 }, "SM_BATCH"],
];
for (const [what, args, code] of REJECTED) {
  test(`list_messages · rejects ${what}`, async () => {
    await assertRejected(list(args), code);
  });
}

test("list_messages · cursors that are malformed, of another list or filter, or forged are rejected", async () => {
  const { sql } = project();
  await dispatchMany(sql, 3);
  const good = (await list({ max: 1 })).next_cursor;
  const other = (await list({ filter: { type: "Greeting" }, max: 1 })).next_cursor;
  for (const n of [1, 2]) {
    await call(sql, "messenger_schedule", { name: `s${n}`, type: "A", schedule: { cron: "@daily" } });
  }
  const foreign = (await callValue(sql, "messenger_list_schedules", { max: 1 })).next_cursor;
  const forged = [null, 5, "x", [], [null], ["x"], [good], {}, [[]], [crypto.randomUUID(), null]];
  const cursors = [
    ...["", "=", "garbled", "é", "null", "bnVsbA", good.slice(0, -9), `${good}x`, good + good, "A".repeat(100_000)],
    ...INJECTIONS,
    ...[other, foreign],
    ...await Promise.all(forged.map((position) => forgeCursor(sql, "messages", {}, position))),
  ];
  for (const cursor of cursors) await assertRejected(list({ cursor, max: 1 }), "SM_FILTER");
  await assertRejected(list({ cursor: good, filter: { type: "Greeting" } }), "SM_FILTER");
  assert.equal((await list({ cursor: good, max: 1 })).messages.length, 1);
});

test("list_messages · texts that look like SQL are only texts", async () => {
  const { sql } = project();
  await dispatch(sql);
  for (const text of INJECTIONS) {
    for (const key of ["type", "transport", "queue", "error_class", "idempotency_key", "ordering_key"]) {
      const page = await list({ filter: { [key]: text } });
      assert.deepEqual([page.messages, page.total], [[], 0], `${key}: ${text}`);
    }
    for (const key of ["status", "id", "created_by", "from"]) {
      await assertRejected(list({ filter: { [key]: text } }), "SM_FILTER");
    }
    await assertRejected(list({ filter: { [text]: "x" } }), "SM_UNKNOWN_FIELD");
  }
  assert.equal((await sql`select from messenger_messages`).length, 1);
});

test("list_messages · service_role may call it, users may not", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  const requested = (role: "service_role" | "authenticated" | "anon", name: string, args: Row) =>
    asRole(sql, role, (tx) => callValue(tx, name, args), crypto.randomUUID());
  assert.equal((await requested("service_role", "messenger_list_messages", {})).messages.length, 1);
  assert.equal((await requested("service_role", "messenger_get_message", { id })).id, id);
  for (const role of ["authenticated", "anon"] as const) {
    await assert.rejects(requested(role, "messenger_list_messages", {}), /permission denied/);
    await assert.rejects(requested(role, "messenger_get_message", { id }), /permission denied/);
  }
});
