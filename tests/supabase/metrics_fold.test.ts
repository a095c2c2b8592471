// The clock folds measurements into figures: once, whoever asks, whatever dies; minutes become hours and go.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../project.ts";
import { ask, call, dispatchMany, held, setClock, settle } from "./bus.ts";

const project = useProject({ testClock: true });

Deno.test.beforeEach(() => empty(project().sql));

const metrics = () => ask(project().sql, "messenger_metrics");
const tick = () => call(project().sql, "messenger_tick");

/** Completes so many messages. */
async function complete(count: number): Promise<void> {
  const { sql } = project();
  for (let n = 0; n < count; n++) {
    const { id, fence } = await held(sql);
    await settle(sql, [{ id, fence, outcome: "completed", duration_ms: 10 }]);
  }
}

test("fold · ten at once count once", async () => {
  const { sql } = project();
  await dispatchMany(sql, 500);
  const sessions = Array.from({ length: 10 }, () => session(project()));
  await Promise.all(sessions.map((each) => each`select messenger.fold_measurements(messenger.now(), 100000)`));
  for (const each of sessions) await each[Symbol.asyncDispose]();
  assert.equal((await metrics()).totalDispatched, 500);
  const [{ sum }] = await sql`select sum(dispatched)::int as sum from messenger.metrics where minute > '-infinity'`;
  assert.equal(sum, 500);
});

test("fold · while one session folds another does not wait, and what dies in the middle is folded again", async () => {
  const { sql } = project();
  await dispatchMany(sql, 10);
  await using first = session(project());
  await first.begin(async (transaction) => {
    const [{ n }] = await transaction`select messenger.fold_measurements(messenger.now(), 1000)::int as n`;
    assert.equal(n, 10);
    const [other] = await sql`select messenger.fold_measurements(messenger.now(), 1000)::int as n`;
    assert.equal(other.n, 0);
    assert.equal((await metrics()).totalDispatched, 10, "nobody sees half a fold");
    throw new Error("killed");
  }).catch(() => {});
  await tick();
  assert.equal((await metrics()).totalDispatched, 10);
});

test("fold · minutes become hours after two days, hours go after ninety, the sums of all time stay", async () => {
  const { sql } = project();
  await complete(3);
  const { id, fence } = await held(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e", error_class: "E", retryable: false }]);
  await tick();
  const counts = async () => {
    const [row] = await sql`
      select (select sum(completed) from messenger.metrics where minute > '-infinity')::int as completed,
        (select sum(deliveries) from messenger.metric_durations where minute > '-infinity')::int as durations,
        (select sum(deliveries) from messenger.metric_errors)::int as errors,
        (select bool_and(minute = date_trunc('hour', minute)) from messenger.metrics where minute > '-infinity') as hours,
        (select completed from messenger.metrics where minute = '-infinity' and message_type = 'Greeting')::int as ever`;
    return { ...row };
  };
  await setClock(sql, "3 days");
  await tick();
  await tick();
  assert.deepEqual(await counts(), { completed: 3, durations: 4, errors: 1, hours: true, ever: 3 });
  await setClock(sql, "92 days");
  await tick();
  assert.deepEqual(await counts(), { completed: null, durations: null, errors: null, hours: null, ever: 3 });
});

test("fold · beside a held snapshot it reads on from where it ended", async () => {
  const { sql } = project();
  await using holder = session(project());
  await using folder = session(project());
  await holder.begin("isolation level repeatable read", async (transaction) => {
    await transaction`select 1`;
    await sql`
      insert into messenger.measurements (at, transport_name, message_type, kind)
      select messenger.now(), 'supabase', 'A', 'dispatched' from generate_series(1, 140000)`;
    let folded = 0;
    for (let n = 0; n < 4; n++) {
      const [{ count }] = await folder`select messenger.fold_measurements(messenger.now(), 50000)::int as count`;
      folded += count;
    }
    assert.equal(folded, 140_000);
    await dispatchMany(sql, 5);
    await folder.begin(async (own) => {
      const fetched = async () =>
        (await own`select pg_stat_get_xact_blocks_fetched('messenger.measurements'::regclass)::int as n`)[0].n;
      const before = await fetched();
      const [{ count }] = await own`select messenger.fold_measurements(messenger.now(), 50000)::int as count`;
      assert.equal(count, 5);
      const blocks = await fetched() - before;
      assert.ok(blocks < 100, `${blocks} blocks`);
    });
  });
});
