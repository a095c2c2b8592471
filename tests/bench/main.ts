// `npm run bench` compares the hot path with graphile-worker and pg-boss in one database, in turn. The exit code is 0
// only if every row could be measured.
import { parseArgs } from "node:util";
import { drawChart } from "./chart.ts";
import { writeDocument } from "./document.ts";
import { describeMachine } from "./machine.ts";
import { claimRow } from "./rows/claim.ts";
import { delayedRow } from "./rows/delayed.ts";
import { concurrentRow, enqueueRow } from "./rows/enqueue.ts";
import { heldSnapshotRow } from "./rows/held_snapshot.ts";
import { activeRow, idleRow } from "./rows/latency.ts";
import { monitorRow } from "./rows/monitor.ts";
import { pendingRow } from "./rows/pending.ts";
import { FULL, QUICK } from "./sizes.ts";
import { type Outcome, type RowGroup, runRows } from "./run_rows.ts";
import { printLines } from "./terminal.ts";

const GROUPS: RowGroup[] = [
  { apps: false, rows: [enqueueRow, concurrentRow, claimRow, delayedRow, pendingRow, heldSnapshotRow, activeRow] },
  { apps: true, rows: [idleRow, monitorRow] },
];
const NAMES = GROUPS.flatMap(({ rows }) => rows.map(({ name }) => name));
const USAGE = `npm run bench -- [--quick] [--rounds <n>] [--only <row>]... [--write]
  --quick   a smoke run of every row in under a minute; its figures mean nothing
  --rounds  rounds of the rows that do not store a million messages (default: 5)
  --only    rows: ${NAMES.join(", ")}
  --write   writes docs/performance.md and docs/performance.svg (not with --only)`;

const root = new URL("../../", import.meta.url).pathname;
const directory = `${root}.symphony/bench`;
const options = readOptions();
if (typeof options === "string") {
  console.error(`${options}\n\n${USAGE}`);
  Deno.exit(2);
}
const { sizes, only, quick, write } = options;

const started = Date.now();
const report = (step: string) => console.log(`${((Date.now() - started) / 1_000).toFixed(0).padStart(5)} s  ${step}`);
await Deno.remove(directory, { recursive: true }).catch(() => {});
const outcomes: Outcome[] = [];
for (const { apps, rows } of GROUPS) {
  const wanted = rows.filter(({ name }) => only.length === 0 || only.includes(name));
  if (wanted.length > 0) outcomes.push(await runRows({ apps, rows: wanted }, directory, sizes, report));
}
await Deno.remove(directory, { recursive: true });

const lines = outcomes.flatMap((outcome) => outcome.lines);
const failures = outcomes.flatMap((outcome) => outcome.failures);
printLines(lines);
if (quick) console.log("\nThis was a smoke run. It shows that every row runs; its figures mean nothing.");
if (write && failures.length === 0) {
  const minutes = (Date.now() - started) / 60_000;
  await writeDocument(`${root}docs/performance.md`, lines, {
    machine: await describeMachine(root, outcomes[0].postgres),
    sizes,
    quick,
    minutes,
  });
  await Deno.writeTextFile(`${root}docs/performance.svg`, drawChart(lines));
  console.log("\nWrote docs/performance.md and docs/performance.svg.");
}
for (const failure of failures) console.error(`\nFailed: ${failure}`);
Deno.exit(failures.length === 0 ? 0 : 1);

function readOptions() {
  try {
    const { values } = parseArgs({
      args: Deno.args,
      options: {
        quick: { type: "boolean", default: false },
        write: { type: "boolean", default: false },
        rounds: { type: "string" },
        only: { type: "string", multiple: true, default: [] },
      },
    });
    const { quick, write, only } = values;
    const unknown = only.find((name) => !NAMES.includes(name));
    if (unknown !== undefined) return `There is no row ${unknown}.`;
    if (write && only.length > 0) return "--write needs every row.";
    const preset = quick ? QUICK : FULL;
    const rounds = Number(values.rounds ?? preset.rounds);
    if (!Number.isInteger(rounds) || rounds < 1) return "--rounds must be a whole number from 1.";
    return { quick, write, only, sizes: { ...preset, rounds } };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
