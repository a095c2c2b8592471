// Expansion: an occurrence becomes one message; errors delay one schedule and no other; a clock set back fires nothing
// twice.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, callValue, claim, settle } from "../bus.ts";
import { firedRuns, moveTo, schedule, scheduleOf, tickAt } from "./schedule_clock.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await moveTo(project().sql, "2027-03-01T12:00:00.5Z");
});
Deno.test.afterEach(async () => {
  const broken = await project().sql`select invariant from messenger_audit() where violations > 0`;
  assert.deepEqual([...broken], []);
});

const minutely = { cron: "* * * * *" };

test("expand · the message has type, payload and headers, and the ledger names it", async () => {
  const { sql } = project();
  const { id } = await schedule(sql, "m", minutely, {
    payload: { n: 1 },
    queue_name: "reports",
    headers: { "x-team": "blue" },
  });
  assert.equal(await tickAt(sql, "2027-03-01T12:01:00Z"), 1);
  const [message] = await sql`select * from messenger_messages`;
  assert.deepEqual([message.message_type, message.body, message.queue_name, message.status, message.created_by], [
    "Greeting",
    { n: 1 },
    "reports",
    "pending",
    null,
  ]);
  assert.deepEqual(message.headers, {
    "x-team": "blue",
    "x-schedule": "m",
    "x-scheduled-for": "2027-03-01T12:01:00.000Z",
  });
  assert.equal(message.scheduled_at.toISOString(), "2027-03-01T12:01:00.000Z");
  assert.deepEqual([...await sql`select * from messenger.occurrences`], [
    { schedule_id: id, due_at: new Date("2027-03-01T12:01:00Z"), message_id: message.id },
  ]);
  const row = await scheduleOf(sql, "m");
  assert.deepEqual([row.run_count, row.last_run_at.toISOString(), row.next_run_at.toISOString(), row.last_error], [
    "1",
    "2027-03-01T12:01:00.000Z",
    "2027-03-01T12:02:00.000Z",
    null,
  ]);
});

test("expand · an interval of a second fires each second, at its own milliseconds", async () => {
  const { sql } = project();
  const { created_at } = await schedule(sql, "s", { interval: 1000 });
  const moments = [1, 2, 3, 4, 5].map((n) => new Date(created_at.getTime() + n * 1000));
  for (const moment of moments) assert.equal(await tickAt(sql, moment), 1);
  assert.deepEqual(await firedRuns(sql, "s"), moments.map((moment) => moment.toISOString()));
});

test("max_runs · counts messages, not minutes", async () => {
  const { sql } = project();
  await schedule(sql, "m", minutely, { max_runs: 2 });
  await schedule(sql, "all", minutely, { max_runs: 3, misfire: "catch_up" });
  for (const minute of ["10:00", "11:00", "12:00"]) await tickAt(sql, `2027-03-01T12:${minute}Z`);
  assert.deepEqual(await firedRuns(sql, "m"), ["2027-03-01T12:10:00.000Z", "2027-03-01T12:11:00.000Z"]);
  assert.deepEqual((await firedRuns(sql, "all")).length, 3);
  for (const name of ["m", "all"]) {
    const row = await scheduleOf(sql, name);
    assert.deepEqual([row.enabled, row.next_run_at], [false, null]);
  }
});

test("jitter · delays the message, not the occurrence, by the same time for the same occurrence", async () => {
  const { sql } = project();
  const row = await schedule(sql, "m", minutely, { jitter_ms: 50_000, misfire: "catch_up" });
  await tickAt(sql, "2027-03-01T12:20:00.9Z");
  const rows = await sql`
    select headers ->> 'x-scheduled-for' as due, extract(epoch from scheduled_at) * 1000 as at from messenger_messages
      order by due`;
  const delays = rows.map(({ due, at }) => Number(at) - Date.parse(due));
  assert.equal(rows.length, 20);
  assert.ok(delays.every((delay) => delay >= 0 && delay <= 50_000), `${delays}`);
  assert.ok(new Set(delays).size > 15);
  const [again] = await sql`
    select messenger.scheduled_message(s, '2027-03-01T12:01:00Z') ->> 'available_at' as at from messenger_schedules s
      where id = ${row.id}`;
  assert.equal(Date.parse(again.at), Number(rows[0].at));
});

test("errors · a schedule whose transport is missing backs off alone, and catches up", async () => {
  const { sql } = project();
  await sql`insert into messenger_transports (name, type) values ('other', 'supabase')`;
  await schedule(sql, "broken", minutely, { transport_name: "other" });
  await schedule(sql, "sound", minutely);
  await sql`delete from messenger_transports where name = 'other'`;
  assert.equal(await tickAt(sql, "2027-03-01T12:01:00Z"), 1);
  const row = await scheduleOf(sql, "broken");
  assert.match(row.last_error, /^SM_TRANSPORT: /);
  assert.deepEqual([row.enabled, row.run_count], [true, "0"]);
  assert.equal(row.next_run_at.toISOString().slice(0, 19), "2027-03-01T12:06:00");
  for (const minute of ["02", "03", "04", "05"]) assert.equal(await tickAt(sql, `2027-03-01T12:${minute}:00Z`), 1);
  assert.equal(await tickAt(sql, "2027-03-01T12:06:10Z"), 1, "it is still broken, and retried");
  await sql`insert into messenger_transports (name, type) values ('other', 'supabase')`;
  assert.equal(await tickAt(sql, "2027-03-01T12:11:30Z"), 2);
  assert.deepEqual(await firedRuns(sql, "broken"), ["2027-03-01T12:11:00.000Z"]);
  assert.equal((await scheduleOf(sql, "broken")).last_error, null);
  assert.equal((await sql`select from messenger.schedule_backoffs`).length, 0);
});

test("errors · saving a broken schedule again retries due occurrences at once", async () => {
  const { sql } = project();
  await schedule(sql, "one", { at: "2027-03-01T12:01:00Z" });
  await sql`update messenger_transports set enabled = false where name = 'supabase'`;
  await tickAt(sql, "2027-03-01T12:01:00Z");
  assert.match((await scheduleOf(sql, "one")).last_error, /^SM_TRANSPORT/);
  await sql`update messenger_transports set enabled = true where name = 'supabase'`;
  await schedule(sql, "one", { at: "2027-03-01T12:01:00Z" });
  assert.equal(await tickAt(sql, "2027-03-01T12:02:00Z"), 1);
  assert.deepEqual(await firedRuns(sql, "one"), ["2027-03-01T12:01:00.000Z"]);
});

test("errors · an unreadable row, and a message that Postgres rejects, affect no other schedule", async () => {
  const { sql } = project();
  for (const name of ["a", "unreadable", "rejected", "z"]) await schedule(sql, name, minutely, { payload: { name } });
  await sql`update messenger_schedules set schedule_config = '{"cron": "nonsense"}' where name = 'unreadable'`;
  await sql.unsafe(`
    create function public.no_such_thing() returns trigger language plpgsql as $$ begin raise 'not this one'; end $$;
    create trigger no_such_thing before insert on messenger_messages for each row
    when (new.body ->> 'name' = 'rejected') execute function public.no_such_thing()`);
  try {
    assert.equal(await tickAt(sql, "2027-03-01T12:01:00Z"), 2);
  } finally {
    await sql`drop function public.no_such_thing cascade`;
  }
  assert.match((await scheduleOf(sql, "unreadable")).last_error, /cron expression is not understood/);
  assert.equal((await scheduleOf(sql, "rejected")).last_error, "not this one");
  assert.equal(await tickAt(sql, "2027-03-01T12:02:00Z"), 2);
  assert.equal(await tickAt(sql, "2027-03-01T12:06:30Z"), 3, "the rejected one has recovered by itself");
});

test("clock · set back: nothing fires twice, not after saving again, nor after a pruning", async () => {
  const { sql } = project();
  await schedule(sql, "m", minutely);
  await tickAt(sql, "2027-03-01T12:01:00Z");
  await tickAt(sql, "2027-03-01T12:02:00Z");
  assert.equal(await tickAt(sql, "2027-03-01T11:00:00Z"), 0);
  await sql`truncate messenger.occurrences`;
  await schedule(sql, "m", { cron: "*/1 * * * *" });
  for (const minute of ["01", "02"]) assert.equal(await tickAt(sql, `2027-03-01T12:${minute}:30Z`), 0);
  assert.equal(await tickAt(sql, "2027-03-01T12:03:00Z"), 1);
});

test("clock · the ledger lets nothing fire twice, even if a row is moved back manually", async () => {
  const { sql } = project();
  await schedule(sql, "m", minutely);
  await tickAt(sql, "2027-03-01T12:01:00Z");
  await sql`update messenger_schedules set next_run_at = '2027-03-01T12:01:00Z'`;
  assert.equal(await tickAt(sql, "2027-03-01T12:01:30Z"), 0);
  assert.equal(await tickAt(sql, "2027-03-01T12:02:00Z"), 1);
});

test("expand · a tick stores about 10,000 messages at most, the next one the rest", async () => {
  const { sql } = project();
  const all = { misfire: "catch_up", catch_up_limit: 1000 };
  for (let n = 0; n < 11; n++) await schedule(sql, `s${n}`, { interval: 1000 }, all);
  assert.equal(await tickAt(sql, "2027-03-01T13:00:00Z"), 10_000);
  const [{ seconds }] = await sql`
    select extract(epoch from messenger.now() - min(next_run_at)) as seconds from messenger_schedules`;
  assert.ok(Number(seconds) > 3_000, "the eleventh is still due");
  assert.equal((await sql`select (messenger_tick() ->> 'expanded')::int >= 1000 as rest`)[0].rest, true);
});

test("errors · a trigger that drops the message counts as an error, not as a run", async () => {
  const { sql } = project();
  await schedule(sql, "m", minutely);
  await sql.unsafe(`
    create function public.swallow() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger swallow before insert on messenger_messages for each row execute function public.swallow()`);
  try {
    assert.equal(await tickAt(sql, "2027-03-01T12:01:00Z"), 0);
  } finally {
    await sql`drop function public.swallow cascade`;
  }
  const row = await scheduleOf(sql, "m");
  assert.deepEqual([row.last_error, row.run_count], ["the message was not stored", "0"]);
  assert.equal((await sql`select from messenger.occurrences`).length, 0);
});

test("prune · the ledger keeps a week, and occurrences that overlap needs or that could fire", async () => {
  const { sql } = project();
  await schedule(sql, "done", minutely, { max_runs: 1 });
  await schedule(sql, "waits", minutely, { max_runs: 1, queue_name: "paused" });
  await schedule(sql, "back", minutely, { max_runs: 1 });
  await tickAt(sql, "2027-03-01T12:01:00Z");
  const rows = await claim(sql, { queues: ["default"] });
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  await sql`update messenger_schedules set next_run_at = '2027-03-01T12:01:00Z' where name = 'back'`;
  const ledger = async () =>
    (await sql`select s.name from messenger.occurrences o join messenger_schedules s on s.id = o.schedule_id
      order by 1`)
      .map(({ name }) => name);
  await tickAt(sql, "2027-03-08T12:00:00Z");
  assert.deepEqual(await ledger(), ["back", "done", "waits"]);
  await tickAt(sql, "2027-03-08T12:02:00Z");
  assert.deepEqual(await ledger(), ["back", "waits"]);
});

test("expand · a schedule of a paused queue fires, its message waits", async () => {
  const { sql } = project();
  await schedule(sql, "m", minutely);
  await call(sql, "messenger_pause", { transport: "supabase", queue: "default" });
  assert.equal(await tickAt(sql, "2027-03-01T12:01:00Z"), 1);
  assert.equal((await claim(sql)).length, 0);
  await callValue(sql, "messenger_resume", { transport: "supabase", queue: "default" });
  assert.equal((await claim(sql)).length, 1);
});
