// messenger_list_failed and messenger_get_failed: filters, pages while dead letters are added, resolved and deleted,
// and the limit of a scan.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, dispatchMany, type Row } from "../bus.ts";
import { forgeCursor, INJECTIONS, readAllPages } from "./pages.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

const list = (args: Row = {}): Promise<Row> => callValue(project().sql, "messenger_list_failed", args);
const idsOf = ({ messages }: Row): string[] => messages.map(({ id }: Row) => id);
const hour = (n: number) => `2031-01-01T${String(n).padStart(2, "0")}:00:00Z`;

/** Stores a dead letter; returns its id. */
async function deadLetter(fields: Row = {}): Promise<string> {
  const { sql } = project();
  const row = {
    message_id: crypto.randomUUID(),
    transport_name: "supabase",
    queue_name: "default",
    message_type: "Greeting",
    body: sql.json({ secret: "hush" }),
    attempts: sql.json([{ error: "one" }, { error: "two" }]),
    retry_count: 4,
    max_retries: 3,
    created_at: hour(0),
    ...fields,
  };
  const [{ id }] = await sql`insert into messenger_failed_messages ${sql(row)} returning id`;
  return id;
}

/** Many dead letters at once, several per failed_at, so that the order within a time counts. */
async function deadLetters(count: number, each = 3): Promise<string[]> {
  const { sql } = project();
  await sql`
    insert into messenger_failed_messages (message_id, transport_name, queue_name, message_type, body, retry_count,
      max_retries, failed_at, created_at)
    select gen_random_uuid(), 'supabase', 'default', 'Greeting', '{}', 1, 0, ${
    hour(0)
  }::timestamptz + n / ${each}::int * interval '1 second', ${hour(0)}
    from generate_series(1, ${count}::int) n`;
  await sql`analyze messenger_failed_messages`;
  return (await sql`select id from messenger_failed_messages order by failed_at desc, id`).map(({ id }) => id);
}

test("list_failed · each filter selects exactly the matching dead letters", async () => {
  const plain = await deadLetter({ failed_at: hour(1) });
  const mailed = await deadLetter({ failed_at: hour(2), transport_name: "mail" });
  const queued = await deadLetter({ failed_at: hour(3), queue_name: "letters" });
  const typed = await deadLetter({ failed_at: hour(4), message_type: "Other" });
  const classed = await deadLetter({ failed_at: hour(5), error_class: "Timeout" });
  const retried = await deadLetter({ failed_at: hour(6), resolved_at: hour(7), resolution: "retried" });
  const discarded = await deadLetter({ failed_at: hour(7), resolved_at: hour(7), resolution: "discarded" });
  const open = [classed, typed, queued, mailed, plain];
  const cases: [Row, string[]][] = [
    [{}, open],
    [{ resolved: false }, open],
    [{ resolved: true }, [discarded, retried]],
    [{ transport: "mail" }, [mailed]],
    [{ queue: "letters" }, [queued]],
    [{ type: "Other" }, [typed]],
    [{ error_class: "Timeout" }, [classed]],
    [{ from: hour(4) }, [classed, typed]],
    [{ to: hour(2) }, [plain]],
    [{ from: hour(2), to: hour(4) }, [queued, mailed]],
    [{ from: hour(7), resolved: true }, [discarded]],
    [{ from: "0044-03-15 12:00+00 BC", to: "9999-12-31T23:59:59Z" }, open],
    [{ type: "Other", queue: "letters" }, []],
  ];
  for (const [filter, ids] of cases) {
    const page = await list({ filter });
    assert.deepEqual([idsOf(page), page.total, page.estimated], [ids, ids.length, false], JSON.stringify(filter));
    assert.deepEqual([page.next_cursor, page.searched_to], [null, null]);
  }
});

test("list_failed · a list has the number of attempts, without attempts, bodies and long errors", async () => {
  const id = await deadLetter({ error: "x".repeat(5_000), error_trace: "hush" });
  const page = await list();
  assert.ok(!JSON.stringify(page).includes("hush"));
  assert.deepEqual([page.messages[0].attempt_count, page.messages[0].error.length], [2, 500]);
  const whole = await callValue(project().sql, "messenger_get_failed", { id });
  assert.deepEqual([whole.body, whole.attempts.length, whole.error_trace], [{ secret: "hush" }, 2, "hush"]);
  assert.equal(await callValue(project().sql, "messenger_get_failed", { id: crypto.randomUUID() }), null);
});

test("list_failed · pages repeat and omit nothing while dead letters are added and removed", async () => {
  const { sql } = project();
  const ids = await deadLetters(40);
  const gone = [ids[20], ids[39]];
  const seen = await readAllPages(
    (cursor) => list({ cursor, max: 7 }),
    "messages",
    async (page) => {
      await deadLetter({ failed_at: hour(20) });
      // Some of the listed ones are deleted, and some of the others; none of it may shift the pages.
      if (page === 1) await call(sql, "messenger_discard_failed", { ids: [...ids.slice(0, 7), gone[0]] });
      if (page === 2) {
        await sql`delete from messenger_failed_messages where id = any (${[...ids.slice(7, 14), gone[1]]})`;
      }
    },
  );
  assert.deepEqual(seen.map(({ id }) => id), ids.filter((id) => !gone.includes(id)));
});

test("list_failed · skip skips the given number, also after a cursor", async () => {
  const ids = await deadLetters(10);
  assert.deepEqual(idsOf(await list({ skip: 3, max: 4 })), ids.slice(3, 7));
  const { next_cursor } = await list({ max: 2 });
  assert.deepEqual(idsOf(await list({ cursor: next_cursor, skip: 3, max: 4 })), ids.slice(5, 9));
  const beyond = await list({ skip: 10 });
  assert.deepEqual([beyond.messages, beyond.next_cursor, beyond.total], [[], null, 10]);
  const full = await list({ max: 10 });
  assert.deepEqual([idsOf(full), full.next_cursor], [ids, null]);
});

test("list_failed · a scan ends after 20,000 dead letters and continues from its position", async () => {
  const { sql } = project();
  const rare = await deadLetter({ message_type: "Rare", failed_at: "2030-01-01T00:00:00Z" });
  await deadLetters(45_000, 7);
  const searched: string[] = [];
  const seen = await readAllPages(
    (cursor) => list({ filter: { type: "Rare" }, cursor }),
    "messages",
    (_, page) => Promise.resolve(void (page.searched_to && searched.push(page.searched_to))),
  );
  assert.deepEqual(seen.map(({ id }) => id), [rare]);
  const order =
    await sql`select to_jsonb(failed_at) #>> '{}' as at from messenger_failed_messages order by failed_at desc, id`;
  assert.deepEqual(searched, [order[19_999].at, order[39_999].at]);
  const { total, estimated } = await list();
  assert.ok(estimated && total > 10_000 && total < 60_000, `${total}`);
});

const REJECTED: [what: string, args: Row, code: string][] = [
  ["a filter that is a string", { filter: "all" }, "SM_FILTER"],
  ["an unknown key", { filter: { status: "failed" } }, "SM_UNKNOWN_FIELD"],
  ["a word for resolved", { filter: { resolved: "true" } }, "SM_FILTER"],
  ["null for resolved", { filter: { resolved: null } }, "SM_FILTER"],
  ["a list for type", { filter: { type: ["A"] } }, "SM_FILTER"],
  ["a number for from", { filter: { from: 5 } }, "SM_FILTER"],
  ["a time without a zone for from", { filter: { from: "2030-01-01T00:00:00" } }, "SM_FILTER"],
  ["a range that ends before it begins", { filter: { from: hour(2), to: hour(1) } }, "SM_FILTER"],
  ["skipping backwards", { skip: -1 }, "SM_BATCH"],
  ["skipping 10,001", { skip: 10_001 }, "SM_BATCH"],
  ["pages of nothing", { max: 0 }, "SM_BATCH"],
  ["pages of 1001", { max: 1_001 }, "SM_BATCH"],
];
for (const [what, args, code] of REJECTED) {
  test(`list_failed · rejects ${what}`, async () => {
    await assertRejected(filterAsJson(args), code);
  });
}
/** A JSON string as the filter, too. */
function filterAsJson({ filter, ...rest }: Row): Promise<Row> {
  if (typeof filter !== "string") return list({ ...(filter && { filter }), ...rest });
  const { sql } = project();
  return sql`select messenger_list_failed(filter => ${sql.json(filter)}::jsonb)`;
}

test("list_failed · cursors that are malformed, of another list or filter, or forged are rejected", async () => {
  const { sql } = project();
  await deadLetters(3);
  await dispatchMany(sql, 2);
  const good = (await list({ max: 1 })).next_cursor;
  const other = (await list({ filter: { resolved: false }, max: 1 })).next_cursor;
  const foreign = (await callValue(sql, "messenger_list_messages", { max: 1 })).next_cursor;
  const id = crypto.randomUUID();
  const forged = [null, 5, "x", [], {}, [hour(1)], [null, id], ["soon", id], [hour(1), "x"], [id, hour(1)]];
  const cursors = [
    ...["", "garbled", "bnVsbA", good.slice(0, -9), good + good, other, foreign],
    ...INJECTIONS,
    ...await Promise.all(forged.map((position) => forgeCursor(sql, "failed", {}, position))),
  ];
  for (const cursor of cursors) await assertRejected(list({ cursor, max: 1 }), "SM_FILTER");
  assert.equal((await list({ cursor: good })).messages.length, 2);
});

test("list_failed · texts that look like SQL are only texts", async () => {
  const { sql } = project();
  await deadLetter();
  for (const text of INJECTIONS) {
    for (const key of ["type", "transport", "queue", "error_class"]) {
      const page = await list({ filter: { [key]: text } });
      assert.deepEqual([page.messages, page.total], [[], 0], `${key}: ${text}`);
    }
    for (const key of ["resolved", "from", "to"]) await assertRejected(list({ filter: { [key]: text } }), "SM_FILTER");
    await assertRejected(list({ filter: { [text]: "x" } }), "SM_UNKNOWN_FIELD");
  }
  assert.equal((await sql`select from messenger_failed_messages`).length, 1);
});

test("list_failed · service_role may call it, users may not", async () => {
  const { sql } = project();
  const id = await deadLetter();
  const requested = (role: "service_role" | "authenticated" | "anon", name: string, args: Row) =>
    asRole(sql, role, (tx) => callValue(tx, name, args), crypto.randomUUID());
  assert.equal((await requested("service_role", "messenger_list_failed", {})).messages.length, 1);
  assert.equal((await requested("service_role", "messenger_get_failed", { id })).id, id);
  for (const role of ["authenticated", "anon"] as const) {
    await assert.rejects(requested(role, "messenger_list_failed", {}), /permission denied/);
    await assert.rejects(requested(role, "messenger_get_failed", { id }), /permission denied/);
  }
});
