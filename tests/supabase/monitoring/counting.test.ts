// messenger.count_rows: exact while that is cheap, the planner's estimate above.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { dispatchMany } from "../bus.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

const MESSAGES = "select from public.messenger_messages";

async function count(query: string, args = {}, bound = 100): Promise<[number, boolean]> {
  const { sql } = project();
  const [row] = await sql`select n::int, estimated from messenger.count_rows(${query}, ${sql.json(args)}, ${bound})`;
  return [row.n, row.estimated];
}

/** Makes the planner assume the given number of rows per page. */
async function plantDensity(rows: number) {
  await using admin = session(project(), "supabase_admin");
  await admin`update pg_class set reltuples = ${rows}, relpages = 1 where oid = 'public.messenger_messages'::regclass`;
}

test("count_rows · exact up to the bound, estimated from one more on", async () => {
  const { sql } = project();
  assert.deepEqual(await count(MESSAGES), [0, false]);
  await dispatchMany(sql, 100);
  await sql`analyze messenger_messages`;
  assert.deepEqual(await count(MESSAGES), [100, false]);
  await dispatchMany(sql, 200);
  await sql`analyze messenger_messages`;
  assert.deepEqual(await count(MESSAGES), [300, true]);
  assert.deepEqual(await count(MESSAGES, {}, 300), [300, false]);
});

test("count_rows · an estimate is never below the counted rows, whatever the statistics are", async () => {
  const { sql } = project();
  await sql`analyze messenger_messages`;
  await dispatchMany(sql, 300);
  await plantDensity(0);
  assert.deepEqual(await count(`${MESSAGES} where queue_name = 'default' and priority = 5`), [101, true]);
});

test("count_rows · values are passed as parameters, never in the query text", async () => {
  const { sql } = project();
  await dispatchMany(sql, 3, { queue: "a" });
  const query = `${MESSAGES} where queue_name = $1 ->> 'queue'`;
  assert.deepEqual(await count(query, { queue: "a" }), [3, false]);
  assert.deepEqual(await count(query, { queue: "a' or true --" }), [0, false]);
  assert.deepEqual(await count(query), [0, false]);
});

test("count_rows · if even counting to the bound would be expensive, nothing is read", async () => {
  await dispatchMany(project().sql, 3);
  await plantDensity(10_000_000);
  await using own = session(project());
  await own.begin(async (transaction) => {
    const [row] = await transaction`
      select n::int, estimated from messenger.count_rows(${`${MESSAGES} where created_by is null and priority = 9`})`;
    assert.equal(row.estimated, true);
    assert.ok(row.n >= 0, `${row.n}`);
    const [{ read }] =
      await transaction`select pg_stat_get_xact_tuples_returned('public.messenger_messages'::regclass)::int as read`;
    assert.equal(read, 0);
  });
});
