// Saving schedules: the fields of a row, the effect of saving again, pausing, resuming, removing, and the next run of
// each kind.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, callValue, messageOf } from "../bus.ts";
import { firedRuns, moveTo, preview, schedule, scheduleOf, tickAt } from "./schedule_clock.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(async () => {
  await empty(project().sql);
  await moveTo(project().sql, "2027-03-01T12:00:00.5Z");
});

test("schedule · the row has the definition and the next run", async () => {
  const { sql } = project();
  const row = await schedule(sql, "report", { cron: "0 9 * * mon-fri" }, {
    timezone: "Europe/Berlin",
    payload: { to: "Ada" },
    queue_name: "reports",
    headers: { "x-team": "blue" },
    max_runs: 5,
    misfire: "skip",
  });
  assert.deepEqual(
    [row.name, row.message_type, row.schedule_type, row.schedule_config, row.timezone, row.body, row.queue_name],
    ["report", "Greeting", "cron", { cron: "0 9 * * mon-fri" }, "Europe/Berlin", { to: "Ada" }, "reports"],
  );
  assert.deepEqual([row.max_runs, row.misfire, row.misfire_grace_ms, row.overlap, row.enabled, row.run_count], [
    "5",
    "skip",
    "60000",
    "allow",
    true,
    "0",
  ]);
  assert.equal(row.next_run_at.toISOString(), "2027-03-02T08:00:00.000Z");
  assert.deepEqual(await scheduleOf(sql, "report"), row);
});

test("schedule · service_role may, and the route is that of the registered type", async () => {
  const { sql } = project();
  await call(sql, "messenger_register", { types: [{ type: "Greeting", queue: "greetings", priority: 9 }] });
  await asRole(sql, "service_role", (tx) => schedule(tx, "hello", { interval: 1000 }));
  assert.equal((await scheduleOf(sql, "hello")).queue_name, "greetings");
  await tickAt(sql, "2027-03-01T12:00:02Z");
  const [{ id }] = await sql`select id from messenger_messages`;
  const message = await messageOf(sql, id);
  assert.deepEqual([message.queue_name, message.priority], ["greetings", 9]);
});

test("schedule · null parameters mean their defaults", async () => {
  const { sql } = project();
  await sql`select messenger_schedule('a', 'T', '{"interval": 60000.0}', null, null, null)`;
  const row = await scheduleOf(sql, "a");
  assert.deepEqual([row.timezone, row.body, row.schedule_config], ["UTC", {}, { interval: 60000 }]);
});

const nextRuns: [cron: string, timezone: string, next: string][] = [
  ["* * * * *", "UTC", "2027-03-01T12:01:00.000Z"],
  ["*/10 * * * * *", "UTC", "2027-03-01T12:00:10.000Z"],
  ["0 0 L * *", "UTC", "2027-03-31T00:00:00.000Z"],
  ["0 0 * * 5#3", "UTC", "2027-03-19T00:00:00.000Z"],
  ["0 0 * * friL", "UTC", "2027-03-26T00:00:00.000Z"],
  ["0 0 13 * 5", "UTC", "2027-03-05T00:00:00.000Z"],
  ["0 0 29 2 ?", "UTC", "2028-02-29T00:00:00.000Z"],
  ["0 12 1 JAN-mar/2 *", "America/New_York", "2027-03-01T17:00:00.000Z"],
  ["@yearly", "UTC", "2028-01-01T00:00:00.000Z"],
  ["@annually", "Asia/Kolkata", "2027-12-31T18:30:00.000Z"],
  ["@monthly", "UTC", "2027-04-01T00:00:00.000Z"],
  ["@weekly", "UTC", "2027-03-07T00:00:00.000Z"],
  ["@daily", "UTC", "2027-03-02T00:00:00.000Z"],
  ["@midnight", "Europe/Berlin", "2027-03-01T23:00:00.000Z"],
  ["@hourly", "UTC", "2027-03-01T13:00:00.000Z"],
];

test("schedule · cron in 5 and 6 fields, with names, L, #, ? and aliases", async () => {
  for (const [cron, timezone, next] of nextRuns) {
    const row = await schedule(project().sql, "c", { cron }, { timezone });
    assert.deepEqual([cron, row.next_run_at.toISOString()], [cron, next]);
  }
});

test("schedule · a 29th of February on a Sunday is found over forty years", async () => {
  const [{ next }] = await project()
    .sql`select messenger.cron_next('0 0 * 2 0#5', 'UTC', '2088-03-01T00:00:00Z') as next`;
  assert.equal(next.toISOString(), "2128-02-29T00:00:00.000Z");
});

test("interval · counts from startAt, starts_at or the creation, and does not drift", async () => {
  const { sql } = project();
  const next = async (spec: Record<string, unknown>, options = {}) =>
    (await schedule(sql, crypto.randomUUID(), spec, options)).next_run_at.toISOString();
  assert.equal(await next({ interval: 7000, startAt: "2027-03-01T12:00:00Z" }), "2027-03-01T12:00:07.000Z");
  assert.equal(await next({ interval: 7000, startAt: "2027-04-01T00:00:00+02:00" }), "2027-03-31T22:00:00.000Z");
  assert.equal(await next({ interval: 60_000 }, { starts_at: "2027-05-01T00:00:00Z" }), "2027-05-01T00:00:00.000Z");
  const row = await schedule(sql, "own", { interval: 60_000 });
  assert.equal(row.next_run_at - row.created_at, 60_000);
  await tickAt(sql, "2027-03-01T15:33:21Z");
  const later = await scheduleOf(sql, "own");
  assert.equal((later.next_run_at - row.created_at) % 60_000, 0);
  assert.ok(later.next_run_at > new Date("2027-03-01T15:33:21Z"));
});

test("once · fires once, at its time or as soon as it is saved too late, and disables itself", async () => {
  const { sql } = project();
  await schedule(sql, "soon", { at: "2027-03-01T12:05:00Z" });
  await schedule(sql, "late", { at: "2027-03-01T11:00:00Z" });
  assert.equal(await tickAt(sql, "2027-03-01T12:04:59Z"), 1);
  assert.equal(await tickAt(sql, "2027-03-01T12:05:00Z"), 1);
  assert.equal(await tickAt(sql, "2027-03-02T12:05:00Z"), 0);
  for (const name of ["soon", "late"]) {
    const row = await scheduleOf(sql, name);
    assert.deepEqual([row.enabled, row.next_run_at, row.run_count], [false, null, "1"]);
  }
  assert.deepEqual(await firedRuns(sql, "late"), ["2027-03-01T11:00:00.000Z"]);
  await schedule(sql, "late", { at: "2027-03-01T11:00:00Z" });
  assert.equal(await tickAt(sql, "2027-03-02T12:06:00Z"), 0, "saving an expired one again does not start it again");
});

test("schedule · saving the same again changes nothing; another definition starts from now", async () => {
  const { sql } = project();
  await schedule(sql, "m", { cron: "* * * * *" });
  await moveTo(sql, "2027-03-01T12:07:30Z");
  const again = await schedule(sql, "m", { cron: "* * * * *" }, { payload: { n: 2 } });
  assert.equal(again.next_run_at.toISOString(), "2027-03-01T12:01:00.000Z");
  await callValue(sql, "messenger_pause_schedule", { name: "m" });
  assert.equal((await schedule(sql, "m", { cron: "* * * * *" })).enabled, false);
  assert.equal((await schedule(sql, "m", { cron: "* * * * *" }, { enabled: true })).enabled, true);
  const changed = await schedule(sql, "m", { cron: "0 * * * *" });
  assert.equal(changed.next_run_at.toISOString(), "2027-03-01T13:00:00.000Z");
  assert.equal(changed.id, again.id);
  assert.equal((await schedule(sql, "disabled", { cron: "* * * * *" }, { enabled: false })).enabled, false);
});

test("schedule · between starts_at and ends_at, both included, then it has expired", async () => {
  const { sql } = project();
  const bounds = { starts_at: "2027-03-01T12:03:00Z", ends_at: "2027-03-01T12:04:00Z" };
  const row = await schedule(sql, "m", { cron: "* * * * *" }, bounds);
  assert.equal(row.next_run_at.toISOString(), "2027-03-01T12:03:00.000Z");
  for (const minute of [1, 2, 3, 4, 5]) await tickAt(sql, `2027-03-01T12:0${minute}:00Z`);
  assert.deepEqual(await firedRuns(sql, "m"), ["2027-03-01T12:03:00.000Z", "2027-03-01T12:04:00.000Z"]);
  assert.equal((await scheduleOf(sql, "m")).enabled, false);
});

test("pause · occurrences meanwhile are lost; a schedule that runs once keeps its run", async () => {
  const { sql } = project();
  await schedule(sql, "m", { cron: "* * * * *" });
  await schedule(sql, "one", { at: "2027-03-01T12:02:00Z" });
  for (const name of ["m", "one"]) {
    assert.equal(await callValue(sql, "messenger_pause_schedule", { name }), true);
    assert.equal(await callValue(sql, "messenger_pause_schedule", { name }), false);
  }
  assert.equal(await tickAt(sql, "2027-03-01T12:10:30Z"), 0);
  for (const name of ["m", "one"]) {
    assert.equal(await callValue(sql, "messenger_resume_schedule", { name }), true);
    assert.equal(await callValue(sql, "messenger_resume_schedule", { name }), false);
  }
  assert.equal((await scheduleOf(sql, "m")).next_run_at.toISOString(), "2027-03-01T12:11:00.000Z");
  assert.equal(await tickAt(sql, "2027-03-01T12:10:31Z"), 1);
  assert.deepEqual(await firedRuns(sql, "one"), ["2027-03-01T12:02:00.000Z"]);
  assert.equal(await callValue(sql, "messenger_resume_schedule", { name: "one" }), false, "it is over");
});

test("unschedule · nothing more fires, stored messages stay", async () => {
  const { sql } = project();
  await schedule(sql, "m", { cron: "* * * * *" });
  await tickAt(sql, "2027-03-01T12:01:00Z");
  assert.equal(await callValue(sql, "messenger_unschedule", { name: "m" }), true);
  assert.equal(await callValue(sql, "messenger_unschedule", { name: "m" }), false);
  assert.equal(await tickAt(sql, "2027-03-01T12:05:00Z"), 0);
  assert.equal((await firedRuns(sql, "m")).length, 1);
});

test("unschedule · a name that is used again has its own occurrences, and the audit agrees", async () => {
  const { sql } = project();
  for (let round = 0; round < 2; round++) {
    await schedule(sql, "again", { at: "2027-03-01T12:01:00Z" });
    assert.equal(await tickAt(sql, "2027-03-01T12:01:00Z"), 1);
    await callValue(sql, "messenger_unschedule", { name: "again" });
  }
  assert.equal((await firedRuns(sql, "again")).length, 2);
  assert.equal((await sql`select from messenger_audit() where violations > 0`).length, 0);
});

test("preview · returns count rows from a time on, within limits and max_runs", async () => {
  const { sql } = project();
  const at = async (...args: Parameters<typeof preview>) => (await preview(...args)).map(({ at }) => at);
  assert.deepEqual(await at(sql, { cron: "0 0 1 * *" }, "2027-01-01T00:00:00Z", 2), [
    "2027-02-01T00:00:00.000Z",
    "2027-03-01T00:00:00.000Z",
  ]);
  assert.deepEqual(await at(sql, { at: "2027-02-01T00:00:00Z" }, "2027-01-01T00:00:00Z", 5), [
    "2027-02-01T00:00:00.000Z",
  ]);
  const every = { interval: 90_000, startAt: "2027-01-01T00:00:00Z" };
  assert.deepEqual(await at(sql, every, "2027-01-01T00:00:00Z", 10, { max_runs: 2 }), [
    "2027-01-01T00:01:30.000Z",
    "2027-01-01T00:03:00.000Z",
  ]);
  assert.deepEqual(await at(sql, every, "2027-01-01T00:00:00Z", 10, { ends_at: "2027-01-01T00:01:30Z" }), [
    "2027-01-01T00:01:30.000Z",
  ]);
  assert.equal((await sql`select * from messenger_schedule_preview('{"cron": "* * * * *"}')`).length, 10);
  assert.equal((await sql`select from messenger_schedules`).length, 0);
});

test("schedule · a changed max_runs that is already reached is rejected", async () => {
  const { sql } = project();
  await schedule(sql, "m", { cron: "* * * * *" }, { max_runs: 1 });
  await tickAt(sql, "2027-03-01T12:01:00Z");
  assert.equal((await scheduleOf(sql, "m")).enabled, false);
  await assertRejected(schedule(sql, "m", { cron: "0 * * * *" }, { max_runs: 1 }), "SM_SCHEDULE");
  assert.equal((await schedule(sql, "m", { cron: "* * * * *" }, { max_runs: 2 })).enabled, true);
});
