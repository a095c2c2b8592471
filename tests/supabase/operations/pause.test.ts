// messenger_pause and messenger_resume: no message is handed out; running ones may finish and dispatched ones wait.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, claim, dispatch, dispatchAndClaim, messageOf, setClock, settle } from "../bus.ts";
import { rememberQueues } from "../delivery/known_queues.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const pause = (queue: string, transport = "supabase"): Promise<boolean> =>
  callValue(project().sql, "messenger_pause", { transport, queue });
const resume = (queue: string, transport = "supabase"): Promise<boolean> =>
  callValue(project().sql, "messenger_resume", { transport, queue });

test("pause · no message of the queue is handed out until it is resumed, other queues continue", async () => {
  const { sql } = project();
  const { id: paused } = await dispatch(sql, { queue: "mail" });
  const { id: other } = await dispatch(sql, { queue: "chat" });
  assert.equal(await pause("mail"), true);
  assert.deepEqual((await claim(sql)).map(({ id }) => id), [other]);
  assert.deepEqual(await claim(sql, { queues: ["mail"] }), []);
  assert.equal(await resume("mail"), true);
  assert.deepEqual((await claim(sql)).map(({ id }) => id), [paused]);
});

test("pause · applies at once to a session that has just claimed from the queue", async () => {
  await using sql = session(project());
  await dispatch(sql);
  await dispatch(sql);
  assert.equal((await claim(sql, { batch: 1 })).length, 1);
  await rememberQueues(sql);
  await pause("default");
  assert.deepEqual(await claim(sql, { batch: 1 }), []);
  await resume("default");
  assert.equal((await claim(sql, { batch: 1 })).length, 1);
});

test("pause · a disabled transport applies at once, too", async () => {
  await using sql = session(project());
  await dispatch(sql);
  await dispatch(sql);
  assert.equal((await claim(sql, { batch: 1 })).length, 1);
  await rememberQueues(sql);
  await project().sql`update messenger_transports set enabled = false where name = 'supabase'`;
  assert.deepEqual(await claim(sql, { batch: 1 }), []);
});

test("pause · running messages may finish, and dispatched ones are stored", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await pause("default");
  const later = await dispatch(sql);
  assert.equal(later.status, "pending");
  assert.equal((await settle(sql, [{ id, fence, outcome: "completed" }]))[0].outcome, "completed");
});

test("pause · a lease that expires meanwhile is counted, and the message waits", async () => {
  const { sql } = project();
  const { id } = await dispatchAndClaim(sql);
  await pause("default");
  await setClock(sql, "2 minutes");
  await call(sql, "messenger_tick");
  const row = await messageOf(sql, id);
  assert.deepEqual([row.status, row.retry_count, row.lease_losses], ["pending", 1, 1]);
  assert.deepEqual(await claim(sql), []);
});

test("pause · a dispatch sends no wake-up for it", async () => {
  const { sql } = project();
  const woken = () =>
    sql.begin(async (tx) => {
      await dispatch(tx);
      return (await tx`select coalesce(current_setting('messenger.woken', true), '') as woken`)[0].woken;
    });
  await pause("default");
  assert.equal(await woken(), "");
  await resume("default");
  assert.equal(await woken(), "supabase/default");
});

test("pause · a repeated pause, and resuming a queue that is not paused, change nothing", async () => {
  const { sql } = project();
  assert.equal(await pause("default"), true);
  const [{ paused_at }] = await sql`select paused_at from messenger.queues`;
  assert.equal(await pause("default"), false);
  assert.deepEqual((await sql`select paused_at from messenger.queues`)[0].paused_at, paused_at);
  assert.equal(await resume("default"), true);
  assert.equal(await resume("default"), false);
  assert.equal(await resume("never-paused"), false);
});

for (
  const [what, args, code] of [
    ["an unknown transport", { transport: "nowhere", queue: "default" }, "SM_TRANSPORT"],
    ["no transport", { transport: null, queue: "default" }, "SM_TRANSPORT"],
    ["a malformed queue", { transport: "supabase", queue: "No Such" }, "SM_QUEUE"],
    ["an empty queue", { transport: "supabase", queue: "" }, "SM_QUEUE"],
    ["no queue", { transport: "supabase", queue: null }, "SM_QUEUE"],
  ] as const
) {
  for (const verb of ["messenger_pause", "messenger_resume"]) {
    test(`rejected · ${verb} of ${what}`, async () => {
      const { sql } = project();
      await assertRejected(call(sql, verb, args), code);
      assert.equal((await sql`select from messenger.queues`).length, 0);
    });
  }
}

test("pause · service_role may, users may not", async () => {
  const { sql } = project();
  const args = { transport: "supabase", queue: "default" };
  for (const role of ["anon", "authenticated"] as const) {
    await assert.rejects(asRole(sql, role, (tx) => callValue(tx, "messenger_pause", args)), { code: "42501" });
  }
  assert.equal(await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_pause", args)), true);
});
