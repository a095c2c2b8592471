// Next runs computed in SQL against cron-parser: without clock changes the two agree, otherwise P10 decides and each
// difference has a rule. SYMPHONY_ORACLE=full: 10,000 expressions in 20 zones, about 5 minutes; run by `deno test -A`
// it prints its figures.
import assert from "node:assert/strict";
import { CronExpressionParser } from "cron-parser";
import { test, useProject } from "../../project.ts";
import { randomFrom, sampleExpressions, sampleMoment, sampleMutants, zones } from "./cron_cases.ts";
import { countsElapsed, nearChange, nextByWallClock, offsetAt, type Policies } from "./expected_runs.ts";

const full = Deno.env.get("SYMPHONY_ORACLE") === "full";
const SEED = 20261121;
const HOUR = 3_600_000; // ms
const DAY = 24 * HOUR;
const project = useProject();

interface Case extends Policies {
  expression: string;
  timezone: string;
  after: number;
}

/** Cases in which P10 and cron-parser differ by intention; the first rule that applies explains the difference. */
const RULES: [name: string, applies: (one: Case) => boolean][] = [
  [
    "an hour field of */n counts elapsed time; cron-parser treats all but * as fixed hours",
    ({ expression }) => countsElapsed(expression) && !isEveryHour(expression),
  ],
  [
    "the clock changes by something else than an hour; cron-parser knows whole hours and one landing hour",
    (one) => shiftNear(one) !== HOUR,
  ],
  [
    "the search starts within a day of a change; cron-parser finds changes by stepping over them",
    (one) => nearChange(one.timezone, one.after),
  ],
  [
    "the clock changes a minute past the hour; cron-parser checks whole hours",
    ({ timezone }) => timezone === "America/St_Johns",
  ],
];

function isEveryHour(expression: string): boolean {
  return CronExpressionParser.parse(expression, { tz: "UTC" }).fields.hour.values.length === 24;
}

function shiftNear({ timezone, after, expression, ...policies }: Case): number {
  const run = nextByWallClock(expression, timezone, after, policies);
  const shifts = [after, run].map((moment) =>
    Math.abs(offsetAt(timezone, moment - 26 * HOUR) - offsetAt(timezone, moment + 26 * HOUR))
  );
  return Math.max(...shifts);
}

/** Expressions that cron-parser accepts and SQL rejects; there are none the other way round. */
const REJECTED_HERE: [name: string, applies: (expression: string) => boolean][] = [
  ["fewer than five fields: cron-parser fills them up", (text) => text.trim().split(/\s+/).length < 5],
  ["H, a value by hash", (text) => /h/i.test(text.replace(/thu|mar/gi, ""))],
  ["an occurrence of a weekday that is not written digit#digit: 5#1e0, 05#2", (text) => /#(?![1-5]$)|\d\d#/.test(text)],
  [
    "letters that are no name by themselves: cron-parser reads janfeb as 12, 1jan as 11, */jan as */1",
    (text) => /[a-z]{3}\d|\d[a-z]{3}|[a-z]{6}|\/[a-z]/i.test(text),
  ],
  ["a day named twice that the only month does not have: cron-parser drops it first", (text) => {
    const fields = text.trim().split(/\s+/);
    return !understood(fields.with(-2, "*").join(" "));
  }],
];

async function nextInSql(cases: Case[]): Promise<(number | null)[]> {
  const column = (name: keyof Case) => cases.map((one) => one[name]);
  const rows = await project().sql`
    select extract(epoch from messenger.cron_next(c.expression, c.timezone, to_timestamp(c.after / 1000), c.gap,
      c.overlap)) * 1000 as run
    from unnest(${column("expression")}::text[], ${column("timezone")}::text[], ${column("after")}::float8[], ${
    column("gap")
  }::text[], ${column("overlap")}::text[]) with ordinality as c(expression, timezone, after, gap, overlap, ord)
    order by c.ord`;
  return rows.map(({ run }) => run === null ? null : Number(run));
}

/** Null if cron-parser finds no run, which happens at some changes of offset. */
function nextByCronParser({ expression, timezone, after }: Case): number | null {
  const runs = CronExpressionParser.parse(expression, { tz: timezone, currentDate: new Date(after) });
  try {
    return runs.next().getTime();
  } catch {
    return null;
  }
}

function understood(expression: string): boolean {
  try {
    CronExpressionParser.parse(expression).next();
    return true;
  } catch {
    return false;
  }
}

/** Expressions that both accept. */
function isPlain(expression: string): boolean {
  return understood(expression) && !REJECTED_HERE.some(([, applies]) => applies(expression));
}

/** Times within a day after each change of offset in a zone's years. */
function changesOf(timezone: string, from: number, to: number): number[] {
  const changes = [];
  for (let moment = Date.UTC(from, 0, 1); moment < Date.UTC(to + 1, 0, 1); moment += DAY) {
    if (offsetAt(timezone, moment) !== offsetAt(timezone, moment - DAY)) changes.push(moment - DAY / 2);
  }
  return changes;
}

function* casesOf(expressions: string[]): Generator<Case> {
  const random = randomFrom(SEED);
  const pick = <T>(...values: T[]) => values[Math.floor(random() * values.length)];
  for (const [timezone, from, to] of zones) {
    const changes = changesOf(timezone, from, to);
    for (const expression of expressions) {
      const plain = random() < 0.5;
      yield {
        expression,
        timezone,
        after: sampleMoment(from, to, changes, random),
        gap: plain ? "run_after" : pick("run_after", "skip"),
        overlap: plain ? "first" : pick("first", "second", "both"),
      };
    }
  }
}

const show = ({ expression, timezone, after, gap, overlap }: Case) =>
  `${expression} in ${timezone} after ${new Date(after).toISOString()} (${gap}, ${overlap})`;
const date = (moment: number | null) => moment === null ? "never" : new Date(moment).toISOString();

test("oracle · the next run is that of the wall clock, in every zone and through every change", async () => {
  const expressions = sampleExpressions(full ? 13_000 : 40, SEED).filter(isPlain).slice(0, 10_000);
  const explained = new Map<string, string[]>();
  const unexplained: string[] = [];
  let compared = 0;
  let batch: Case[] = [];
  const judge = async () => {
    const runs = await nextInSql(batch);
    batch.forEach((one, index) => {
      const expected = nextByWallClock(one.expression, one.timezone, one.after, one);
      const run = runs[index];
      if (run !== expected) unexplained.push(`${show(one)}: ${date(run)} in SQL, ${date(expected)} by the wall clock`);
      if (one.gap !== "run_after" || one.overlap !== "first") return;
      compared++;
      const theirs = nextByCronParser(one);
      if (theirs === run) return;
      const moments = [one.after, run, theirs].filter((moment) => moment !== null);
      const interferes = nearChange(one.timezone, ...moments);
      const rule = interferes ? RULES.find(([, applies]) => applies(one))?.[0] : undefined;
      const said = `${show(one)}: ${date(run)} in SQL, ${date(theirs)} by cron-parser`;
      if (rule) explained.set(rule, [...explained.get(rule) ?? [], said]);
      else unexplained.push(said);
    });
    batch = [];
  };
  for (const one of casesOf(expressions)) if (batch.push(one) === 5_000) await judge();
  await judge();
  if (full) {
    console.log(`${expressions.length} expressions in ${zones.length} zones, ${compared} compared with cron-parser`);
    for (const [rule, said] of explained) console.log(`${said.length}: ${rule}\n  ${said.slice(0, 3).join("\n  ")}`);
  }
  assert.deepEqual(unexplained.slice(0, 20), []);
  assert.ok(compared > 300);
});

test("oracle · exactly the expressions that cron-parser does not accept are rejected", async () => {
  const mutants = sampleMutants(full ? 50_000 : 1_000, SEED).filter((text) => !text.includes("\0"));
  const { sql } = project();
  await sql.unsafe(`
    create function pg_temp.accepts(expression text) returns boolean language plpgsql as $$
    begin
      return messenger.cron_next(expression, 'UTC', '2026-01-01T00:00:00Z') is not null;
    exception when sqlstate 'PT400' then
      return false;
    end $$`);
  const rows = await sql`
    select m.expression, pg_temp.accepts(m.expression) as accepted from unnest(${mutants}::text[]) as m(expression)`;
  const different = rows.filter(({ expression, accepted }) =>
    accepted !== understood(expression) &&
    (accepted || !REJECTED_HERE.some(([, applies]) => applies(expression)))
  );
  assert.deepEqual(different.map(({ expression, accepted }) => ({ expression, accepted })).slice(0, 20), []);
  assert.ok(rows.some(({ accepted }) => accepted) && rows.some(({ accepted }) => !accepted));
});
