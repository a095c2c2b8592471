// `npm run bench`: the hot path against graphile-worker and pg-boss, in one database, in turn. Exit 0 only when every row could be measured.
import { parseArgs } from "node:util";
import { drawChart } from "./chart.ts";
import { writeDocument } from "./document.ts";
import { describeMachine } from "./machine.ts";
import { claimRow } from "./rows/claim.ts";
import { delayedRow } from "./rows/delayed.ts";
import { concurrentRow, enqueueRow } from "./rows/enqueue.ts";
import { heldSnapshotRow } from "./rows/held_snapshot.ts";
import { activeRow, idleRow } from "./rows/latency.ts";
import { lookingRow } from "./rows/looking.ts";
import { pendingRow } from "./rows/pending.ts";
import { FULL, QUICK } from "./sizes.ts";
import { measureStage, type Outcome, type Stage } from "./stage.ts";
import { printLines } from "./terminal.ts";

const STAGES: Stage[] = [
  { apps: false, rows: [enqueueRow, concurrentRow, claimRow, delayedRow, pendingRow, heldSnapshotRow, activeRow] },
  { apps: true, rows: [idleRow, lookingRow] },
];
const NAMES = STAGES.flatMap(({ rows }) => rows.map(({ name }) => name));
const USAGE = `npm run bench -- [--quick] [--rounds <n>] [--only <row>]... [--write]
  --quick   a smoke run of every row in under a minute; its figures mean nothing
  --rounds  rounds of the rows that store no million messages (5)
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
const say = (step: string) => console.log(`${((Date.now() - started) / 1_000).toFixed(0).padStart(5)} s  ${step}`);
await Deno.remove(directory, { recursive: true }).catch(() => {});
const outcomes: Outcome[] = [];
for (const { apps, rows } of STAGES) {
  const wanted = rows.filter(({ name }) => only.length === 0 || only.includes(name));
  if (wanted.length > 0) outcomes.push(await measureStage({ apps, rows: wanted }, directory, sizes, say));
}
await Deno.remove(directory, { recursive: true });

const lines = outcomes.flatMap((outcome) => outcome.lines);
const failures = outcomes.flatMap((outcome) => outcome.failures);
printLines(lines);
if (quick) console.log("\nA smoke run: it shows that every row runs, its figures mean nothing.");
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
