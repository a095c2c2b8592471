// The scheduler edge function: one call is one tick, for projects with an external ticker.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { test } from "../project.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";

const { target, project } = useTarget({ env: { SYMPHONY_WORKER_LINGER: "0" } });

test("scheduler edge function · returns 200 and the tick's figures", async () => {
  const { status, body } = await target().call("scheduler", { json: {} });
  assert.equal(status, 200);
  const names = ["dead", "expanded", "failed", "pruned", "relayed", "rescued", "woken"];
  assert.deepEqual(Object.keys(body).sort(), names);
  for (const name of names) assert.equal(typeof body[name], "number", name);
});

test("scheduler edge function · needs no body", async () => {
  assert.equal((await target().call("scheduler", { method: "POST" })).status, 200);
});

testLocally("scheduler edge function · each call is a tick", async () => {
  const ticks = async () => Number((await project().sql`select ticks from messenger.clock`)[0].ticks);
  const before = await ticks();
  for (let n = 0; n < 3; n++) await target().call("scheduler", { json: {} });
  assert.equal(await ticks(), before + 3);
});

for (
  const [what, code, json] of [
    ["a batch of 0", "SM_BATCH", { batch: 0 }],
    ["a batch as text", "SM_BATCH", { batch: "5" }],
    ["an unknown field", "SM_UNKNOWN_FIELD", { size: 5 }],
    ["an array", "SM_BODY", []],
  ] as [string, string, unknown][]
) {
  test(`scheduler edge function · rejects ${what}`, async () => {
    assertRejected(await target().call("scheduler", { json }), 400, code);
  });
}

testLocally("scheduler edge function · a tick rescues a message whose worker has ended", async () => {
  const { sql } = project();
  const [{ id }] = await sql`select id from messenger_dispatch('TestNote')`;
  await sql`select from messenger_claim('gone', types => array['TestNote'])`;
  await sql`update messenger_messages set lock_expires_at = messenger.now() - interval '1 s' where id = ${id}`;
  const { body } = await target().call("scheduler", { json: {} });
  assert.equal(body.rescued, 1);
  const [row] =
    await sql`select status, retry_count, lease_losses, error_class from messenger_messages where id = ${id}`;
  assert.deepEqual({ ...row }, { status: "pending", retry_count: 1, lease_losses: 1, error_class: "LeaseExpired" });
  assert.equal((await target().call("scheduler", { json: {} })).body.rescued, 0, "once");
});

testLocally("scheduler edge function · an external ticker wakes workers, without pg_cron", async () => {
  const { sql } = project();
  // The state after messenger_start on a database without pg_cron: the URL and the secret, no job.
  await sql`select messenger_start(${`${target().url}/functions/v1`})`;
  await sql`select messenger_stop()`;
  // Not due yet, so the dispatch itself sends no wake-up.
  const [{ id }] = await sql`select id from messenger_dispatch('ExampleQuick', delay => '100 milliseconds')`;
  // The worker of the previous test counts as active for a second.
  await eventually("a tick wakes", async () => (await target().call("scheduler", { json: {} })).body.woken === 1);
  await eventually("the message is handled", async () => {
    const [row] = await sql`select status from messenger_messages where id = ${id}`;
    return row.status === "completed";
  });
});
