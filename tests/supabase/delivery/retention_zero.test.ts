// Retention 0: completion deletes the message, only with the current fence, and counts it once.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { claim, dispatch, dispatchAndClaim, dispatchMany, messageOf, setClock, settle } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await project().sql`update messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
});

test("retention 0 · a completion of a lost lease is stale and deletes nothing", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await setClock(sql, "61 seconds");
  await claim(sql, { worker: "bob" });
  assert.equal((await settle(sql, [{ id, fence, outcome: "completed" }]))[0].outcome, "stale");
  assert.equal((await messageOf(sql, id)).locked_by, "bob");
});

test("retention 0 · a completion of a message that no worker holds is stale and deletes nothing", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  assert.equal((await settle(sql, [{ id, fence: 0, outcome: "completed" }]))[0].outcome, "stale");
  assert.equal((await messageOf(sql, id)).status, "pending");
});

test("retention 0 · of a mixed call only the completed message is deleted", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 5);
  const kinds = ["failed", "completed", "snoozed", "released", "completed"];
  const outcomes = (await claim(sql)).map(({ id, fence }, n) => ({ id, fence, outcome: kinds[n], error: "e" }));
  assert.deepEqual((await settle(sql, outcomes)).map(({ outcome }) => outcome), [
    "retry",
    "completed",
    "snoozed",
    "released",
    "completed",
  ]);
  const left = await sql`select id from messenger_messages where status = 'pending'`;
  assert.deepEqual(left.map(({ id }) => id).toSorted(), [ids[0], ids[2], ids[3]].toSorted());
});

test("retention 0 · deleted messages are counted once, also beside a measurement that cannot be counted", async () => {
  const { sql } = project();
  await dispatchMany(sql, 3);
  await settle(sql, (await claim(sql)).map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  await sql.unsafe(`
    insert into messenger.measurements (at, transport_name, message_type, kind, message_count)
    values (now(), 'supabase', 'Odd', 'dispatched', 1);
    create function public.no_odd() returns trigger language plpgsql as $$
    begin
      if new.message_type = 'Odd' then raise exception 'not this one'; end if;
      return new;
    end $$;
    create trigger no_odd before insert on messenger.metrics for each row execute function public.no_odd()`);
  try {
    for (let n = 0; n < 2; n++) await sql`select messenger.roll_up()`;
    const [{ pruned }] = await sql`select sum(message_count)::int as pruned from messenger.pruned`;
    assert.equal(pruned, 3);
  } finally {
    await sql.unsafe("drop function public.no_odd() cascade");
  }
});
