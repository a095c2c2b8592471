// A message whose row the project forbids to write affects only itself: the others of its batch are recorded and handed
// out.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, callValue, claim, dispatch, dispatchMany, messageOf, settle } from "../bus.ts";
import { makeForbidTrigger, setAside, withForbiddenWrites } from "../ticker/set_aside.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(async () => {
  await makeForbidTrigger(project().sql);
  // The time limit of calls is short for a busy machine.
  await project()
    .sql`select set_config(name, '1 minute', false)
      from unnest(array['messenger.settle_budget', 'messenger.claim_budget']) name`;
});
Deno.test.beforeEach(() => empty(project().sql));

const forbidUpdate = (id: string, work: () => Promise<void>) =>
  withForbiddenWrites(project().sql, "update", "messenger_messages", "id", id, work);

const NOT_ALLOWED = "error: P0001 the project keeps this one";

test("settle · of two hundred outcomes with three unwritable rows the others are recorded", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 200);
  const outcomes = (await claim(sql, { batch: 200 })).map(({ id, fence }, n) => ({
    id,
    fence,
    outcome: n % 2 === 0 ? "completed" : "failed",
    error: "e",
    result: { n },
  }));
  const bad = [ids[0], ids[100], ids[199]];
  const replies = await sql.begin(async (tx) => {
    for (const id of bad) {
      await tx.unsafe(`create trigger "forbid ${id}" before update on messenger_messages
        for each row execute function public.forbid('id', '${id}')`);
    }
    const replies = await settle(tx, outcomes);
    for (const id of bad) await tx.unsafe(`drop trigger "forbid ${id}" on messenger_messages`);
    return replies;
  });
  assert.deepEqual(replies.map(({ id }) => id), ids);
  assert.deepEqual(replies.filter(({ id }) => bad.includes(id)).map(({ outcome }) => outcome), [
    NOT_ALLOWED,
    NOT_ALLOWED,
    NOT_ALLOWED,
  ]);
  assert.equal(replies.filter(({ outcome }) => outcome === "completed").length, 98);
  assert.equal(replies.filter(({ outcome }) => outcome === "retry").length, 99);
  assert.deepEqual((await messageOf(sql, ids[2])).result, { n: 2 }, "each got its own result");
  const again = await settle(sql, outcomes);
  assert.deepEqual(again.filter(({ id }) => bad.includes(id)).map(({ outcome }) => outcome), [
    "completed",
    "completed",
    "retry",
  ]);
});

test("exchange · outcomes stay recorded if a message to be claimed cannot be written", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 3);
  const rows = await claim(sql, { batch: 1 });
  await forbidUpdate(ids[1], async () => {
    const outcomes = rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
    const [{ messenger_exchange: reply }] = await call(sql, "messenger_exchange", { outcomes, worker: "ada" });
    assert.equal(reply.settled[0].outcome, "completed");
    assert.deepEqual(reply.claimed.map(({ id }: { id: string }) => id), [ids[2]]);
  });
});

test("heartbeat · the other leases are extended, and the one that cannot be is still held", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 3);
  const leases = (await claim(sql)).map(({ id, fence }) => ({ id, fence }));
  await forbidUpdate(ids[1], async () => {
    const beats = await call(sql, "messenger_heartbeat", { leases });
    assert.deepEqual(beats.map(({ outcome }) => outcome), ["extended", NOT_ALLOWED, "extended"]);
  });
});

test("claim · a message at the head of its queue that cannot be claimed is set aside, and claimed later", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 5);
  await forbidUpdate(ids[0], async () => {
    for (const expected of ids.slice(1)) {
      assert.deepEqual((await claim(sql, { batch: 1 })).map(({ id }) => id), [expected]);
    }
    assert.deepEqual(await claim(sql), []);
  });
  assert.deepEqual((await setAside(sql)).map(({ step, key, error }) => [step, key, error]), [
    ["claim", { id: ids[0] }, "the project keeps this one"],
  ]);
  const { checks } = await callValue(sql, "messenger_health");
  assert.notEqual(checks.find(({ name }: { name: string }) => name === "set_aside")?.status, "ok");
  await using other = session(project());
  assert.deepEqual((await claim(other)).map(({ id }) => id), [ids[0]]);
});

test("claim · a message that is set aside is not attempted by the next claims of the session", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 4);
  await sql.unsafe(`
    create sequence public.attempts_made;
    create function public.reject_first() returns trigger language plpgsql as $$
    begin
      perform nextval('public.attempts_made');
      raise exception 'the project keeps this one';
    end $$;
    create trigger reject_first before update on messenger_messages
      for each row when (old.id = '${ids[0]}') execute function public.reject_first()`);
  try {
    await using worker = session(project());
    const made = async () => (await sql`select last_value from public.attempts_made`)[0].last_value;
    assert.deepEqual((await claim(worker, { batch: 1 })).map(({ id }) => id), [ids[1]]);
    const before = await made();
    for (const id of ids.slice(2)) assert.deepEqual((await claim(worker, { batch: 1 })).map((row) => row.id), [id]);
    assert.equal(await made(), before);
  } finally {
    await sql.unsafe("drop function public.reject_first() cascade; drop sequence public.attempts_made");
  }
});

test("claim · an expired message that cannot be finished does not block the ones behind it", async () => {
  const { sql } = project();
  const { id: expired } = await dispatch(sql, { expires_at: new Date(Date.now() + 30_000) });
  await sql`select messenger.set_clock('1 minute')`;
  const { id } = await dispatch(sql);
  await forbidUpdate(expired, async () => {
    assert.deepEqual((await claim(sql)).map((row) => row.id), [id]);
  });
});

test("deferred constraints · fail with their own row and not with the whole transaction", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create function public.no_odd() returns trigger language plpgsql as $$
    begin
      if new.body ->> 'n' = '1' then raise exception 'not this one, at the end'; end if;
      return null;
    end $$;
    create constraint trigger no_odd after update on messenger_messages deferrable initially deferred
      for each row when (new.status = 'completed') execute function public.no_odd()`);
  try {
    await using worker = session(project());
    const ids = await dispatchMany(worker, 3);
    const outcomes = (await claim(worker)).map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
    const replies = await settle(worker, outcomes);
    assert.deepEqual(replies.map(({ outcome }) => outcome), [
      "completed",
      "error: P0001 not this one, at the end",
      "completed",
    ]);
    assert.deepEqual([(await messageOf(sql, ids[0])).status, (await messageOf(sql, ids[1])).status], [
      "completed",
      "processing",
    ]);
  } finally {
    await sql.unsafe("drop function public.no_odd() cascade");
  }
});

test("deferred constraints · of the caller's own tables stay deferred until the transaction ends", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create table public.parents (id int primary key);
    create table public.children (id int primary key references public.parents deferrable initially deferred);
    create table public.watched (id uuid references messenger_messages deferrable initially deferred)`);
  try {
    const { id } = await dispatch(sql);
    const [{ fence }] = await claim(sql);
    await sql.begin(async (tx) => {
      await tx`insert into public.children values (1)`;
      assert.deepEqual(
        await settle(tx, [{ id, fence, outcome: "completed" }]).then(([row]) => row.outcome),
        "completed",
      );
      await tx`insert into public.parents values (1)`;
    });
  } finally {
    await sql.unsafe("drop table public.watched, public.children, public.parents");
  }
});

test("triggers · one that waits for a lock delays its own row only, and for less than half a second", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create table public.counters (n int primary key, total int);
    insert into public.counters select n, 0 from generate_series(1, 3) n;
    create function public.count_up() returns trigger language plpgsql as $$
    begin
      update public.counters set total = total + 1 where n = (new.body ->> 'n')::int;
      return new;
    end $$;
    create trigger count_up before update on messenger_messages for each row when (new.status = 'completed')
      execute function public.count_up()`);
  try {
    await using other = session(project());
    await dispatchMany(sql, 3);
    const outcomes = (await claim(sql)).map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
    await other`begin`;
    await other`select from public.counters where n = 1 for update`;
    await sql`set statement_timeout = '3 s'`;
    assert.deepEqual((await settle(sql, outcomes)).map(({ outcome }) => outcome), ["completed", "locked", "completed"]);
    await other`rollback`;
    assert.deepEqual((await settle(sql, outcomes)).map(({ outcome }) => outcome), ["already", "completed", "already"]);
  } finally {
    await sql`reset statement_timeout`;
    await sql.unsafe(
      "drop trigger count_up on messenger_messages; drop function public.count_up(); drop table public.counters",
    );
  }
});

test("retention 0 · a message that the project forbids to delete is completed and kept", async () => {
  const { sql } = project();
  await sql`update messenger_transports set config = '{"retention": "0 s"}' where name = 'supabase'`;
  const ids = await dispatchMany(sql, 3);
  const outcomes = (await claim(sql)).map(({ id, fence }) => ({ id, fence, outcome: "completed" }));
  await withForbiddenWrites(sql, "delete", "messenger_messages", "id", ids[1], async () => {
    assert.deepEqual((await settle(sql, outcomes)).map(({ outcome }) => outcome), [
      "completed",
      "completed",
      "completed",
    ]);
    assert.equal((await messageOf(sql, ids[1])).status, "completed");
  });
});
