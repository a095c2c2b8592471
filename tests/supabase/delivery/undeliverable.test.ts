// Messages that cannot be handed out, in any number, before a runnable one: a claim skips them with bounded work.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { claim, dispatch, dispatchMany, settle } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const LEASE = "message_type, status, fence, locked_at, locked_by, lock_expires_at, retry_count, " +
  "cancel_requested_at, created_at, available_at";
const lease = (ends: string, retries: number, cancelled = "null") =>
  `'Greeting', 'processing', 4, messenger.now() - interval '1 hour', 'w', messenger.now() ${ends}, ${retries},
    ${cancelled}`;

/** Messages that cannot be handed out to a worker for the type Greeting: columns of their rows, and the values. */
const KINDS: Record<string, [columns: string, values: string]> = {
  "held by other workers": [LEASE, lease("+ interval '1 hour'", 0)],
  "without retries left, the lease of their last delivery expired": [LEASE, lease("- interval '1 minute'", 3)],
  "cancelled, their lease expired": [LEASE, lease("- interval '1 minute'", 0, "messenger.now()")],
  "expired while they waited": [
    "message_type, expires_at, created_at, available_at",
    "'Greeting', messenger.now() - interval '1 minute'",
  ],
  "of other types": ["message_type, created_at, available_at", "'Other'"],
};

/** Stores the given number of messages that precede all others of the queue. */
async function fill(kind: string, count: number) {
  const [columns, values] = KINDS[kind];
  await project().sql.unsafe(`
    insert into messenger_messages (${columns})
    select ${values}, messenger.now() - interval '2 hours', messenger.now() - interval '1 hour'
      from generate_series(1, ${count})`);
}

/** A new worker, whose calls are cancelled after a second. */
async function freshWorker(): Promise<Sql & AsyncDisposable> {
  const sql = session(project());
  await sql`set statement_timeout = '1 s'`;
  return sql;
}

/** The message that each of the given number of new workers gets from a claim of one. */
async function claimOneEach(workers: number): Promise<string[]> {
  const taken = [];
  for (let n = 0; n < workers; n++) {
    await using worker = await freshWorker();
    taken.push(...await claim(worker, { batch: 1, types: ["Greeting"] }));
  }
  return taken.map(({ id }) => id);
}

const finished = async () =>
  (await project().sql`select count(*)::int as n from messenger_messages where processed_at is not null`)[0].n;

for (const kind of Object.keys(KINDS)) {
  test(`undeliverable · behind 5,000 messages ${kind}, each new worker gets a runnable one`, async () => {
    await fill(kind, 5_000);
    const ids = await dispatchMany(project().sql, 3);
    assert.deepEqual(await claimOneEach(2), ids.slice(0, 2));
    const before = await finished();
    await using worker = await freshWorker();
    const rows = await claim(worker, { batch: 1000, types: ["Greeting"] });
    assert.deepEqual(rows.map(({ id }) => id), ids.slice(2));
    assert(await finished() - before <= 100, "a claim finishes a hundred at most, the others are left to the tick");
  });
}

test("undeliverable · behind 50,000 of all kinds and 5,000 that another transaction has locked", async () => {
  const { sql } = project();
  for (const kind of Object.keys(KINDS)) await fill(kind, 10_000);
  await dispatchMany(sql, 1000);
  await sql`vacuum analyze messenger_messages`;
  await using other = session(project());
  await other`begin`;
  await other`select count(*) from (select from messenger_messages where status = 'pending' limit 5000 for update) x`;
  await other`select count(*)
    from (select from messenger_messages where message_type = 'Greeting' and expires_at is null for update) x`;
  const ids = await dispatchMany(sql, 3);
  assert.deepEqual(await claimOneEach(3), ids);
  await other`rollback`;
});

test("undeliverable · a worker that continues gets every runnable message, in every priority", async () => {
  const { sql } = project();
  await fill("without retries left, the lease of their last delivery expired", 20_000);
  await fill("of other types", 20_000);
  await sql`update messenger_messages set priority = 1 + (hashtext(id::text) & 7)`;
  const ids = [];
  for (let priority = 1; priority <= 9; priority++) ids.push((await dispatch(sql, { priority })).id);
  await using worker = await freshWorker();
  const seen: string[] = [];
  for (let n = 0; n < 20 && seen.length < ids.length; n++) {
    const rows = await claim(worker, { batch: 2, types: ["Greeting"] });
    seen.push(...rows.map(({ id }) => id));
    await settle(worker, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  }
  assert.deepEqual(seen, ids.toReversed());
});
