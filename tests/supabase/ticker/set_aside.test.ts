// Rows that a tick cannot write, because the project rejects it or a value does not fit: they are set aside, and
// everything else continues.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  messageOf,
  type Row,
  setClock,
  settle,
} from "../bus.ts";
import { makeForbidTrigger, setAside, unlimitStepTime, withForbiddenWrites } from "./set_aside.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(async () => {
  const { sql } = project();
  await limitLockWaits(sql);
  await makeForbidTrigger(sql);
  await unlimitStepTime(sql);
});
Deno.test.beforeEach(() => empty(project().sql));

const tick = (sql = project().sql) => callValue(sql, "messenger_tick");
const check = async (): Promise<Row> =>
  (await callValue(project().sql, "messenger_health")).checks.find((check: Row) => check.name === "set_aside");
const aside = () => setAside(project().sql);

/** Ticks until nothing is left to do by this count. */
async function tickUntil(left: () => Promise<number>, wanted: number): Promise<void> {
  for (let n = 0; n < 30 && await left() > wanted; n++) await tick();
  assert.equal(await left(), wanted);
}

async function finished(count: number, fields: Record<string, unknown> = {}): Promise<string[]> {
  const { sql } = project();
  const ids = await dispatchMany(sql, count, fields);
  const rows = await claim(sql, { batch: 1000 });
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  return ids;
}

const stored = async () => (await project().sql`select from messenger_messages`).length;

/** Lets a table of the project refer to messages during the work, and passes it a session of the project. */
async function withOrders(reference: string, work: (shop: Sql) => Promise<void>): Promise<void> {
  const { sql } = project();
  await sql.unsafe(`create table public.orders (message_id uuid references public.messenger_messages ${reference})`);
  try {
    await using shop = session(project());
    await work(shop);
  } finally {
    await sql`drop table public.orders`;
  }
}

test("foreign key · a message that a project's table refers to stays, a thousand others are pruned", async () => {
  const { sql } = project();
  const ids = await finished(1000);
  const kept = ids[617];
  await withOrders("", async () => {
    await sql`insert into public.orders values (${kept})`;
    await setClock(sql, "8 days");
    await tickUntil(stored, 1);
    assert.equal((await messageOf(sql, kept)).status, "completed");
    const [row, ...others] = await aside();
    assert.deepEqual([others.length, row.step, row.object, row.key.id, row.attempts], [
      0,
      "prune_messages",
      "public.messenger_messages",
      kept,
      1,
    ]);
    assert.match(row.error, /foreign key constraint .* on table "orders"/);
    const { status, detail, remedy } = await check();
    assert.equal(status, "degraded");
    assert.match(detail, /^1 rows could not be written .*prune_messages.*"orders"/);
    assert.match(remedy, /retry_at/);
    assert.equal((await sql`select sum(message_count)::int as sum from messenger.pruned`)[0].sum, 999);

    await tick();
    assert.equal((await aside())[0].attempts, 1, "not retried at once");
    await setClock(sql, "8 days 2 minutes");
    await tick();
    assert.equal((await aside())[0].attempts, 2);
    const [{ wait }] = await sql`select retry_at - at = interval '2 minutes' as wait from messenger.set_aside`;
    assert.ok(wait, "each wait is twice as long");
    await sql`delete from public.orders`;
    await setClock(sql, "8 days 5 minutes");
    await tick();
    assert.deepEqual([await stored(), await aside()], [0, []]);
    assert.equal((await check()).status, "healthy");
  });
});

test("foreign key · a deferred one, and one whose row is being inserted, do not affect other messages", async () => {
  const { sql } = project();
  const ids = await finished(30);
  await withOrders("deferrable initially deferred", async (shop) => {
    await sql`insert into public.orders values (${ids[3]})`;
    await shop`begin`;
    await shop`set constraints all immediate`;
    await shop`insert into public.orders values (${ids[7]})`;
    await setClock(sql, "8 days");
    await tickUntil(stored, 2);
    assert.deepEqual((await aside()).map(({ key }) => key.id), [ids[3]], "locked rows are skipped");
    await shop`rollback`;
    await tick();
    assert.equal(await stored(), 1);
  });
});

test("foreign key · a locked row of the project that refers to a message is not waited for", async () => {
  const { sql } = project();
  const ids = await finished(30);
  await withOrders("on delete set null", async (shop) => {
    await sql`insert into public.orders values (${ids[3]})`;
    await shop`begin`;
    await shop`select from public.orders for update`;
    await setClock(sql, "8 days");
    await tickUntil(stored, 1);
    assert.equal((await check()).status, "healthy", "a lock is no fault of the row");
    await shop`rollback`;
    await setClock(sql, "8 days 2 minutes");
    await tick();
    assert.deepEqual([await stored(), await aside()], [0, []]);
  });
});

test("trigger · a dead letter, a key and an occurrence that cannot be deleted stay, others do not", async () => {
  const { sql } = project();
  const dead = await dispatchMany(sql, 20, { max_retries: 0 });
  const rows = await claim(sql, { batch: 20 });
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "failed", error: "e" })));
  await call(sql, "messenger_discard_failed", { filter: {} });
  await sql`
    insert into messenger.idempotency_keys (scope, key, message_id, message_type, fingerprint, transport_name,
      queue_name, expires_at)
    select 'service', 'key ' || n, gen_random_uuid(), 'Greeting', '', 'supabase', 'default', messenger.now()
      from generate_series(1, 20) n`;
  await sql`insert into messenger.occurrences select gen_random_uuid(), messenger.now() - n * interval '1 hour',
    gen_random_uuid() from generate_series(1, 20) n`;
  const [{ kept }] = await sql`select message_id as kept from messenger.occurrences limit 1`;
  await setClock(sql, "31 days");
  const left = async () =>
    (await sql`select ((select count(*) from messenger_failed_messages) + (select count(*)
      from messenger.idempotency_keys)
      + (select count(*) from messenger.occurrences))::int as left`)[0].left;
  await withForbiddenWrites(
    project().sql,
    "delete",
    "messenger_failed_messages",
    "message_id",
    dead[4],
    () =>
      withForbiddenWrites(
        project().sql,
        "delete",
        "messenger.idempotency_keys",
        "key",
        "key 9",
        () =>
          withForbiddenWrites(project().sql, "delete", "messenger.occurrences", "message_id", kept, async () => {
            await tickUntil(left, 3);
            const steps = (await aside()).map(({ step }) => step).sort();
            assert.deepEqual(steps, ["prune_dead_letters", "prune_keys", "prune_occurrences"]);
            assert.equal((await check()).figures.rows, 3);
          }),
      ),
  );
  await setClock(sql, "31 days 2 minutes");
  await tick();
  assert.deepEqual([await left(), await aside()], [0, []]);
});

test("trigger · a lost message that cannot be updated does not block the rescue of others", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 200);
  await claim(sql, { batch: 200 });
  await setClock(sql, "61 seconds");
  await withForbiddenWrites(project().sql, "update", "messenger_messages", "id", ids[150], async () => {
    let rescued = 0;
    for (let n = 0; n < 5; n++) rescued += (await tick()).rescued;
    assert.equal(rescued, 199);
    assert.deepEqual((await aside()).map(({ step, key }) => [step, key.id]), [["rescue", ids[150]]]);
    assert.equal((await messageOf(sql, ids[150])).status, "processing");
  });
  await setClock(sql, "3 minutes");
  assert.equal((await tick()).rescued, 1);
  assert.deepEqual(await aside(), []);
  assert.equal(
    (await sql`select max(retry_count)::int as most from messenger_messages`)[0].most,
    1,
    "none was counted twice",
  );
});

test("trigger · a deferred one that rejects one update affects this message alone, within a tick", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 5);
  await claim(sql);
  await setClock(sql, "61 seconds");
  await sql.unsafe(`
    create constraint trigger forbid after update on messenger_messages deferrable initially deferred
    for each row execute function public.forbid('id', '${ids[3]}')`);
  try {
    const { rescued, errors } = await tick();
    assert.deepEqual([rescued, errors], [4, undefined]);
    assert.deepEqual((await aside()).map(({ step, key }) => [step, key.id]), [["rescue", ids[3]]]);
    assert.equal((await messageOf(sql, ids[3])).status, "processing");
  } finally {
    await sql`drop trigger forbid on messenger_messages`;
  }
});

test("ordering key · one whose first message cannot be updated blocks no other key", async () => {
  const { sql } = project();
  const ids = [];
  for (const key of ["a", "b", "c"]) ids.push((await dispatch(sql, { ordering_key: key })).id);
  await sql`update messenger_messages set available_at = 'infinity'`;
  await withForbiddenWrites(project().sql, "update", "messenger_messages", "ordering_key", "b", async () => {
    for (let n = 0; n < 3; n++) await tick();
    const rows = await sql`select ordering_key, available_at = 'infinity' as waits from messenger_messages order by 1`;
    assert.deepEqual(rows.map(({ waits }) => waits), [false, true, false]);
    assert.deepEqual((await aside()).map(({ step, key }) => [step, key.ordering_key]), [["unblock", "b"]]);
  });
  await setClock(sql, "2 minutes");
  await tick();
  assert.equal((await sql`select from messenger_messages where available_at = 'infinity'`).length, 0);
});

test("replay · one that cannot be updated does not block the others", async () => {
  const { sql } = project();
  for (const type of ["First", "Second"]) {
    const { id, fence } = await dispatchAndClaim(sql, { type });
    await settle(sql, [{ id, fence, outcome: "failed", error: "e", retryable: false }]);
    await call(sql, "messenger_retry_failed", { filter: { type }, per_second: 1 });
    const [again] = await claim(sql);
    await settle(sql, [{ id, fence: again.fence, outcome: "completed" }]);
  }
  const [first] = await sql`select id from messenger.replays order by id`;
  await withForbiddenWrites(project().sql, "update", "messenger.replays", "id", first.id, async () => {
    await setClock(sql, "1 minute");
    await tick();
    const rows = await sql`select completed from messenger.replays order by id`;
    assert.deepEqual(rows.map(({ completed }) => completed), [0, 1]);
    assert.deepEqual((await aside()).map(({ step }) => step), ["replays"]);
  });
});

test("retry · a row that is gone, or need not be written any more, is dropped from the record", async () => {
  const { sql } = project();
  const [gone, kept] = await dispatchMany(sql, 2);
  await sql`
    insert into messenger.set_aside (step, object, row_id, error, sqlstate, at, retry_at)
    select 'prune_messages', 'public.messenger_messages', jsonb_build_object('id', id), 'e', 'P0001', messenger.now(),
      messenger.now()
    from unnest(${[gone, kept]}::uuid[]) id`;
  await sql`delete from messenger_messages where id = ${gone}`;
  await setClock(sql, "1 minute");
  await tick();
  assert.deepEqual((await aside()).map(({ key }) => key.id), [kept]);
  await setClock(sql, "2 hours");
  await tick();
  assert.deepEqual(await aside(), []);
});

test("full disk · an error that no row has caused fails the step, and no row is set aside", async () => {
  const { sql } = project();
  await finished(20);
  await setClock(sql, "8 days");
  await sql.unsafe(`
    create function public.no_space() returns trigger
      language plpgsql as $$ begin raise sqlstate '53100' using message = 'no space left'; end $$;
    create trigger no_space before delete on messenger_messages for each row execute function public.no_space()`);
  try {
    assert.deepEqual((await tick()).errors, { prune_messages: "no space left" });
    assert.deepEqual(await aside(), []);
  } finally {
    await sql.unsafe("drop trigger no_space on messenger_messages; drop function public.no_space()");
  }
});
