// Occurrences after an outage (misfire), and while the previous message is unfinished (overlap).
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { claim, settle } from "../bus.ts";
import { firedRuns, moveTo, schedule, tickAt } from "./schedule_clock.ts";

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

test("misfire · three hours down on a minute schedule: fire_once 1, skip 0, catch_up its maximum", async () => {
  const { sql } = project();
  await schedule(sql, "once", minutely);
  await schedule(sql, "skip", minutely, { misfire: "skip" });
  await schedule(sql, "all", minutely, { misfire: "catch_up", catch_up_limit: 1000 });
  await schedule(sql, "cap", minutely, { misfire: "catch_up", catch_up_limit: 3 });
  assert.equal(await tickAt(sql, "2027-03-01T15:00:10Z"), 1 + 0 + 180 + 3);
  assert.deepEqual(await firedRuns(sql, "once"), ["2027-03-01T15:00:00.000Z"]);
  assert.deepEqual(await firedRuns(sql, "skip"), []);
  const all = await firedRuns(sql, "all");
  assert.deepEqual([all.length, all[0], all[179]], [180, "2027-03-01T12:01:00.000Z", "2027-03-01T15:00:00.000Z"]);
  assert.deepEqual(await firedRuns(sql, "cap"), all.slice(-3));
  assert.equal(await tickAt(sql, "2027-03-01T15:00:30Z"), 0);
  assert.equal(await tickAt(sql, "2027-03-01T15:01:00Z"), 4, "all continue with the next minute");
});

test("misfire · skip fires occurrences within its grace, an hourly run after an outage included", async () => {
  const { sql } = project();
  await schedule(sql, "minute", minutely, { misfire: "skip" });
  await schedule(sql, "hour", { cron: "0 * * * *" }, { misfire: "skip" });
  await schedule(sql, "patient", minutely, { misfire: "skip", misfire_grace_ms: 7_200_000 });
  await schedule(sql, "strict", minutely, { misfire: "skip", misfire_grace_ms: 0 });
  await schedule(sql, "one", { at: "2027-03-01T12:01:00Z" }, { misfire: "skip" });
  await tickAt(sql, "2027-03-01T12:01:30Z");
  assert.deepEqual(await firedRuns(sql, "minute"), ["2027-03-01T12:01:00.000Z"]);
  assert.deepEqual(await firedRuns(sql, "one"), ["2027-03-01T12:01:00.000Z"]);
  assert.equal((await firedRuns(sql, "strict")).length, 0);
  await tickAt(sql, "2027-03-01T13:00:20Z");
  assert.deepEqual(await firedRuns(sql, "hour"), ["2027-03-01T13:00:00.000Z"]);
  assert.equal((await firedRuns(sql, "patient")).length, 60);
  assert.equal((await firedRuns(sql, "minute")).length, 1);
});

test("misfire · the occurrences of an outage of years are found without a scan through them", async () => {
  const { sql } = project();
  await schedule(sql, "second", { cron: "* * * * * *" });
  await schedule(sql, "leap", { cron: "0 0 29 2 *" });
  await schedule(sql, "caught", { cron: "*/7 * * * * *" }, { misfire: "catch_up", catch_up_limit: 5 });
  assert.equal(await tickAt(sql, "2036-05-01T00:00:00.9Z"), 7);
  assert.deepEqual(await firedRuns(sql, "second"), ["2036-05-01T00:00:00.000Z"]);
  assert.deepEqual(await firedRuns(sql, "leap"), ["2036-02-29T00:00:00.000Z"]);
  assert.deepEqual((await firedRuns(sql, "caught")).map((at) => at.slice(14, 19)), [
    "59:35",
    "59:42",
    "59:49",
    "59:56",
    "00:00",
  ]);
});

test("overlap · skip waits until the previous message is finished, allow does not", async () => {
  const { sql } = project();
  await schedule(sql, "m", minutely, { overlap: "skip" });
  await schedule(sql, "free", minutely);
  await tickAt(sql, "2027-03-01T12:01:00Z");
  await tickAt(sql, "2027-03-01T12:02:00Z");
  assert.equal((await firedRuns(sql, "m")).length, 1);
  assert.equal((await firedRuns(sql, "free")).length, 2);
  const rows = await claim(sql);
  await tickAt(sql, "2027-03-01T12:03:00Z");
  assert.equal((await firedRuns(sql, "m")).length, 1, "running is unfinished, too");
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" })));
  await tickAt(sql, "2027-03-01T12:04:00Z");
  assert.deepEqual(await firedRuns(sql, "m"), ["2027-03-01T12:01:00.000Z", "2027-03-01T12:04:00.000Z"]);
});

test("overlap · replace cancels the waiting message, and not a running one", async () => {
  const { sql } = project();
  const states = async () =>
    (await sql`select status, error_class from messenger_messages order by headers ->> 'x-scheduled-for'`).map((
      { status, error_class },
    ) => error_class ?? status);
  await schedule(sql, "m", minutely, { overlap: "replace" });
  await tickAt(sql, "2027-03-01T12:01:00Z");
  await tickAt(sql, "2027-03-01T12:02:00Z");
  assert.deepEqual(await states(), ["Cancelled", "pending"]);
  await claim(sql);
  await tickAt(sql, "2027-03-01T12:02:30Z");
  await tickAt(sql, "2027-03-01T12:03:00Z");
  assert.deepEqual(await states(), ["Cancelled", "processing", "pending"]);
});

test("overlap · after an outage, skip and replace make one message", async () => {
  const { sql } = project();
  const all = { misfire: "catch_up" };
  await schedule(sql, "skip", minutely, { ...all, overlap: "skip" });
  await schedule(sql, "replace", minutely, { ...all, overlap: "replace" });
  assert.equal(await tickAt(sql, "2027-03-01T12:05:10Z"), 2);
  assert.deepEqual(await firedRuns(sql, "skip"), ["2027-03-01T12:01:00.000Z"]);
  assert.deepEqual(await firedRuns(sql, "replace"), ["2027-03-01T12:05:00.000Z"]);
});
