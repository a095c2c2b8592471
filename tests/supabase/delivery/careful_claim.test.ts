// The careful scan, which follows a scan that has met too many messages it cannot hand out, keeps the promises of every
// claim. Here it follows each scan that meets a message.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch, dispatchAndClaim, dispatchMany, setClock } from "../bus.ts";
import { limitLockWaits } from "../until_blocked.ts";
import { rememberQueues } from "./known_queues.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const ids = (rows: { id: string }[]) => rows.map(({ id }) => id);

async function carefulSession(): Promise<Sql & AsyncDisposable> {
  const sql = session(project());
  await sql`set messenger.scan_limit = '-1 hour'`;
  return sql;
}

test("careful claim · priority first, then availability; the batch is filled and not exceeded", async () => {
  await using sql = await carefulSession();
  const [low] = await dispatchMany(sql, 1, { priority: 1 });
  const middle = await dispatchMany(sql, 2, { priority: 5 });
  const high = await dispatchMany(sql, 2, { priority: 10 });
  assert.deepEqual(ids(await claim(sql, { batch: 3 })), [...high, middle[0]]);
  assert.deepEqual(ids(await claim(sql)), [middle[1], low]);
});

test("careful claim · returns only announced types", async () => {
  await using sql = await carefulSession();
  const { id } = await dispatch(sql, { type: "A" });
  await dispatch(sql, { type: "B" });
  assert.deepEqual(ids(await claim(sql, { types: ["A"] })), [id]);
});

test("careful claim · skips the rows of another's open claim, and does not wait", async () => {
  await using sql = await carefulSession();
  await using other = session(project());
  const all = await dispatchMany(project().sql, 3);
  await other`begin`;
  await claim(other, { batch: 2 });
  assert.deepEqual(ids(await claim(sql, { worker: "bob" })), all.slice(2));
  await other`rollback`;
  assert.deepEqual(ids(await claim(sql, { worker: "bob" })), all.slice(0, 2), "none was set aside");
});

test("careful claim · a lease that has not expired stays its worker's", async () => {
  await using sql = await carefulSession();
  await dispatchAndClaim(sql, {}, { lease: "62 s" });
  const { id } = await dispatchAndClaim(sql, {}, { lease: "60 s" });
  await setClock(sql, "61 seconds");
  assert.deepEqual(ids(await claim(sql)), [id]);
});

test("careful claim · a pause applies at once to a session that has just claimed from the queue", async () => {
  await using sql = await carefulSession();
  await dispatchMany(sql, 2);
  assert.equal((await claim(sql, { batch: 1 })).length, 1);
  await rememberQueues(sql);
  // The search of the careful claim is repeated, unless the last one was slow.
  await sql`select set_config(name, array_to_string(array[part[1], part[2], part[2], part[4]], '|'), false)
    from (select 'messenger.known_queues_' || replace(hashtextextended('', 0)::text, '-', 'n') as name) n,
      string_to_array(current_setting(name), '|') part`;
  await call(project().sql, "messenger_pause", { transport: "supabase", queue: "default" });
  assert.deepEqual(await claim(sql), []);
  await call(project().sql, "messenger_resume", { transport: "supabase", queue: "default" });
  assert.equal((await claim(sql)).length, 1);
});
