// Wake-ups of plain messages: whether a worker is active is looked up at most every 20 ms per session, queue and type.
// The clock stands still, so that all dispatches are within the 20 ms.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch } from "../bus.ts";
import { freezeClock, installFrozenClock } from "../frozen_clock.ts";

const project = useProject();
Deno.test.beforeAll(() => installFrozenClock(project().sql));
Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`delete from net.http_request_queue`;
  await call(sql, "messenger_register", {
    types: [{ type: "A" }, { type: "B" }, { type: "Mail", queue: "mail" }],
  });
  await call(sql, "messenger_start", { functions_url: "https://example.test/functions/v1" });
  await call(sql, "messenger_stop");
});

const wakeups = async () => (await project().sql`select from net.http_request_queue`).length;

async function frozenSession(): Promise<Sql & AsyncDisposable> {
  const sql = session(project());
  await freezeClock(sql);
  return sql;
}

test("plain wake-up · a dispatch to another queue sends one within 20 ms", async () => {
  await using sql = await frozenSession();
  await dispatch(sql, { type: "A" });
  assert.equal(await wakeups(), 1);
  await dispatch(sql, { type: "Mail" });
  assert.equal(await wakeups(), 2);
});

test("plain wake-up · a type without an active worker sends one within 20 ms of another type's", async () => {
  await using sql = await frozenSession();
  await claim(sql, { types: ["A"] });
  await dispatch(sql, { type: "A" });
  assert.equal(await wakeups(), 0);
  await dispatch(sql, { type: "B" });
  assert.equal(await wakeups(), 1);
});

test("plain wake-up · many dispatches of one type send one within 20 ms, and another one later", async () => {
  await using sql = await frozenSession();
  for (let n = 0; n < 5; n++) await dispatch(sql, { type: "A" });
  assert.equal(await wakeups(), 1);
  await freezeClock(sql, 100);
  await dispatch(sql, { type: "A" });
  assert.equal(await wakeups(), 2);
});

test("plain wake-up · a batch sends one for each of its queues", async () => {
  await using sql = await frozenSession();
  await call(sql, "messenger_dispatch_batch", { messages: ["A", "Mail", "A", "Mail"].map((type) => ({ type })) });
  assert.equal(await wakeups(), 2);
});

test("plain wake-up · after a rollback, also to a savepoint, the next dispatch sends one", async () => {
  await using sql = await frozenSession();
  await sql`begin`;
  await dispatch(sql, { type: "A" });
  await sql`rollback`;
  await sql`begin`;
  await sql`savepoint s`;
  await dispatch(sql, { type: "A" });
  await sql`rollback to s`;
  await dispatch(sql, { type: "A" });
  await sql`commit`;
  assert.equal(await wakeups(), 1);
});
