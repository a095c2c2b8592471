// messenger_metrics: any window of time, in minutes and in hours, and invalid windows.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { callValue, dispatchAndClaim, type Row, setClock, settle } from "../bus.ts";
import { errorOf } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const metrics = (args: Record<string, unknown> = {}) => callValue(project().sql, "messenger_metrics", args);

test("windows · any window: the last minutes, or from until to, in steps of at most 180", async () => {
  const { sql } = project();
  const days = [0, 1, 3];
  for (const day of days) {
    await setClock(sql, `${day} days`);
    const { id, fence } = await dispatchAndClaim(sql);
    await settle(sql, [{ id, fence, outcome: day === 1 ? "failed" : "completed", error: "e", retryable: false }]);
    await sql`select messenger.roll_up()`;
  }
  const processed = async (args: Record<string, unknown>) => {
    const reply = await metrics(args);
    assert(reply.series.length <= 180 && reply.stepSeconds >= 60, `${reply.series.length}`);
    const total = reply.series.reduce((sum: number, { completed, dead }: Row) => sum + completed + dead, 0);
    assert.equal(total, reply.totalProcessed);
    return reply.totalProcessed;
  };
  assert.equal(await processed({ minutes: 1 }), 1);
  assert.equal(await processed({ minutes: 60 }), 1);
  assert.equal(await processed({ minutes: 1440 * 2 + 5 }), 2);
  assert.equal(await processed({ minutes: 1440 * 14 }), 3);
  const [{ now }] = await sql`select messenger.now() as now`;
  const before = (hours: number) => new Date(now.getTime() - hours * 3_600_000);
  assert.equal(await processed({ from_time: before(49), to_time: before(47) }), 1);
  assert.equal(await processed({ from_time: before(24 * 4), to_time: before(30) }), 2);
  assert.equal(await processed({ from_time: before(24 * 4), to_time: before(50) }), 1);
  assert.equal(await processed({ from_time: before(71), to_time: before(49) }), 0);
  assert.equal(await processed({ to_time: before(47), minutes: 120 }), 1);
});

test("windows · a long window adds minutes at its edges to the full hours inside, each message once", async () => {
  const { sql } = project();
  await sql`insert into messenger.metrics (step_seconds, at, transport_name, message_type, completed)
    select 60, at, 'supabase', 'Greeting', 1
      from generate_series('2026-03-01 00:00+00', '2026-03-03 23:59+00', interval '1 minute') at
    union all
    select 3600, at, 'supabase', 'Greeting', 60
      from generate_series('2026-03-01 00:00+00', '2026-03-03 23:00+00', interval '1 hour') at`;
  const processed = async (from_time: string, to_time: string) =>
    (await metrics({ from_time: `2026-03-${from_time}+00`, to_time: `2026-03-${to_time}+00` })).totalProcessed;
  const [{ skew }] = await sql`select ('2026-03-03 09:00+00'::timestamptz - now())::text as skew`;
  await setClock(sql, skew);
  assert.equal(await processed("01 10:07", "02 13:31"), 1_644);
  assert.equal(await processed("01 10:00", "02 13:00"), 1_620);
  assert.equal(await processed("01 10:59:59", "03 00:00:01"), 2_222);
  assert.equal(await processed("01 10:07", "01 10:31"), 24);
  await setClock(sql, "0");
  assert.equal(await processed("01 10:07", "02 13:31"), 28 * 60, "old ones are widened to full hours");
  assert.equal(await processed("01 10:07", "01 10:31"), 60);
});

test("windows · invalid windows are rejected", async () => {
  const now = new Date();
  const windows = [
    { minutes: 0 },
    { minutes: -1 },
    { minutes: 1_000_000_000 },
    { from_time: now, to_time: now },
    { from_time: new Date(now.getTime() + 3_600_000) },
    { from_time: now, to_time: new Date(now.getTime() - 1) },
    { from_time: new Date(0), to_time: now },
  ];
  const calls = [
    ...windows.map((window) => () => metrics(window)),
    ...["from_time => '-infinity'", "to_time => 'infinity'", "from_time => '294000-01-01', to_time => '294276-01-01'"]
      .map((window) => () => project().sql.unsafe(`select messenger_metrics(${window})`)),
  ];
  for (const [n, requested] of calls.entries()) {
    const error = await errorOf(requested());
    assert.deepEqual([error.code, error.detail], ["PT400", "SM_FILTER"], `${n}: ${error.message}`);
    assert.ok(error.hint);
  }
});
