// Every row of the long run can be measured, in sizes of a second.
import assert from "node:assert/strict";
import { test, useProject } from "../project.ts";
import { measureRow, ROWS } from "./rows.ts";
import { openSetup } from "./setup.ts";
import type { Sizes } from "./sizes.ts";

const project = useProject();
const SMALL: Sizes = {
  calls: 1,
  queues: { count: 70, futureEach: 1, due: 5 },
  types: { few: 2, many: 20 },
  deadLetters: { stored: 500, requeued: 10, resolved: 100 },
  kept: { few: 100, many: 1_000, handled: 100, rounds: 1 },
  metrics: { days: 2, types: 1 },
  prune: { finished: 100, unfinished: 1_000 },
};

for (const row of ROWS) {
  test(`scale · the row ${row.name} measures a figure for each of its lines`, async () => {
    await using setup = await openSetup(project(), SMALL, () => {});
    const lines = await measureRow(setup, row);
    assert.ok(lines.length > 0);
    // A share of nothing is not a number; the server's CPU time has a resolution of 10 ms and may be 0 here.
    const missing = lines.filter(({ value, unit }) => unit !== "times" && !(value >= 0 && Number.isFinite(value)));
    assert.deepEqual(missing, []);
  });
}
