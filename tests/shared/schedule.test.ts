// Schedules from TypeScript: the same input is rejected as in SQL, and the typed client saves, previews and removes
// them.
import assert from "node:assert/strict";
import { z } from "zod";
import { createSymphony } from "../../shared/client.ts";
import { connect } from "../../shared/db.ts";
import { type ErrorCode, SymphonyError } from "../../shared/errors.ts";
import { defineMessage } from "../../shared/message.ts";
import { type ScheduleRequest, toScheduleArgs } from "../../shared/schedule.ts";
import { empty, test, useProject } from "../project.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));
const symphony = () => createSymphony(connect({ url: project().url, key: project().secretKey }));

const report = defineMessage({ type: "Report", payload: z.object({ to: z.string() }), handle: () => {} });
const sweep = defineMessage({ type: "Sweep", payload: z.object({}), handle: () => {} });

const errors: [what: string, when: Record<string, unknown>, code: ErrorCode][] = [
  ["numbers out of range", { cron: "99 99 * * *" }, "SM_CRON"],
  ["four fields", { cron: "* * * *" }, "SM_CRON"],
  ["@reboot", { cron: "@reboot" }, "SM_CRON"],
  ["a value by hash", { cron: "H * * * *" }, "SM_CRON"],
  ["names run together", { cron: "0 0 * janfeb *" }, "SM_CRON"],
  ["a value twice", { cron: "0 0 * * 0,7" }, "SM_CRON"],
  ["a fraction of an occurrence", { cron: "0 0 * * 5#1e0" }, "SM_CRON"],
  ["a day that does not exist", { cron: "0 0 31 2 *" }, "SM_CRON_NEVER"],
  ["cron as a number", { cron: 5 }, "SM_CRON"],
  ["interval 0", { interval: 0 }, "SM_INTERVAL"],
  ["interval -1", { interval: -1 }, "SM_INTERVAL"],
  ["interval 1", { interval: 1 }, "SM_INTERVAL"],
  ["interval 10^12", { interval: 1e12 }, "SM_INTERVAL"],
  ["interval 1500.5", { interval: 1500.5 }, "SM_INTERVAL"],
  ["at without a zone", { at: "2030-01-01T00:00:00" }, "SM_SCHEDULE"],
  ["startAt without an interval", { cron: "* * * * *", startAt: "2030-01-01T00:00:00Z" }, "SM_SCHEDULE"],
  ["no kind", {}, "SM_SCHEDULE"],
  ["two kinds", { cron: "* * * * *", interval: 60_000 }, "SM_SCHEDULE"],
  ["a zone by POSIX", { cron: "* * * * *", timezone: "Foo+99" }, "SM_TIMEZONE"],
  ["a zone with an offset", { cron: "* * * * *", timezone: "EST5EDT4" }, "SM_TIMEZONE"],
  ["an abbreviation", { cron: "* * * * *", timezone: "EST" }, "SM_TIMEZONE"],
  ["an offset", { cron: "* * * * *", timezone: "+02:00" }, "SM_TIMEZONE"],
  ["an empty zone", { cron: "* * * * *", timezone: "" }, "SM_TIMEZONE"],
  ["max_runs 0", { cron: "* * * * *", maxRuns: 0 }, "SM_SCHEDULE"],
  ["an unknown policy", { cron: "* * * * *", misfire: "panic" }, "SM_SCHEDULE"],
  ["an unknown field", { cron: "* * * * *", every: 5 }, "SM_UNKNOWN_FIELD"],
];

Deno.test("schedule · input is rejected by code before any call", () => {
  for (const [what, when, code] of errors) {
    assert.throws(() => toScheduleArgs(when), (error) => error instanceof SymphonyError && error.code === code, what);
  }
});

Deno.test("schedule · every field of a request has its own column", () => {
  const [startsAt, endsAt] = ["2030-01-01T00:00:00Z", "2031-01-01T00:00:00+02:00"];
  const request: Required<Omit<ScheduleRequest, "interval" | "startAt" | "at">> = {
    cron: "* * * * *",
    name: "by night",
    timezone: "Europe/Berlin",
    transport: "a",
    queue: "b",
    headers: { c: 1 },
    enabled: false,
    maxRuns: 2,
    startsAt,
    endsAt,
    misfire: "catch_up",
    misfireGrace: 3,
    catchUpLimit: 4,
    dstGap: "skip",
    dstOverlap: "both",
    overlap: "replace",
    jitter: 5,
  };
  assert.deepEqual(JSON.parse(JSON.stringify(toScheduleArgs(request))), {
    name: "by night",
    schedule: { cron: "* * * * *" },
    timezone: "Europe/Berlin",
    options: {
      transport_name: "a",
      queue_name: "b",
      headers: { c: 1 },
      enabled: false,
      max_runs: 2,
      starts_at: startsAt,
      ends_at: endsAt,
      misfire: "catch_up",
      misfire_grace_ms: 3,
      catch_up_limit: 4,
      dst_gap: "skip",
      dst_overlap: "both",
      overlap: "replace",
      jitter_ms: 5,
    },
  });
});

Deno.test("schedule · an interval may have a start; the zone is UTC by default, absent fields are not sent", () => {
  const sent = (when: ScheduleRequest) => JSON.parse(JSON.stringify(toScheduleArgs(when)));
  const startAt = "2030-01-01T00:00:00Z";
  const nothing = { timezone: "UTC", options: {} };
  assert.deepEqual(sent({ interval: 60_000, startAt }), { schedule: { interval: 60_000, startAt }, ...nothing });
  assert.deepEqual(sent({ at: startAt }), { schedule: { at: startAt }, ...nothing });
});

const expressions = [
  "* * * * *",
  "*/5 9-17 * * MON-fri",
  "0 0 L * ?",
  "0 0 15,L * *",
  "0 0 * * 5L",
  "0 0 * * friL,1",
  "0 0 * * mon#1",
  "30 0 0 1 jan,JUL *",
  "5/10 * * * *",
  "@daily",
  "@Midnight",
  " @hourly ",
  "0 0 31 2 1",
];

test("schedule · input that passes has the same meaning in SQL", async () => {
  const { sql } = project();
  for (const cron of expressions) {
    const { schedule } = toScheduleArgs({ cron });
    const rows = await sql`select run_at from messenger_schedule_preview(${sql.json(schedule as never)})`;
    assert.equal(rows.length, 10, cron);
  }
  for (const [what, { cron }, code] of errors) {
    if (typeof cron !== "string" || !code.startsWith("SM_CRON")) continue;
    const error = await sql`select messenger.cron_next(${cron}, 'UTC', now()) as next`.then(
      ([{ next }]) => next === null ? "SM_CRON_NEVER" : "none",
      (error) => error.detail,
    );
    assert.equal(error, code, what);
  }
});

test("client · saves a schedule under its type's name or its own, and returns its row", async () => {
  const row = await symphony().schedule(report, {
    cron: "0 9 * * mon-fri",
    timezone: "Europe/Berlin",
    queue: "reports",
    maxRuns: 5,
    misfire: "catch_up",
    misfireGrace: 5_000,
    jitter: 1_000,
    headers: { "x-team": "blue" },
  }, { to: "Ada" });
  assert.deepEqual(
    [row.name, row.message_type, row.timezone, row.body, row.queue_name, row.max_runs, row.misfire, row.jitter_ms],
    ["Report", "Report", "Europe/Berlin", { to: "Ada" }, "reports", 5, "catch_up", 1_000],
  );
  assert.deepEqual([row.schedule_config, row.headers], [{ cron: "0 9 * * mon-fri" }, { "x-team": "blue" }]);
  const other = await symphony().schedule(sweep, { name: "sweep by night", interval: 60_000 });
  assert.deepEqual([other.name, other.body, other.schedule_config], ["sweep by night", {}, { interval: 60_000 }]);
  assert.equal(await symphony().unschedule("Report"), true);
  assert.equal(await symphony().unschedule("Report"), false);
});

test("client · lists schedules by name, pauses, resumes and removes them", async () => {
  const later = await symphony().schedule(sweep, { name: "b", interval: 60_000 });
  const sooner = await symphony().schedule(report, { name: "a", cron: "0 9 * * mon-fri" }, { to: "Ada" });
  const notYet = { last_message_id: null, last_message_status: null };
  assert.deepEqual(await symphony().schedules(), [{ ...sooner, ...notYet }, { ...later, ...notYet }]);
  assert.deepEqual([await symphony().pauseSchedule("b"), await symphony().pauseSchedule("b")], [true, false]);
  assert.deepEqual((await symphony().schedules()).map(({ name, enabled }) => [name, enabled]), [["a", true], [
    "b",
    false,
  ]]);
  assert.deepEqual([await symphony().resumeSchedule("b"), await symphony().resumeSchedule("b")], [true, false]);
  assert.equal(await symphony().unschedule("a"), true);
  assert.deepEqual((await symphony().schedules()).map(({ name, enabled }) => [name, enabled]), [["b", true]]);
  for (const change of [symphony().pauseSchedule("a"), symphony().resumeSchedule("a")]) {
    await assert.rejects(change, (error) => error instanceof SymphonyError && error.code === "SM_NOT_FOUND");
  }
});

test("client · lists more schedules than a page holds", async () => {
  await project().sql`
    select messenger_schedule('s' || to_char(n, 'FM0000'), 'Sweep', '{"interval": 60000}')
      from generate_series(1, 1001) n`;
  const names = (await symphony().schedules()).map(({ name }) => name);
  assert.deepEqual([names.length, names[0], names.at(-1)], [1_001, "s0001", "s1001"]);
});

test("client · previews without saving", async () => {
  const runs = await symphony().preview({ cron: "30 2 * * *", timezone: "Europe/Berlin", dstGap: "skip" }, {
    from: "2027-03-27T12:00:00Z",
    count: 2,
  });
  assert.deepEqual(runs.map(({ run_at, note }) => [run_at && new Date(run_at).toISOString(), note]), [
    [null, "skipped by DST"],
    ["2027-03-29T00:30:00.000Z", null],
  ]);
  assert.equal((await project().sql`select from messenger_schedules`).length, 0);
});

test("client · errors of the payload and of the database are those of a dispatch", async () => {
  const code = (work: Promise<unknown>) => work.then(() => "none", (error: SymphonyError) => error.code);
  const when: ScheduleRequest = { cron: "* * * * *" };
  assert.equal(await code(symphony().schedule(report, when)), "SM_PAYLOAD");
  assert.equal(await code(symphony().schedule(sweep, { ...when, name: "a/b" })), "SM_SCHEDULE");
  assert.equal(await code(symphony().schedule(sweep, { ...when, transport: "pigeon" })), "SM_TRANSPORT");
  assert.equal(await code(symphony().schedule(sweep, { ...when, jitter: 90_000 })), "SM_SCHEDULE");
  assert.equal(await code(symphony().schedule(sweep, { ...when, timezone: "Factory" })), "SM_TIMEZONE");
  assert.equal((await project().sql`select from messenger_schedules`).length, 0);
});
