// Hand-written cases of P10: the runs of schedules on days of clock changes, and that a preview matches the actual
// runs.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { firedRuns, moveTo, preview, schedule, tickAt } from "./schedule_clock.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

/** Local time, and a letter for the effect of the change: moved, 1st or 2nd of a doubled hour, skipped. */
async function runs(cron: string, timezone: string, from: string, count: number, options = {}): Promise<string[]> {
  const deadLetters: Record<string, string> = {
    "moved": " moved",
    "first of the doubled hour": " 1st",
    "second of the doubled hour": " 2nd",
    "skipped by DST": " skipped",
  };
  const rows = await preview(project().sql, { cron }, from, count, { timezone, ...options });
  return rows.map(({ local, note }) => local.slice(5) + (note === null ? "" : deadLetters[note]));
}

// Europe/Berlin: 2026-03-29 02:00 -> 03:00 (01:00Z), 2026-10-25 03:00 -> 02:00 (01:00Z).
const SPRING = "2026-03-28T12:00:00Z";
const AUTUMN = "2026-10-24T12:00:00Z";
const berlin: [what: string, cron: string, from: string, options: Record<string, string>, runs: string[]][] = [
  ["in a gap once, at the time the clock would have shown", "30 2 * * *", SPRING, {}, [
    "03-29 03:30 moved",
    "03-30 02:30",
  ]],
  ["not at all if gaps are skipped", "30 2 * * *", SPRING, { dst_gap: "skip" }, [
    "03-29 02:30 skipped",
    "03-30 02:30",
  ]],
  ["an occurrence that was due anyway only once", "30 2,3 * * *", SPRING, {}, ["03-29 03:30", "03-30 02:30"]],
  ["each quarter of a fixed hour moves separately", "*/15 2 * * *", SPRING, {}, [
    "03-29 03:00 moved",
    "03-29 03:15 moved",
    "03-29 03:30 moved",
    "03-29 03:45 moved",
    "03-30 02:00",
  ]],
  ["each quarter of a fixed hour is skipped separately", "*/30 2 * * *", SPRING, { dst_gap: "skip" }, [
    "03-29 02:00 skipped",
    "03-29 02:30 skipped",
    "03-30 02:00",
  ]],
  ["in a doubled hour the first", "30 2 * * *", AUTUMN, {}, ["10-25 02:30 1st", "10-26 02:30"]],
  ["in a doubled hour the second", "30 2 * * *", AUTUMN, { dst_overlap: "second" }, ["10-25 02:30 2nd", "10-26 02:30"]],
  ["in a doubled hour both", "30 2 * * *", AUTUMN, { dst_overlap: "both" }, [
    "10-25 02:30 1st",
    "10-25 02:30 2nd",
    "10-26 02:30",
  ]],
  ["quarters of a fixed doubled hour, the second time", "*/30 2 * * *", AUTUMN, { dst_overlap: "second" }, [
    "10-25 02:00 2nd",
    "10-25 02:30 2nd",
    "10-26 02:00",
  ]],
  ["every quarter, through the gap", "*/15 * * * *", "2026-03-29T00:31:00Z", {}, [
    "03-29 01:45",
    "03-29 03:00",
    "03-29 03:15",
  ]],
  ["every half hour, through the doubled hour", "*/30 * * * *", "2026-10-24T23:31:00Z", {}, [
    "10-25 02:00 1st",
    "10-25 02:30 1st",
    "10-25 02:00 2nd",
    "10-25 02:30 2nd",
    "10-25 03:00",
  ]],
  [
    "every two hours counts elapsed time, too: nothing moved, nothing left out",
    "0 */2 * * *",
    "2026-03-28T22:30:00Z",
    {},
    [
      "03-29 00:00",
      "03-29 04:00",
      "03-29 06:00",
    ],
  ],
  ["every two hours, through the doubled hour", "0 */2 * * *", "2026-10-24T22:30:00Z", {}, [
    "10-25 02:00 1st",
    "10-25 02:00 2nd",
    "10-25 04:00",
  ]],
];

test("dst · Berlin, by the table", async () => {
  for (const [what, cron, from, options, expected] of berlin) {
    const actual = await runs(cron, "Europe/Berlin", from, expected.length, options);
    assert.deepEqual(actual, expected, what);
  }
});

const elsewhere: [zone: string, cron: string, from: string, runs: string[]][] = [
  // Half an hour: 2026-10-04 02:00 -> 02:30, 2026-04-05 02:00 -> 01:30.
  ["Australia/Lord_Howe", "15,45 2 * * *", "2026-10-03T00:00:00Z", ["10-04 02:45", "10-05 02:15"]],
  ["Australia/Lord_Howe", "15 2 * * *", "2026-10-03T00:00:00Z", ["10-04 02:45 moved", "10-05 02:15"]],
  ["Australia/Lord_Howe", "45 1 * * *", "2026-04-04T00:00:00Z", ["04-05 01:45 1st", "04-06 01:45"]],
  ["Australia/Lord_Howe", "15 1 * * *", "2026-04-04T00:00:00Z", ["04-05 01:15", "04-06 01:15"]],
  // Two hours: 2025-03-30 01:00 -> 03:00.
  ["Antarctica/Troll", "30 1,2 * * *", "2025-03-29T12:00:00Z", [
    "03-30 03:30 moved",
    "03-30 04:30 moved",
    "03-31 01:30",
  ]],
  // At midnight: 2025-03-30 00:00 -> 01:00; 2025-10-26 00:00 -> 2025-10-25 23:00.
  ["Asia/Beirut", "0 0 * * *", "2025-03-29T12:00:00Z", ["03-30 01:00 moved", "03-31 00:00"]],
  ["Asia/Beirut", "30 23 * * *", "2025-10-25T12:00:00Z", ["10-25 23:30 1st", "10-26 23:30"]],
  ["Asia/Beirut", "0 0 * * *", "2025-10-25T12:00:00Z", ["10-26 00:00", "10-27 00:00"]],
  ["Africa/Cairo", "0 0 * * 5", "2025-04-24T12:00:00Z", ["04-25 01:00 moved", "05-02 00:00"]],
  // A day that did not exist: 2011-12-30.
  ["Pacific/Apia", "0 9 * * *", "2011-12-29T00:00:00Z", ["12-29 09:00", "12-31 09:00", "01-01 09:00"]],
  ["Pacific/Apia", "0 9 30 12 *", "2011-12-29T00:00:00Z", ["12-31 09:00 moved", "12-30 09:00"]],
  ["Pacific/Apia", "30 23 30 12 *", "2011-12-29T00:00:00Z", ["12-31 23:30 moved", "12-30 23:30"]],
  ["Pacific/Apia", "0 */6 * * *", "2011-12-30T00:00:00Z", ["12-29 18:00", "12-31 00:00"]],
  // A year without changes: Sao Paulo abolished its summer time in 2019.
  ["America/Sao_Paulo", "0 0 * * *", "2018-11-03T12:00:00Z", ["11-04 01:00 moved", "11-05 00:00"]],
  ["America/Sao_Paulo", "0 0 * * *", "2026-11-01T12:00:00Z", ["11-02 00:00", "11-03 00:00"]],
  ["UTC", "30 2 * * *", "2026-03-29T00:00:00Z", ["03-29 02:30", "03-30 02:30"]],
];

test("dst · half hours, two hours, midnights and a missing day, by the table", async () => {
  for (const [zone, cron, from, expected] of elsewhere) {
    assert.deepEqual(await runs(cron, zone, from, expected.length), expected, `${cron} in ${zone}`);
  }
});

test("dst · four runs in each real hour of */15, on both days", async () => {
  for (const [from, hours] of [["2026-03-28T23:00:00Z", 23], ["2026-10-24T22:00:00Z", 25]] as const) {
    const rows = await preview(project().sql, { cron: "*/15 * * * *" }, from, hours * 4, { timezone: "Europe/Berlin" });
    const moments = rows.map(({ at }) => Date.parse(at ?? ""));
    assert.ok(moments.every((moment, n) => moment === Date.parse(from) + (n + 1) * 900_000));
    assert.match(rows[rows.length - 1].local, / 00:00$/);
  }
});

test("dst · an interval counts elapsed time", async () => {
  const rows = await preview(
    project().sql,
    { interval: 3_600_000, startAt: "2026-03-29T00:30:00+01:00" },
    "2026-03-28T23:00:00Z",
    4,
    { timezone: "Europe/Berlin" },
  );
  assert.deepEqual(rows.map(({ local }) => local.slice(11)), ["00:30", "01:30", "03:30", "04:30"]);
});

test("dst · the next run does not depend on the zone of the session", async () => {
  const { sql } = project();
  for (const zone of ["UTC", "Pacific/Apia", "America/New_York"]) {
    const [{ next }] = await sql.begin(async (tx) => {
      await tx`select set_config('timezone', ${zone}, true)`;
      return await tx`
        select extract(epoch from messenger.cron_next('30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z')) as next`;
    });
    assert.equal(new Date(1_000 * next).toISOString(), "2026-03-29T01:30:00.000Z");
  }
});

const both: [what: string, spec: Record<string, unknown>, from: string, until: string, options: object][] = [
  ["a nightly report", { cron: "30 2 * * *" }, "2027-03-26T12:00:00Z", "2027-03-31T00:00:00Z", {}],
  ["one that skips gaps", { cron: "30 2 * * *" }, "2027-03-26T12:00:00Z", "2027-03-31T00:00:00Z", { dst_gap: "skip" }],
  ["quarters of a fixed hour", { cron: "*/15 1-3 * * *" }, "2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z", {}],
  ["the second of the doubled", { cron: "30 2 * * *" }, "2027-10-29T12:00:00Z", "2027-11-02T00:00:00Z", {
    dst_overlap: "second",
  }],
  ["both of the doubled", { cron: "15,45 2 * * *" }, "2027-10-29T12:00:00Z", "2027-11-02T00:00:00Z", {
    dst_overlap: "both",
  }],
  ["elapsed hours", { cron: "0 * * * *" }, "2027-10-30T20:00:00Z", "2027-10-31T06:00:00Z", {}],
  [
    "a long interval",
    { interval: 5_400_000, startAt: "2027-03-27T20:00:00Z" },
    "2027-03-27T20:00:00Z",
    "2027-03-28T08:00:00Z",
    {},
  ],
  ["midnights", { cron: "0 0 * * *" }, "2025-03-28T12:00:00Z", "2025-04-01T12:00:00Z", { timezone: "Asia/Beirut" }],
  ["half an hour", { cron: "*/10 2 * * *" }, "2026-10-03T12:00:00Z", "2026-10-04T16:00:00Z", {
    timezone: "Australia/Lord_Howe",
  }],
];

test("preview · matches the actual runs, one by one", async () => {
  const { sql } = project();
  for (const [what, spec, from, until, options] of both) {
    await empty(sql);
    // With catch_up every due occurrence fires, so the ticks may be far apart.
    const settings = { timezone: "Europe/Berlin", misfire: "catch_up", ...options };
    const said = (await preview(sql, spec, from, 100, settings)).map(({ at }) => at)
      .filter((at) => at !== null).filter((at) => Date.parse(at) <= Date.parse(until));
    assert.ok(said.length > 2, what);
    await moveTo(sql, from);
    await schedule(sql, "s", spec, settings);
    for (let at = Date.parse(from); at < Date.parse(until); at += 4_800_000) await tickAt(sql, new Date(at));
    await tickAt(sql, until);
    assert.deepEqual(await firedRuns(sql, "s"), said, what);
  }
});
