// The rows of the long run, in their order: the largest last.
import { deadLettersRow } from "./rows/dead_letters.ts";
import { keptRow } from "./rows/kept.ts";
import { metricsRow } from "./rows/metrics.ts";
import { pruneRow } from "./rows/prune.ts";
import { queuesRow } from "./rows/queues.ts";
import { typesRow } from "./rows/types.ts";
import type { Line } from "./line.ts";
import { clear, type Row, type ScaleSetup } from "./setup.ts";

export const ROWS: readonly Row[] = [queuesRow, typesRow, metricsRow, pruneRow, deadLettersRow, keptRow];

/** Measures a row in an empty database. */
export async function measureRow(setup: ScaleSetup, row: Row): Promise<Line[]> {
  await clear(setup);
  return await row.measure(setup);
}
