// Tests of the soak's measurement of the ticker's pace.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../project.ts";
import { TickMeter } from "./soak/ticks.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

/** Ticks the given number of seconds before now, as the ticker records them. */
async function tickedAt(ago: number[]): Promise<void> {
  await project().sql`
    insert into messenger.ticks (at, duration_ms)
    select messenger.now() - s * interval '1 second', 100 + s from unnest(${ago}::float[]) s order by s desc`;
}
const seconds = (from: number, to: number, step = 1) =>
  Array.from({ length: Math.round((from - to) / step) + 1 }, (_, n) => from - n * step);

test("pace · of a ticker that ticks each second, and of one that misses every third", async () => {
  const { sql } = project();
  const steady = new TickMeter();
  await tickedAt(seconds(25, 0));
  await steady.read(sql);
  const { ticksPerMinute, longestTick } = steady.pace();
  assert(ticksPerMinute >= 58 && ticksPerMinute <= 60, `${ticksPerMinute}`);
  assert.equal(longestTick, 125);

  await empty(sql);
  const slow = new TickMeter();
  await tickedAt(seconds(25, 0).filter((_, n) => n % 3 !== 1));
  await slow.read(sql);
  const pace = slow.pace();
  assert(pace.ticksPerMinute >= 36 && pace.ticksPerMinute <= 42, `${pace.ticksPerMinute}`);
});

test("pace · missing ticks at the end of an interval count, those while the ticker is stopped do not", async () => {
  const { sql } = project();
  const watch = new TickMeter();
  await tickedAt(seconds(25, 13));
  await watch.read(sql);
  watch.stop();
  await tickedAt([2, 1, 0]);
  await watch.read(sql);
  watch.resume();
  await tickedAt([0.5, 0.2]);
  await watch.read(sql);
  const { ticksPerMinute, seconds: judged } = watch.pace();
  assert(ticksPerMinute >= 27 && ticksPerMinute <= 30, `${ticksPerMinute}`);
  assert(judged >= 24 && judged <= 27, `${judged}`);
});

test("pace · ticks of a table that a crash has emptied are new ones", async () => {
  const { sql } = project();
  const watch = new TickMeter();
  await tickedAt(seconds(20, 11));
  await watch.read(sql);
  await sql`truncate messenger.ticks restart identity`;
  await tickedAt(seconds(10, 5));
  await watch.read(sql);
  await tickedAt(seconds(4, 0));
  await watch.read(sql);
  const { ticksPerMinute } = watch.pace();
  assert(ticksPerMinute >= 57 && ticksPerMinute <= 60, `${ticksPerMinute}`);
});
