// Pruning by the tick: rows past their retention are deleted and counted; rows that may still be needed stay.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  messageOf,
  setClock,
  settle,
} from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const tick = (args: Record<string, unknown> = {}) => callValue(project().sql, "messenger_tick", args);
const stored = async () => (await project().sql`select from messenger_messages`).length;
const counted = async () =>
  Number((await project().sql`select coalesce(sum(message_count), 0) as sum from messenger.pruned`)[0].sum);

async function done(fields: Record<string, unknown> = {}) {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, fields);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  return id;
}

test("messages · finished ones are deleted after seven days, and are counted", async () => {
  await done();
  await setClock(project().sql, "6 days 23 hours");
  assert.equal((await tick()).pruned, 0);
  assert.deepEqual([await stored(), await counted()], [1, 0]);
  await setClock(project().sql, "7 days 1 minute");
  assert.equal((await tick()).pruned, 1);
  assert.deepEqual([await stored(), await counted()], [0, 1]);
});

test("messages · each transport has its retention", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type, config)
    values ('brief', 'supabase', '{"retention": "1 hour"}'), ('long', 'supabase', '{"retention": "90 days"}')`;
  const long = await done({ transport: "long" });
  const usual = await done();
  await done({ transport: "brief" });
  await setClock(sql, "2 hours");
  await tick();
  assert.deepEqual((await sql`select id from messenger_messages order by id`).map(({ id }) => id), [long, usual]);
  await setClock(sql, "8 days");
  await tick();
  assert.deepEqual((await sql`select id from messenger_messages`).map(({ id }) => id), [long]);
  assert.equal(await counted(), 2);
});

test("messages · of a missing transport are deleted, too", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type) values ('gone', 'supabase')`;
  await done({ transport: "gone" });
  await sql`delete from messenger_transports where name = 'gone'`;
  await setClock(sql, "8 days");
  assert.equal((await tick()).pruned, 1);
});

test("messages · the retention counts from the finish, not from the dispatch", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql);
  await setClock(sql, "20 days");
  const [{ fence }] = await claim(sql);
  await settle(sql, [{ id, fence, outcome: "completed" }]);
  assert.equal((await tick()).pruned, 0);
  await setClock(sql, "28 days");
  assert.equal((await tick()).pruned, 1);
});

test("messages · unfinished ones and open dead letters are never touched", async () => {
  const { sql } = project();
  const later = await dispatch(sql, { delay: "5 years" });
  const running = await dispatchAndClaim(sql, { queue: "run" });
  const dead = await dispatchAndClaim(sql, { queue: "dead" });
  await settle(sql, [{ id: dead.id, fence: dead.fence, outcome: "failed", error: "e", retryable: false }]);
  await setClock(sql, "400 days");
  for (let n = 0; n < 3; n++) assert.equal((await tick()).pruned, 0);
  assert.equal(await stored(), 3);
  assert.equal((await sql`select from messenger_failed_messages`).length, 1);
  assert.deepEqual([(await messageOf(sql, later.id)).status, (await messageOf(sql, running.id)).status], [
    "pending",
    "pending",
  ]);
});

test("messages · expired ones are deleted like finished ones", async () => {
  const { sql } = project();
  await dispatch(sql, { expires_at: new Date(Date.now() + 1000) });
  await setClock(sql, "1 hour");
  assert.equal((await tick()).failed, 1);
  await setClock(sql, "8 days");
  assert.equal((await tick()).pruned, 1);
});

test("dead letters · resolved ones are deleted after thirty days or the transport's own time", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type, config)
    values ('brief', 'supabase', '{"failed_retention": "1 day"}')`;
  for (const transport of ["supabase", "brief"]) {
    const { id, fence } = await dispatchAndClaim(sql, { transport });
    await settle(sql, [{ id, fence, outcome: "failed", error: "e", retryable: false }]);
  }
  await sql`update messenger_failed_messages set resolved_at = messenger.now(), resolution = 'discarded'`;
  const deadLetters = async () =>
    (await sql`select transport_name from messenger_failed_messages`).map((row) => row.transport_name);
  await setClock(sql, "2 days");
  await tick();
  assert.deepEqual(await deadLetters(), ["supabase"]);
  await setClock(sql, "29 days");
  await tick();
  assert.deepEqual([await deadLetters(), await stored()], [["supabase"], 0]);
  await setClock(sql, "31 days");
  await tick();
  assert.deepEqual(await deadLetters(), []);
});

test("dead letters · the thirty days count from the resolution, not from the failure", async () => {
  const { sql } = project();
  // The shortest time of all transports limits the search for dead letters, so it finds those of the others too early.
  await sql`insert into messenger_transports (name, type, config)
    values ('brief', 'supabase', '{"failed_retention": "1 day"}')`;
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e", retryable: false }]);
  await setClock(sql, "100 days");
  await sql`update messenger_failed_messages set resolved_at = messenger.now(), resolution = 'discarded'`;
  const deadLetters = async () => (await sql`select from messenger_failed_messages`).length;
  await setClock(sql, "129 days");
  await tick();
  assert.equal(await deadLetters(), 1);
  await setClock(sql, "131 days");
  await tick();
  assert.equal(await deadLetters(), 0);
});

test("attempts · are deleted with their message", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e", delay_ms: 0 }]);
  const [second] = await claim(sql);
  await settle(sql, [{ id, fence: second.fence, outcome: "completed" }]);
  assert.equal((await sql`select from messenger.attempts`).length, 1);
  await setClock(sql, "8 days");
  await tick();
  assert.equal((await sql`select from messenger.attempts`).length, 0);
});

test("messages · more than a chunk that must stay do not hide one to delete", async () => {
  const { sql } = project();
  for (let n = 0; n < 2; n++) await dispatchMany(sql, 1000, { delay: "5 years" });
  await done();
  await setClock(sql, "8 days");
  let pruned = 0;
  for (let n = 0; n < 3; n++) pruned += (await tick({ batch: 10 })).pruned;
  assert.deepEqual([pruned, await stored()], [1, 2000]);
});

/** Ends a scan that has visited 2,000 delayed messages and could not delete a locked one; its pause lasts 20 s. */
async function pauseScans() {
  const { sql } = project();
  for (let n = 0; n < 2; n++) await dispatchMany(sql, 1000, { delay: "5 years" });
  const id = await done();
  await setClock(sql, "8 days");
  await using other = session(project());
  await other`begin`;
  await other`select from messenger_messages where id = ${id} for update`;
  await tick({ batch: 1 });
  await other`rollback`;
}

test("messages · that must stay are not visited by every tick: after many of them the next scan waits", async () => {
  await pauseScans();
  assert.equal((await tick({ batch: 1 })).pruned, 0);
  await setClock(project().sql, "8 days 1 minute");
  assert.equal((await tick({ batch: 1 })).pruned, 1);
});

test("messages · after the clock was set back the next scan does not wait for the former time", async () => {
  await pauseScans();
  await setClock(project().sql, "7 days 12 hours");
  assert.equal((await tick({ batch: 1 })).pruned, 1);
});

test("messages · a scan of thousands ends with none left, all of them counted", async () => {
  const { sql } = project();
  await dispatchMany(sql, 1000);
  await dispatchMany(sql, 500);
  for (let n = 0; n < 2; n++) {
    const rows = await claim(sql, { batch: 1000 });
    await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  }
  await setClock(sql, "8 days");
  let pruned = 0;
  for (let n = 0; n < 4; n++) pruned += (await tick()).pruned;
  assert.deepEqual([pruned, await stored(), await counted()], [1500, 0, 1500]);
});

test("keys · expired ones are deleted; those of unfinished messages and running windows stay", async () => {
  const { sql } = project();
  await dispatch(sql, { idempotency_key: "waiting", delay: "5 years" });
  const dead = await dispatchAndClaim(sql, { idempotency_key: "dead" });
  await settle(sql, [{ id: dead.id, fence: dead.fence, outcome: "failed", error: "e", retryable: false }]);
  await done({ idempotency_key: "long", idempotency_window: "100 days" });
  await done({ idempotency_key: "spent" });
  const keys = async () => (await sql`select key from messenger.idempotency_keys order by key`).map(({ key }) => key);
  await setClock(sql, "23 hours");
  await tick();
  assert.deepEqual(await keys(), ["dead", "long", "spent", "waiting"]);
  await setClock(sql, "30 days");
  await tick();
  assert.deepEqual(await keys(), ["dead", "long", "waiting"]);
  assert.equal(await stored(), 2);
  await setClock(sql, "101 days");
  await tick();
  assert.deepEqual(await keys(), ["dead", "waiting"]);
});

test("keys · more than a chunk of expired ones that must stay do not hide those to delete", async () => {
  const { sql } = project();
  const messages = (prefix: string, fields: Record<string, unknown>) =>
    Array.from({ length: 250 }, (_, n) => ({ type: "Greeting", idempotency_key: `${prefix}${n}`, ...fields }));
  await call(sql, "messenger_dispatch_batch", { messages: messages("waiting", { delay: "5 years" }) });
  await call(sql, "messenger_dispatch_batch", { messages: messages("spent", { queue: "spent" }) });
  const rows = await claim(sql, { batch: 1000, queues: ["spent"] });
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  await setClock(sql, "25 hours");
  for (let n = 0; n < 3; n++) await tick({ batch: 100 });
  const left = await sql`select distinct left(key, 5) as kind from messenger.idempotency_keys`;
  assert.deepEqual(left.map(({ kind }) => kind), ["waiti"]);
});

test("keys · one that is taken over while it is being pruned stays, even with a window of zero", async () => {
  const { sql } = project();
  const key = { idempotency_key: "k", idempotency_window: "0" };
  await done(key);
  await setClock(sql, "1 minute");
  await using producer = session(project());
  await producer`begin`;
  const { id } = await dispatch(producer, key);
  await tick();
  await producer`commit`;
  await tick();
  assert.equal((await sql`select message_id from messenger.idempotency_keys`)[0].message_id, id);
});

test("backlog · of messages, dead letters and keys is pruned chunk by chunk, while there is time", async () => {
  const { sql } = project();
  for (let n = 0; n < 3; n++) {
    const ids = await dispatchMany(sql, 1000);
    const rows = await claim(sql, { batch: 1000 });
    const failed = { outcome: "failed", error: "e", retryable: false };
    await settle(
      sql,
      rows.map(({ id, fence }, at) => ({ id, fence, ...(at < 100 ? failed : { outcome: "completed" }) })),
    );
    await sql`
      insert into messenger.idempotency_keys (scope, key, message_id, message_type, fingerprint, transport_name,
        queue_name, expires_at)
      select 'service', id::text, id, 'Greeting', '', 'supabase', 'default', messenger.now() from unnest(${
      ids.slice(0, 100)
    }::uuid[]) id`;
  }
  await call(sql, "messenger_discard_failed", { filter: {} });
  await setClock(sql, "31 days");
  const sizes = async () =>
    (await sql`
      select (select count(*)::int from messenger_messages) as messages,
        (select count(*)::int from messenger_failed_messages) as dead_letters,
        (select count(*)::int from messenger.idempotency_keys) as keys`)[0];
  let ticks = 0;
  do await tick({ batch: 100 }); while (Object.values(await sizes()).some((size) => size > 0) && ++ticks < 30);
  assert.deepEqual({ ...await sizes() }, { messages: 0, dead_letters: 0, keys: 0 });
});

test("counts · are rolled up without losing any", async () => {
  const { sql } = project();
  await sql`insert into messenger.pruned (transport_name, message_count) select 't' || n % 3, n
    from generate_series(1, 150) n`;
  await tick();
  assert.equal((await sql`select from messenger.pruned`).length, 3);
  assert.equal(await counted(), 150 * 151 / 2);
});

test("workers · without a poll for an hour are deleted", async () => {
  const { sql } = project();
  await claim(sql, { worker: "old" });
  await setClock(sql, "61 minutes");
  await claim(sql, { worker: "new" });
  await tick();
  assert.deepEqual((await sql`select worker from messenger.workers`).map(({ worker }) => worker), ["new"]);
});
