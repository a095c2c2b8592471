// The steps of a tick: an error, a lock or an open transaction fails one step, never the others.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { callValue, claim, dispatchAndClaim, messageOf, type Row, setClock, settle } from "../bus.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

const tick = (sql = project().sql) => callValue(sql, "messenger_tick");
const check = async (name: string): Promise<Row> =>
  (await callValue(project().sql, "messenger_health")).checks.find((check: Row) => check.name === name);

/** A message whose lease has expired: a tick whose step "rescue" works returns it. */
async function lapsed(): Promise<string> {
  const { id } = await dispatchAndClaim(project().sql);
  await setClock(project().sql, "61 seconds");
  return id;
}

/** Rejects deletes from a table during the work. */
async function withForbidden(table: string, work: () => Promise<void>, deferred = false): Promise<void> {
  const { sql } = project();
  await sql.unsafe(`
    create function public.forbid() returns trigger
      language plpgsql as $$ begin raise exception 'the project keeps these'; end $$;
    create ${deferred ? "constraint" : ""} trigger forbid ${deferred ? "after" : "before"} delete on ${table}
    ${deferred ? "deferrable initially deferred" : ""} for each row execute function public.forbid()`);
  try {
    await work();
  } finally {
    await sql.unsafe(`drop trigger forbid on ${table}; drop function public.forbid()`);
  }
}

test("steps · each may fail while all the others run, and the reply, the table and health name it", async (t) => {
  const { sql } = project();
  const names = (await sql`select name from messenger.steps()`).map(({ name }) => name);
  assert.ok(names.length > 15);
  await sql.unsafe(`
    alter function messenger.run_step(text, timestamptz, int, timestamptz) rename to sound_step;
    create function messenger.run_step(step text, at timestamptz, batch int, ends_at timestamptz) returns jsonb
      language plpgsql as $$
    begin
      if step = current_setting('test.broken') then
        raise exception 'broken on purpose';
      end if;
      perform messenger.sound_step(step, at, batch, ends_at);
      return jsonb_build_object(step, 1);
    end $$`);
  try {
    for (const broken of names) {
      await t.step(broken, async () => {
        await using own = session(project());
        await own`select set_config('test.broken', ${broken}, false)`;
        const { errors, ...figures } = await tick(own);
        assert.deepEqual(errors, { [broken]: "broken on purpose" });
        assert.deepEqual(names.filter((name) => !figures[name]), [broken], "the others have run");
        const [clock] = await sql`select last_error, last_error_at = last_tick_at as now from messenger.clock`;
        assert.deepEqual(clock, { last_error: `${broken}: broken on purpose`, now: true });
      });
    }
    assert.equal((await sql`select from messenger.step_errors`).length, names.length);
    const { status, detail } = await check("clock_errors");
    assert.equal(status, "degraded");
    assert.match(detail, /sql_handlers: broken on purpose \(1 times\)/);
  } finally {
    await sql.unsafe(`
      drop function messenger.run_step(text, timestamptz, int, timestamptz);
      alter function messenger.sound_step(text, timestamptz, int, timestamptz) rename to run_step`);
  }
});

test("steps · an assertion or a cancelled query in one is an error of that step", async () => {
  const { sql } = project();
  for (const sqlstate of ["P0004", "57014", "XX000"]) {
    await sql.unsafe(`
      create or replace function public.raise_it() returns trigger
        language plpgsql as $$ begin raise sqlstate '${sqlstate}'; end $$;
      create or replace trigger raise_it before delete on messenger.workers for each row
        execute function public.raise_it()`);
    await claim(sql, { worker: "old" });
    await setClock(sql, "2 hours");
    assert.deepEqual(Object.keys((await tick()).errors), ["prune_workers"], sqlstate);
    await sql.unsafe("drop trigger raise_it on messenger.workers");
    await setClock(sql, "0");
  }
});

test("steps · a failed one is rolled back alone, and retried by the next tick", async () => {
  const { sql } = project();
  await claim(sql, { worker: "old" });
  const id = await lapsed();
  await setClock(sql, "2 hours");
  await withForbidden("messenger.workers", async () => {
    const { errors, rescued } = await tick();
    assert.deepEqual([errors, rescued], [{ prune_workers: "the project keeps these" }, 1]);
    assert.equal((await messageOf(sql, id)).status, "pending");
  });
  assert.equal((await tick()).errors, undefined);
  assert.equal((await sql`select from messenger.workers where worker = 'old'`).length, 0);
});

test("steps · a constraint that the project has deferred fails the step that violates it, not the commit", async () => {
  const { sql } = project();
  await claim(sql, { worker: "old" });
  const id = await lapsed();
  await setClock(sql, "2 hours");
  await withForbidden("messenger.workers", async () => {
    assert.deepEqual(Object.keys((await tick()).errors), ["prune_workers"]);
    assert.equal((await messageOf(sql, id)).status, "pending");
  }, true);
});

test("steps · a deferred constraint that no later step checks fails the step that violates it, too", async () => {
  const { sql } = project();
  // A runner whose backend has ended: the step "overdue_handlers" deletes it, before any step that checks constraints
  // itself.
  await sql`
    insert into messenger.sql_runners (pid, backend_start, message_id, message_type, deadline)
    values (1, now(), gen_random_uuid(), 'Ship', now() - interval '1 hour')`;
  await claim(sql, { worker: "old" });
  await setClock(sql, "2 hours");
  await withForbidden("messenger.sql_runners", async () => {
    assert.deepEqual((await tick()).errors, { overdue_handlers: "the project keeps these" });
    assert.equal((await sql`select from messenger.workers where worker = 'old'`).length, 0, "later steps have run");
  }, true);
});

test("locks · an error whose row another transaction has locked is still the ticker's last error", async () => {
  const { sql } = project();
  await claim(sql, { worker: "old" });
  await setClock(sql, "2 hours");
  await withForbidden("messenger.workers", async () => {
    await tick();
    await sql`update messenger.clock set last_error = 'an older one', last_error_at = null`;
    await using other = session(project());
    await other`begin`;
    await other`select from messenger.step_errors where step = 'prune_workers' for update`;
    await tick();
    await other`rollback`;
    const { clock } = await callValue(sql, "messenger_status");
    assert.deepEqual([clock.last_error, clock.last_error_at], [
      "prune_workers: the project keeps these",
      clock.last_tick_at,
    ]);
  });
});

test("locks · a table that the project is altering fails the steps that need it", async () => {
  const { sql } = project();
  for (
    const [table, needed] of [
      ["messenger.idempotency_keys", ["prune_keys"]],
      ["messenger.message_types", ["handlers_job", "overdue_handlers", "route", "sql_handlers", "wake"]],
      ["messenger.settings", ["handlers_job", "wake"]],
      ["messenger.workers", ["prune_workers", "sql_handlers"]],
    ] as const
  ) {
    const id = await lapsed();
    await using other = session(project());
    await other`begin`;
    await other.unsafe(`lock table ${table} in access exclusive mode`);
    const started = performance.now();
    const { errors, rescued } = await tick();
    assert.ok(performance.now() - started < 5_000, "no lock was waited for");
    assert.ok(
      Object.keys(errors).every((name) => (needed as readonly string[]).includes(name)),
      `${table}: ${Object.keys(errors)}`,
    );
    assert.equal(rescued, 1, table);
    await other`rollback`;
    await sql`delete from messenger_messages where id = ${id}`;
    await setClock(sql, "0");
  }
});

test("locks · the ticker continues while its own tables are locked", async () => {
  const { sql } = project();
  await sql`update messenger.settings set clock_enabled = true`;
  const id = await lapsed();
  await using other = session(project());
  await other`begin`;
  await other`lock table messenger.settings, messenger.clock, messenger.ticks, messenger.step_errors
    in access exclusive mode`;
  const [{ on }] = await sql`select messenger.tick_or_note_error() as on`;
  assert.equal(on, true);
  await other`rollback`;
  assert.equal((await messageOf(sql, id)).status, "pending");
});

test("ticks · a tick in an open transaction blocks no other tick, and health counts the others", async () => {
  const { sql } = project();
  await using open = session(project());
  await dispatchAndClaim(sql);
  await sql`insert into messenger.step_errors values ('wake', 'old', 'XX000', messenger.now())`;
  await setClock(sql, "61 seconds");
  await open`begin`;
  await tick(open);
  await open`select messenger.note_step_error('wake', 'open', 'XX000', messenger.now())`;
  const { id, fence } = await dispatchAndClaim(sql, { queue: "other" });
  await setClock(sql, "150 seconds");
  assert.deepEqual(await tick().then(({ rescued, errors }) => ({ rescued, errors })), {
    rescued: 1,
    errors: undefined,
  });
  await sql`select messenger.note_step_error('wake', 'new', 'XX000', messenger.now())`;
  assert.equal((await messageOf(sql, id)).status, "pending");
  assert.equal((await check("clock")).status, "healthy", "the open one holds the ticker's row");
  await open`rollback`;
  assert.equal((await settle(sql, [{ id, fence, outcome: "completed" }]))[0].outcome, "stale");
});

test("ticks · without the rows of settings and ticker they work, and messenger_start restores them", async () => {
  const { sql } = project();
  const id = await lapsed();
  await sql`delete from messenger.settings`;
  await sql`delete from messenger.clock`;
  assert.deepEqual((await tick()).rescued, 1);
  assert.equal((await sql`select messenger.tick_or_note_error() as on`)[0].on, true);
  assert.equal((await messageOf(sql, id)).status, "pending");
  const health = await callValue(sql, "messenger_health");
  assert.deepEqual(health.checks.filter(({ detail }: Row) => /itself failed/.test(detail)), []);
  assert.equal((await check("clock")).status, "healthy");
  await sql`select messenger_start(), messenger_stop()`;
  assert.equal((await sql`select from messenger.settings`).length, 1);
  assert.equal((await sql`select from messenger.clock`).length, 1);
});
