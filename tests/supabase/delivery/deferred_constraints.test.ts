// Deferred constraints of the project: a session caches for a second that there are none, and then finds a new one.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { claim, dispatchMany, messageOf, setClock, settle } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

/** Runs the work while a deferred constraint rejects the message with number 1 in this status. */
async function withConstraint(status: string, work: () => Promise<void>): Promise<void> {
  const { sql } = project();
  await sql.unsafe(`
    create function public.not_one() returns trigger language plpgsql as $$
    begin
      if new.body ->> 'n' = '1' then raise exception 'not this one, at the end'; end if;
      return null;
    end $$;
    create constraint trigger not_one after update on messenger_messages deferrable initially deferred
      for each row when (new.status = '${status}') execute function public.not_one()`);
  try {
    await work();
  } finally {
    await sql.unsafe("drop function public.not_one() cascade");
  }
}

test("settle · a deferred constraint that the project adds rejects its row alone from the next second on", async () => {
  const { sql } = project();
  await using worker = session(project());
  const ids = await dispatchMany(sql, 3);
  const outcomes = (await claim(worker)).map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
  await withConstraint("completed", async () => {
    await setClock(sql, "2 seconds");
    assert.deepEqual((await settle(worker, outcomes)).map(({ outcome }) => outcome), [
      "completed",
      "error: P0001 not this one, at the end",
      "completed",
    ]);
    assert.equal((await messageOf(sql, ids[1])).status, "processing");
  });
});

test("claim · a message that a deferred constraint rejects is set aside, and the others are handed out", async () => {
  const { sql } = project();
  await using worker = session(project());
  await claim(worker);
  const ids = await dispatchMany(sql, 3);
  await withConstraint("processing", async () => {
    await setClock(sql, "2 seconds");
    assert.deepEqual((await claim(worker)).map(({ id }) => id), [ids[0], ids[2]]);
  });
});
