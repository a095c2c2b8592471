// How the soak judges the ticker's pace.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../project.ts";
import { TickWatch } from "./soak/ticks.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

/** Ticks so many seconds before now, as the ticker notes them. */
async function tickedAt(ago: number[]): Promise<void> {
  await project().sql`
    insert into messenger.ticks (at, duration_ms)
    select messenger.now() - s * interval '1 second', 100 + s from unnest(${ago}::float[]) s order by s desc`;
}
const seconds = (from: number, to: number, step = 1) =>
  Array.from({ length: Math.round((from - to) / step) + 1 }, (_, n) => from - n * step);

test("pace · of a ticker that ticks each second, and of one that misses every third", async () => {
  const { sql } = project();
  const steady = new TickWatch();
  await tickedAt(seconds(25, 0));
  await steady.look(sql);
  const { ticksPerMinute, longestTick } = steady.pace();
  assert(ticksPerMinute >= 58 && ticksPerMinute <= 60, `${ticksPerMinute}`);
  assert.equal(longestTick, 125);

  await empty(sql);
  const slow = new TickWatch();
  await tickedAt(seconds(25, 0).filter((_, n) => n % 3 !== 1));
  await slow.look(sql);
  const pace = slow.pace();
  assert(pace.ticksPerMinute >= 36 && pace.ticksPerMinute <= 42, `${pace.ticksPerMinute}`);
});

test("pace · silence at the end of a stretch counts, and what comes while the ticker is stopped does not", async () => {
  const { sql } = project();
  const watch = new TickWatch();
  await tickedAt(seconds(25, 13));
  await watch.look(sql);
  watch.stop();
  await tickedAt([2, 1, 0]);
  await watch.look(sql);
  watch.resume();
  await tickedAt([0.5, 0.2]);
  await watch.look(sql);
  const { ticksPerMinute, seconds: judged } = watch.pace();
  assert(ticksPerMinute >= 27 && ticksPerMinute <= 30, `${ticksPerMinute}`);
  assert(judged >= 24 && judged <= 27, `${judged}`);
});

test("pace · ticks of a table that a crash has emptied are new ones", async () => {
  const { sql } = project();
  const watch = new TickWatch();
  await tickedAt(seconds(20, 11));
  await watch.look(sql);
  await sql`truncate messenger.ticks restart identity`;
  await tickedAt(seconds(10, 5));
  await watch.look(sql);
  await tickedAt(seconds(4, 0));
  await watch.look(sql);
  const { ticksPerMinute } = watch.pace();
  assert(ticksPerMinute >= 57 && ticksPerMinute <= 60, `${ticksPerMinute}`);
});
