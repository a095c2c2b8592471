// messenger_list_schedules: filters, pages in order of the names, and the last message of each.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, type Row, setClock } from "../bus.ts";
import { forgeCursor, INJECTIONS, readAllPages } from "./pages.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const list = (args: Row = {}): Promise<Row> => callValue(project().sql, "messenger_list_schedules", args);
const namesOf = ({ schedules }: Row): string[] => schedules.map(({ name }: Row) => name);
const plan = (name: string, fields: Row = {}) =>
  call(project().sql, "messenger_schedule", { name, type: "Digest", schedule: { cron: "@daily" }, ...fields });

test("list_schedules · each filter selects exactly the matching schedules", async () => {
  const { sql } = project();
  for (const name of ["daily digest", "daily report", "weekly"]) await plan(name);
  await plan("other", { type: "Other" });
  await call(sql, "messenger_pause_schedule", { name: "weekly" });
  const cases: [Row, string[]][] = [
    [{}, ["daily digest", "daily report", "other", "weekly"]],
    [{ type: "Other" }, ["other"]],
    [{ enabled: false }, ["weekly"]],
    [{ enabled: true }, ["daily digest", "daily report", "other"]],
    [{ name: "daily" }, ["daily digest", "daily report"]],
    [{ name: "daily d", enabled: true, type: "Digest" }, ["daily digest"]],
    [{ name: "" }, ["daily digest", "daily report", "other", "weekly"]],
    [{ name: "digest" }, []],
    [{ name: "Daily" }, []],
  ];
  for (const [filter, names] of cases) {
    const page = await list({ filter });
    const shown = [namesOf(page), page.total, page.estimated, page.next_cursor];
    assert.deepEqual(shown, [names, names.length, false, null], JSON.stringify(filter));
  }
});

test("list_schedules · wildcards in the beginning of a name are literal", async () => {
  const names = ["50% off", "50 off", "a_b", "axb", "a\\b", "a'b"];
  for (const name of names) await plan(name);
  for (
    const [prefix, found] of [
      ["50%", ["50% off"]],
      ["%", []],
      ["a_", ["a_b"]],
      ["_", []],
      ["a\\", ["a\\b"]],
      ["a'", ["a'b"]],
      [".*", []],
    ] as const
  ) {
    assert.deepEqual(namesOf(await list({ filter: { name: prefix } })), found, prefix);
  }
});

test("list_schedules · pages repeat nothing and omit nothing while schedules come and go", async () => {
  const names = Array.from({ length: 30 }, (_, n) => `s${String(n).padStart(2, "0")}`);
  for (const name of names) await plan(name);
  const seen = await readAllPages(
    (cursor) => list({ cursor, max: 4 }),
    "schedules",
    async (page) => {
      await plan(`a${page}`);
      await plan(`z${page}`);
      if (page === 1) await call(project().sql, "messenger_unschedule", { name: "s00" });
      if (page === 2) await call(project().sql, "messenger_unschedule", { name: "s20" });
    },
  );
  const shown = seen.map(({ name }) => name);
  assert.equal(new Set(shown).size, shown.length);
  assert.deepEqual(shown.filter((name) => names.includes(name)), names.filter((name) => name !== "s20"));
  assert.deepEqual(shown, shown.toSorted());
});

test("list_schedules · a page that is just full ends the list, and names of other scripts are paged, too", async () => {
  const names = ["Ärger", "ähnlich", "Zebra", "zebra", "日報", "🎺", "a b", "a-b", "ab"];
  for (const name of names) await plan(name);
  const seen = await readAllPages((cursor) => list({ cursor, max: 3 }), "schedules");
  assert.deepEqual(seen.map(({ name }) => name).sort(), names.toSorted());
  assert.equal((await list({ max: 9 })).next_cursor, null);
});

test("list_schedules · each has its last message and that message's status", async () => {
  const { sql } = project();
  await plan("each minute", { schedule: { interval: 60_000 } });
  const [before] = (await list()).schedules;
  assert.deepEqual([before.last_message_id, before.last_message_status], [null, null]);
  for (const minutes of [2, 3]) {
    await setClock(sql, `${minutes} minutes`);
    await sql`select messenger_tick()`;
  }
  const [after] = (await list()).schedules;
  const [newest] = await sql`select id from messenger_messages order by id desc limit 1`;
  assert.deepEqual([after.last_message_id, after.last_message_status], [newest.id, "pending"]);
});

const REJECTED: [what: string, args: Row, code: string][] = [
  ["a filter that is a list", { filter: [] }, "SM_FILTER"],
  ["an unknown key", { filter: { queue: "a" } }, "SM_UNKNOWN_FIELD"],
  ["a word for enabled", { filter: { enabled: "yes" } }, "SM_FILTER"],
  ["a number for name", { filter: { name: 5 } }, "SM_FILTER"],
  ["null for type", { filter: { type: null } }, "SM_FILTER"],
  ["pages of nothing", { max: 0 }, "SM_BATCH"],
  ["pages of 1001", { max: 1_001 }, "SM_BATCH"],
];
for (const [what, args, code] of REJECTED) {
  test(`list_schedules · rejects ${what}`, async () => {
    await assertRejected(list(args), code);
  });
}

test("list_schedules · cursors that are malformed, of another list or filter, or forged are rejected", async () => {
  const { sql } = project();
  for (const name of ["a", "b"]) await plan(name);
  const good = (await list({ max: 1 })).next_cursor;
  const other = (await list({ filter: { type: "Digest" }, max: 1 })).next_cursor;
  const forged = [null, 5, true, [], {}, ["a"]];
  const cursors = [
    ...["", "garbled", "bnVsbA", good.slice(0, -9), good + good, other, await forgeCursor(sql, "failed", {}, "a")],
    ...INJECTIONS,
    ...await Promise.all(forged.map((position) => forgeCursor(sql, "schedules", {}, position))),
  ];
  for (const cursor of cursors) await assertRejected(list({ cursor, max: 1 }), "SM_FILTER");
  for (const text of INJECTIONS) {
    const page = await list({ cursor: await forgeCursor(sql, "schedules", {}, text) });
    assert.ok(page.schedules.length <= 2, "a name that looks like SQL");
  }
  assert.deepEqual(namesOf(await list({ cursor: good })), ["b"]);
});

test("list_schedules · texts that look like SQL are only texts", async () => {
  await plan("a");
  for (const text of INJECTIONS) {
    for (const key of ["type", "name"]) assert.deepEqual((await list({ filter: { [key]: text } })).schedules, [], text);
    await assertRejected(list({ filter: { [text]: "x" } }), "SM_UNKNOWN_FIELD");
  }
});

test("list_schedules · service_role may call it, users may not", async () => {
  const { sql } = project();
  assert.ok(await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_list_schedules")));
  for (const role of ["authenticated", "anon"] as const) {
    const requested = asRole(sql, role, (tx) => callValue(tx, "messenger_list_schedules"), crypto.randomUUID());
    await assert.rejects(requested, /permission denied/);
  }
});
