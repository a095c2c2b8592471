// What claims and settles read of transports, queues and subscriptions is derived in one row, which is never out of
// date.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, claim, dispatch, messageOf, settle } from "../bus.ts";
import { pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ isolation: "read committed" });
Deno.test.beforeEach(() => empty(project().sql));

/** Dispatches, claims and completes a message; returns its status, or "deleted". */
async function statusAfterCompletion(transport = "supabase"): Promise<string> {
  await using sql = session(project());
  const { id } = await dispatch(sql, { transport });
  const [{ fence }] = await claim(sql, { transport });
  assert.equal((await settle(sql, [{ id, fence, outcome: "completed" }]))[0].outcome, "completed");
  return (await messageOf(sql, id))?.status ?? "deleted";
}

const putRetention = (name: string, retention: string) =>
  call(project().sql, "messenger_put_transport", { name, config: { retention } });

test("retention · applies from its change on, in every form of zero", async () => {
  assert.equal(await statusAfterCompletion(), "completed");
  for (const zero of ["0", "0 s", "00:00:00", "0 days"]) {
    await putRetention("supabase", zero);
    assert.equal(await statusAfterCompletion(), "deleted", zero);
    await putRetention("supabase", "1 day");
    assert.equal(await statusAfterCompletion(), "completed");
  }
});

test("retention · of a new transport applies, and no longer to its successor of the same name", async () => {
  const { sql } = project();
  await putRetention("brief", "0");
  assert.equal(await statusAfterCompletion("brief"), "deleted");
  await sql`delete from messenger_transports where name = 'brief'`;
  await sql`insert into messenger_transports (name, type) values ('brief', 'supabase')`;
  assert.equal(await statusAfterCompletion("brief"), "completed");
});

test("settings · two transports changed at the same time both apply", async () => {
  await using first = session(project());
  await using second = session(project());
  await putRetention("a", "1 day");
  await putRetention("b", "1 day");
  const pid = await pidOf(second);
  await first`begin`;
  await call(first, "messenger_put_transport", { name: "a", config: { retention: "0" } });
  // A plain update: an insert on conflict would derive the row twice.
  const waiting = second`update messenger_transports set config = '{"retention": "0"}' where name = 'b'`.execute();
  await untilBlocked(project().sql, pid);
  await first`commit`;
  await waiting;
  assert.deepEqual([await statusAfterCompletion("a"), await statusAfterCompletion("b")], ["deleted", "deleted"]);
});

test("settings · without the derived row the next claim and the next settle derive it", async () => {
  const { sql } = project();
  await putRetention("supabase", "0");
  const { id } = await dispatch(sql);
  await sql`delete from messenger.delivery_settings`;
  await using worker = session(project());
  const rows = await claim(worker);
  assert.deepEqual(rows.map((row) => row.id), [id]);
  await sql`delete from messenger.delivery_settings`;
  await settle(worker, [{ id, fence: rows[0].fence, outcome: "completed" }]);
  assert.equal(await messageOf(sql, id), undefined);
});
