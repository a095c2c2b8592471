// Schedules and measurements that a tick cannot write: they are set aside, and everything else continues.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, callValue, dispatchMany, setClock } from "../bus.ts";
import {
  makeForbidTrigger,
  setAside,
  unlimitStepTime,
  withBrokenSteps,
  withForbiddenWrites,
} from "../ticker/set_aside.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(async () => {
  const { sql } = project();
  await limitLockWaits(sql);
  await makeForbidTrigger(sql);
  await unlimitStepTime(sql);
});
Deno.test.beforeEach(() => empty(project().sql));

const tick = () => callValue(project().sql, "messenger_tick");

test("schedule · one whose row cannot be updated stores nothing, and the others run", async () => {
  const { sql } = project();
  for (const name of ["first", "kept", "last"]) {
    await call(sql, "messenger_schedule", { name, type: "Report", schedule: { interval: 60_000 }, payload: { name } });
  }
  await setClock(sql, "90 seconds");
  await withForbiddenWrites(sql, "update", "messenger_schedules", "name", "kept", async () => {
    assert.equal((await tick()).expanded, 2);
    assert.deepEqual(
      (await sql`select body ->> 'name' as name from messenger_messages order by 1`).map(({ name }) => name),
      ["first", "last"],
    );
    assert.deepEqual((await setAside(sql)).map(({ step }) => step), ["schedules"]);
  });
  await setClock(sql, "4 minutes");
  await tick();
  const runs =
    await sql`select body ->> 'name' as name, count(*)::int as runs from messenger_messages group by 1 order by 1`;
  assert.deepEqual(runs.map(({ runs }) => runs > 0), [true, true, true]);
  assert.equal((await sql`select from messenger_audit() where violations > 0`).length, 0);
});

test("schedule · one whose message violates a deferred constraint has the error, the others run", async () => {
  const { sql } = project();
  for (const type of ["First", "Forbidden", "Last"]) {
    await call(sql, "messenger_schedule", { name: type.toLowerCase(), type, schedule: { interval: 60_000 } });
  }
  await sql.unsafe(`
    create function public.no_such_type() returns trigger
      language plpgsql as $$ begin raise exception 'no such type here'; end $$;
    create constraint trigger no_such_type after insert on messenger_messages deferrable initially deferred
    for each row when (new.message_type = 'Forbidden') execute function public.no_such_type()`);
  try {
    // A success leaves the constraints immediate for the rest of the tick. If the steps before it fail, nothing has
    // succeeded before the first schedule.
    for (const broken of [[], ["replays", "rescue", "unblock"]]) {
      await setClock(sql, broken.length === 0 ? "90 seconds" : "10 minutes");
      await sql`
        update messenger_schedules set last_error = null,
          next_run_at = messenger.now() - case message_type when 'Forbidden' then interval '2 seconds' else '1 second'
          end`;
      await withBrokenSteps(sql, broken, async () => {
        const { expanded, errors } = await tick();
        assert.deepEqual([expanded, Object.keys(errors ?? {}).toSorted()], [2, broken]);
      });
      const rows = await sql`select name, last_error from messenger_schedules order by name`;
      assert.deepEqual(rows.map(({ last_error }) => last_error), [null, "no such type here", null]);
      assert.deepEqual(await setAside(sql), [], "the error is in the schedule's own row");
    }
  } finally {
    await sql.unsafe("drop trigger no_such_type on messenger_messages; drop function public.no_such_type()");
  }
});

test("metrics · a measurement that cannot be counted is set aside, and messenger_metrics works", async () => {
  const { sql } = project();
  await dispatchMany(sql, 5);
  await sql`insert into messenger.metrics (step_seconds, at, transport_name, message_type, dispatched)
    values (0, '-infinity', 'supabase', 'Huge', 9223372036854775807)`;
  await sql`
    insert into messenger.measurements (at, transport_name, message_type, kind)
    select messenger.now(), 'supabase', 'Long' || string_agg(md5(random()::text), ''), 'dispatched'
      from generate_series(1, 2000)
    union all select messenger.now(), 'supabase', 'Huge', 'dispatched'`;
  for (let n = 0; n < 4; n++) await tick();
  const rows = await setAside(sql);
  assert.deepEqual(
    rows.map(({ step, object }) => `${step} ${object}`),
    Array(2).fill("roll_up messenger.measurements"),
  );
  assert.deepEqual(rows.map(({ error }) => error.match(/out of range|index row/)?.[0]).sort(), [
    "index row",
    "out of range",
  ]);
  const metrics = await callValue(sql, "messenger_metrics");
  assert.equal(metrics.byMessageType.Greeting.dispatched, 5);
  await dispatchMany(sql, 2);
  await tick();
  const [{ left }] = await sql`select count(*)::int as left from messenger.measurements`;
  assert.equal(left, rows.length, "only those set aside are left");
});
