// Many ticks, one schedule: one message per occurrence, with any session that ticks, is killed or saves meanwhile.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { callValue } from "../bus.ts";
import { firedRuns, moveTo, schedule, scheduleOf } from "./schedule_clock.ts";
import { limitLockWaits, pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await moveTo(project().sql, "2027-03-01T12:00:00.5Z");
});

const minutely = { cron: "* * * * *" };
const expanded = async (sql: ReturnType<typeof session>) => (await callValue(sql, "messenger_tick")).expanded;

test("race · ten concurrent ticks over 1,000 schedules make 1,000 messages", async () => {
  const { sql } = project();
  await sql`select messenger_schedule('s' || n, 'Greeting', '{"cron": "* * * * *"}') from generate_series(1, 1000) n`;
  await moveTo(sql, "2027-03-01T12:01:00Z");
  const sessions = Array.from({ length: 10 }, () => session(project()));
  try {
    const counts = await Promise.all(sessions.map(expanded));
    for (let n = 0; n < 20; n++) counts.push(await expanded(sessions[0])); // a tick without time left skips the rest
    assert.equal(counts.reduce((sum, count) => sum + count, 0), 1000);
    const [row] = await sql`
      select count(*)::int as messages, count(distinct headers ->> 'x-schedule')::int as schedules
        from messenger_messages`;
    assert.deepEqual({ ...row }, { messages: 1000, schedules: 1000 });
    assert.equal((await sql`select from messenger.occurrences`).length, 1000);
    const broken = await sql`select invariant from messenger_audit() where violations > 0`;
    assert.deepEqual([...broken], []);
  } finally {
    await Promise.all(sessions.map((sql) => sql.end()));
  }
});

test("race · while one tick has locked a schedule the other skips it; rolled back, nothing is lost", async () => {
  const { sql } = project();
  await schedule(sql, "m", minutely);
  await moveTo(sql, "2027-03-01T12:01:00Z");
  await using first = session(project());
  await using second = session(project());
  await first`begin`;
  assert.equal(await expanded(first), 1);
  assert.equal(await expanded(second), 0);
  await first`rollback`;
  assert.equal(await expanded(second), 1);
  assert.equal(await expanded(first), 0);
  assert.deepEqual(await firedRuns(sql, "m"), ["2027-03-01T12:01:00.000Z"]);
});

test("race · a tick killed between expansion and commit loses nothing and doubles nothing", async () => {
  const { sql } = project();
  await schedule(sql, "m", minutely);
  await moveTo(sql, "2027-03-01T12:01:00Z");
  await using doomed = session(project());
  const pid = await pidOf(doomed);
  await doomed`begin`;
  assert.equal(await expanded(doomed), 1);
  await sql`select pg_terminate_backend(${pid}, 10000)`;
  await doomed`select`.catch(() => {});
  await using next = session(project());
  assert.equal(await expanded(next), 1);
  assert.equal((await firedRuns(sql, "m")).length, 1);
  assert.equal((await scheduleOf(sql, "m")).run_count, "1");
});

test("race · saving, pausing and removing wait for the tick that has locked the schedule", async () => {
  const { sql } = project();
  const changes: [name: string, change: (sql: ReturnType<typeof session>) => Promise<unknown>][] = [
    ["saved", (sql) => schedule(sql, "saved", minutely)],
    ["paused", (sql) => callValue(sql, "messenger_pause_schedule", { name: "paused" })],
    ["removed", (sql) => callValue(sql, "messenger_unschedule", { name: "removed" })],
  ];
  for (const [name] of changes) await schedule(sql, name, minutely);
  await moveTo(sql, "2027-03-01T12:01:00Z");
  await using clock = session(project());
  await clock`begin`;
  assert.equal(await expanded(clock), 3);
  const others = changes.map(() => session(project()));
  try {
    const waiting = [];
    for (const [at, [, change]] of changes.entries()) {
      const pid = await pidOf(others[at]);
      waiting.push(change(others[at]));
      await untilBlocked(sql, pid);
    }
    await clock`commit`;
    await Promise.all(waiting);
    for (const [name] of changes) assert.equal((await firedRuns(sql, name)).length, 1, name);
    const saved = await scheduleOf(sql, "saved");
    assert.deepEqual([saved.next_run_at.toISOString(), saved.run_count], ["2027-03-01T12:02:00.000Z", "1"]);
    assert.equal((await scheduleOf(sql, "paused")).enabled, false);
    assert.equal(await scheduleOf(sql, "removed"), undefined);
  } finally {
    await Promise.all(others.map((sql) => sql.end()));
  }
});

test("race · of two that save a new name, the second waits and changes the first one's row", async () => {
  const { sql } = project();
  await using first = session(project());
  await using second = session(project());
  const pid = await pidOf(second);
  await first`begin`;
  const { id } = await schedule(first, "m", minutely);
  const waiting = schedule(second, "m", { cron: "0 * * * *" }, { enabled: false });
  await untilBlocked(sql, pid);
  await first`commit`;
  const row = await waiting;
  assert.deepEqual([row.id, row.schedule_config, row.enabled], [id, { cron: "0 * * * *" }, false]);
});

test("race · replacing does not wait for a worker that is claiming the message", async () => {
  const { sql } = project();
  await schedule(sql, "m", minutely, { overlap: "replace" });
  await moveTo(sql, "2027-03-01T12:01:00Z");
  await callValue(sql, "messenger_tick");
  await moveTo(sql, "2027-03-01T12:02:00Z");
  await using worker = session(project());
  await worker`begin`;
  await worker`select from messenger_claim('ada')`;
  await using clock = session(project());
  assert.equal(await expanded(clock), 1);
  await worker`commit`;
  const rows = await sql`select status from messenger_messages order by created_at`;
  assert.deepEqual(rows.map(({ status }) => status), ["processing", "pending"]);
});
