// The ticker runs under any settings that a role or database has for its sessions, or health names the setting that
// stops it.
import assert from "node:assert/strict";
import { eventually } from "../../eventually.ts";
import { empty, session, test, testWithCron, useProject } from "../../project.ts";
import { callValue, type Row, setClock } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const check = async (name: string): Promise<Row> =>
  (await callValue(project().sql, "messenger_health")).checks.find((check: Row) => check.name === name);
const ticks = async () => Number((await project().sql`select ticks from messenger.clock`)[0].ticks);

/**
 * Runs the command of the ticker's job in a session with these settings until it has ticked the given number of times.
 */
async function tickUnder(settings: Record<string, string>, wanted: number): Promise<number> {
  const { sql } = project();
  await sql`update messenger.settings set clock_enabled = true`;
  await using own = session(project());
  for (const [name, value] of Object.entries(settings)) await own`select set_config(${name}, ${value}, false)`;
  const [{ command }] = await sql`select messenger.ticker_command() as command`;
  const started = performance.now();
  const running = own.unsafe(command).then(() => {});
  running.catch(() => {});
  await eventually(`${wanted} ticks under ${JSON.stringify(settings)}`, async () => await ticks() >= wanted);
  const took = performance.now() - started;
  await sql`update messenger.settings set clock_enabled = false`;
  await running;
  return took / 1_000;
}

test("settings · the ticker ignores every timeout of its session, and is read committed and writable", async () => {
  const { sql } = project();
  await sql.unsafe(`
    create table public.seen (isolation text, read_only text);
    create function public.look() returns trigger language plpgsql as $$
    begin
      insert into public.seen
        values (current_setting('transaction_isolation'), current_setting('transaction_read_only'));
      return new;
    end $$;
    create trigger look before insert on messenger.ticks for each row execute function public.look()`);
  try {
    await tickUnder({
      statement_timeout: "300ms",
      lock_timeout: "1ms",
      idle_in_transaction_session_timeout: "10ms",
      default_transaction_isolation: "serializable",
      default_transaction_read_only: "on",
    }, 3);
    assert.deepEqual([...await sql`select distinct isolation, read_only from public.seen`], [
      { isolation: "read committed", read_only: "off" },
    ]);
    assert.equal((await sql`select from messenger.step_errors`).length, 0);
  } finally {
    await sql.unsafe("drop trigger look on messenger.ticks; drop function public.look(); drop table public.seen");
  }
});

test("settings · a statement_timeout of some seconds cancels one pause only", async () => {
  await tickUnder({ statement_timeout: "3500ms" }, 5);
  assert.equal((await project().sql`select from messenger.step_errors`).length, 0);
});

test("settings · a tick that is longer than a second is followed by the next at once", async () => {
  const { sql } = project();
  // The job's command, which has no search_path of its own, finds it before that of pg_catalog.
  await sql.unsafe(`
    create schema pauses;
    create table pauses.taken (seconds double precision);
    create function pauses.pg_sleep(seconds double precision) returns void language sql as $$ insert into pauses.taken
      values (seconds) $$;
    create function public.be_slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1.01);
      return new; end $$;
    create trigger be_slow before insert on messenger.ticks for each row execute function public.be_slow()`);
  try {
    await tickUnder({ search_path: "pauses, pg_catalog, public" }, 3);
    const pauses = (await sql`select seconds from pauses.taken`).map(({ seconds }) => seconds);
    assert.ok(pauses.length >= 2, `${pauses}`);
    assert.deepEqual(pauses.filter((seconds) => seconds > 0), []);
  } finally {
    await sql.unsafe(`
      drop trigger be_slow on messenger.ticks;
      drop function public.be_slow();
      drop schema pauses cascade`);
  }
});

test("settings · a statement_timeout before the first tick is named by messenger_start and health", async () => {
  await using admin = session(project(), "supabase_admin");
  for (
    const [setting, cause, remedy] of [
      [
        "database postgres set statement_timeout = '20ms'",
        "statement_timeout = 20ms of database postgres",
        "alter role postgres set",
      ],
      [
        "role postgres set statement_timeout = 50",
        "statement_timeout = 50 of role postgres",
        "alter role postgres set",
      ],
      [
        "role postgres in database postgres set statement_timeout = '70ms'",
        "statement_timeout = 70ms of role postgres",
        "alter role postgres in database postgres set",
      ],
      ["role postgres set statement_timeout = '100ms'"],
    ]
  ) {
    // Rolled back, so that no job is started and the next session has its timeouts.
    await admin`begin`;
    await admin.unsafe(`alter ${setting}`);
    const { clock_remedy } = await callValue(admin, "messenger_start");
    const { checks } = await callValue(admin, "messenger_health");
    const clock = checks.find(({ name }: Row) => name === "clock");
    await admin`rollback`;
    if (cause) {
      assert.ok(clock_remedy?.startsWith(cause) && clock_remedy.includes(remedy), clock_remedy);
      assert.ok(clock.detail.includes(cause) && clock.remedy.startsWith(remedy), JSON.stringify(clock));
    } else {
      assert.equal(clock_remedy, undefined, "the ticker outlives this one");
    }
  }
});

/** The job of the ticker exists, and has made this number of ticks in each of the last minutes. */
async function paced(...perMinute: number[]) {
  const { sql } = project();
  await sql`select messenger_start()`;
  await sql`update messenger.settings set clock_changed_at = messenger.now() - interval '1 hour'`;
  await sql`
    insert into messenger.ticks (at, duration_ms, slowest_step, slowest_ms)
    select date_trunc('minute', messenger.now()) - m.n * interval '1 minute' + t * interval '0.9 seconds', 40,
      'prune_keys', 30 + t
    from unnest(${perMinute}::int[]) with ordinality as m(ticks, n) cross join generate_series(1, m.ticks) t`;
  await sql`insert into messenger.ticks (at, duration_ms) values (messenger.now(), 1)`;
}

test("pace · health counts the ticks of the last three full minutes, and below 55 names the slowest step", async () => {
  const { sql } = project();
  await paced(59, 58, 60, 3);
  const good = await check("clock");
  assert.deepEqual([good.status, good.figures.ticks_per_minute], ["healthy", 59]);
  assert.match(good.detail, /59 ticks per minute in the last 3 full minutes/);
  await sql`truncate messenger.ticks`;
  await paced(30, 60, 60, 3);
  const bad = await check("clock");
  assert.deepEqual([bad.status, bad.figures.ticks_per_minute], ["degraded", 50]);
  assert.match(bad.detail, /at least 55 are expected: the slowest step was prune_keys with 90 ms/);
  await callValue(sql, "messenger_stop");
});

test("pace · minutes before the ticker's start, uncounted minutes and an external ticker's do not count", async () => {
  const { sql } = project();
  await paced(30, 60, 60);
  await sql`update messenger.settings
    set clock_changed_at = date_trunc('minute', messenger.now()) - interval '30 seconds'`;
  assert.deepEqual([(await check("clock")).status, (await check("clock")).figures.ticks_per_minute], [
    "healthy",
    undefined,
  ]);
  await sql`truncate messenger.ticks`;
  await paced(20);
  await sql`delete from messenger.ticks where at < (select min(at) + interval '5 seconds' from messenger.ticks)`;
  assert.equal((await check("clock")).figures.ticks_per_minute, undefined);
  await sql`truncate messenger.ticks`;
  await paced(20, 20, 20, 1);
  await callValue(sql, "messenger_stop");
  await sql`update messenger.settings set clock_changed_at = null`;
  assert.deepEqual([(await check("clock")).status, (await check("clock")).figures.ticks_per_minute], ["healthy", 20]);
});

test("pace · ticks older than five minutes are deleted", async () => {
  const { sql } = project();
  await callValue(sql, "messenger_tick");
  await setClock(sql, "5 minutes 1 second");
  await callValue(sql, "messenger_tick");
  assert.equal((await sql`select from messenger.ticks`).length, 1);
  await setClock(sql, "-1 hour");
  await callValue(sql, "messenger_tick");
  assert.equal((await sql`select from messenger.ticks`).length, 1, "nor do those of a clock that was set back stay");
});

testWithCron("schedule · pg_cron accepts seconds from 1.5 on, before that only minutes", async () => {
  await using admin = session(project(), "supabase_admin");
  const schedules: Record<string, string> = {};
  await admin`begin`;
  for (const version of ["1.3", "1.4-1", "1.5", "1.6", "1.10", "2.0"]) {
    await admin`update pg_extension set extversion = ${version} where extname = 'pg_cron'`;
    schedules[version] = (await admin`select messenger.job_schedule() as schedule`)[0].schedule;
  }
  await admin`rollback`;
  const [minutes, seconds] = ["* * * * *", "5 seconds"];
  assert.deepEqual(schedules, {
    "1.3": minutes,
    "1.4-1": minutes,
    "1.5": seconds,
    "1.6": seconds,
    "1.10": seconds,
    "2.0": seconds,
  });
});

test("schedule · a run ends at second 59, ten seconds after its start, never during a handler", async () => {
  const { sql } = project();
  for (
    const [from, to] of [["10:00:00.3", "10:00:59"], ["10:00:49.9", "10:00:59"], ["10:00:50", "10:01:59"], [
      "10:00:59.2",
      "10:01:59",
    ]]
  ) {
    const [{ ends }] =
      await sql`select to_char(messenger.job_ends_at(${`2030-01-01 ${from}+00`}::timestamptz) at time zone 'UTC',
        'HH24:MI:SS') as ends`;
    assert.equal(ends, to, from);
  }
  const mayEnd = async () => (await sql`select messenger.may_end(clock_timestamp()) as may`)[0].may;
  assert.equal(await mayEnd(), true);
  assert.equal((await sql`select messenger.may_end(clock_timestamp() + interval '1 second') as may`)[0].may, false);
  await sql`
    insert into messenger.sql_runners (pid, backend_start, message_id, message_type, deadline)
    select pid, backend_start, gen_random_uuid(), 'Ship', clock_timestamp() from pg_stat_activity
      where backend_type = 'checkpointer'
    union all select 1, now(), gen_random_uuid(), 'Ship', clock_timestamp()`;
  assert.equal(await mayEnd(), false);
  await sql`delete from messenger.sql_runners where pid <> 1`;
  assert.equal(await mayEnd(), true, "a backend that has ended runs nothing");
});

test("settings · a tick called manually under serializable works, alone", async () => {
  const figures = await project().sql.begin("isolation level serializable", (tx) => callValue(tx, "messenger_tick"));
  assert.equal(figures.errors, undefined);
});
