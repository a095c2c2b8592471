// `npm run bench` compares the hot path with graphile-worker and pg-boss in one database, in turn. The exit code is 0
// only if every row could be measured.
import { parseArgs } from "node:util";
import { fetchEmbedded } from "../../supabase/local/embedded_postgres.mjs";
import { drawChart } from "./chart.ts";
import { documentOf } from "./document.ts";
import { describeMachine } from "./machine.ts";
import { loadResults, type Results, storeResults } from "./results.ts";
import { activeRow } from "./rows/active.ts";
import { claimRow } from "./rows/claim.ts";
import { delayedRow } from "./rows/delayed.ts";
import { enqueueRow } from "./rows/enqueue.ts";
import { firstCallsRow } from "./rows/first_calls.ts";
import { heldSnapshotRow } from "./rows/held_snapshot.ts";
import { concurrentRow, httpRow } from "./rows/http.ts";
import { idleRow } from "./rows/idle.ts";
import { monitorRow } from "./rows/monitor.ts";
import { pendingRow } from "./rows/pending.ts";
import { queuesRow } from "./rows/queues.ts";
import { waitingRow } from "./rows/waiting.ts";
import { readScale } from "./scale.ts";
import { FULL, QUICK } from "./sizes.ts";
import { type Outcome, type RowGroup, runRows } from "./run_rows.ts";
import { printLines } from "./terminal.ts";

const GROUPS: RowGroup[] = [
  {
    apps: false,
    rows: [
      enqueueRow,
      httpRow,
      concurrentRow,
      claimRow,
      firstCallsRow,
      delayedRow,
      queuesRow,
      pendingRow,
      heldSnapshotRow,
      activeRow,
      waitingRow,
    ],
  },
  { apps: true, rows: [idleRow, monitorRow] },
];
const NAMES = GROUPS.flatMap(({ rows }) => rows.map(({ name }) => name));
const USAGE = `npm run bench -- [--quick] [--rounds <n>] [--postgres <major>] [--only <row>]... [--write | --rewrite]
  --quick     a smoke run of every row in about a minute; its figures mean nothing
  --rounds    rounds of each row (default: 3)
  --postgres  15, 17 or 18 from npm (default: the PostgreSQL of this machine)
  --only      rows: ${NAMES.join(", ")}
  --write     writes docs/performance.md and docs/performance.svg (not with --only)
  --rewrite   writes them again from the last run with --write, after a change of their text`;

const root = new URL("../../", import.meta.url).pathname;
const directory = `${root}.symphony/bench`;
const stored = `${root}.symphony/bench_results.json`;
const options = readOptions();
if (typeof options === "string") {
  console.error(`${options}\n\n${USAGE}`);
  Deno.exit(2);
}
if (options.rewrite) {
  await writeDocument(await loadResults(stored));
  Deno.exit(0);
}
const { sizes, only, quick, write, postgres } = options;

const started = Date.now();
const report = (step: string) => console.log(`${((Date.now() - started) / 1_000).toFixed(0).padStart(5)} s  ${step}`);
await Deno.remove(directory, { recursive: true }).catch(() => {});
const outcomes: Outcome[] = [];
for (const { apps, rows } of GROUPS) {
  const wanted = rows.filter(({ name }) => only.length === 0 || only.includes(name));
  if (wanted.length === 0) continue;
  outcomes.push(await runRows({ apps, rows: wanted }, { directory, postgres }, sizes, report));
}
await Deno.remove(directory, { recursive: true });

const lines = outcomes.flatMap((outcome) => outcome.lines);
const failures = outcomes.flatMap((outcome) => outcome.failures);
printLines(lines);
console.log(`\nMeasured on ${outcomes[0].version}.`);
if (quick) console.log("This was a smoke run. It shows that every row runs; its figures mean nothing.");
if (write && failures.length === 0) {
  const minutes = (Date.now() - started) / 60_000;
  const machine = await describeMachine(root, outcomes[0].version);
  const results = { machine, date: new Date().toISOString(), quick, minutes, lines };
  await storeResults(stored, results);
  await writeDocument(results);
}
for (const failure of failures) console.error(`\nFailed: ${failure}`);
Deno.exit(failures.length === 0 ? 0 : 1);

async function writeDocument(results: Results): Promise<void> {
  const scale = await readScale(`${root}docs/scale.json`);
  await Deno.writeTextFile(`${root}docs/performance.md`, documentOf(results, scale));
  await Deno.writeTextFile(`${root}docs/performance.svg`, drawChart(results.lines));
  console.log("\nWrote docs/performance.md and docs/performance.svg.");
}

function readOptions() {
  try {
    const { values } = parseArgs({
      args: Deno.args,
      options: {
        quick: { type: "boolean", default: false },
        write: { type: "boolean", default: false },
        rewrite: { type: "boolean", default: false },
        rounds: { type: "string" },
        postgres: { type: "string" },
        only: { type: "string", multiple: true, default: [] },
      },
    });
    const { quick, write, rewrite, only } = values;
    const unknown = only.find((name) => !NAMES.includes(name));
    if (unknown !== undefined) return `There is no row ${unknown}.`;
    if (write && only.length > 0) return "--write needs every row.";
    const sizes = { ...quick ? QUICK : FULL };
    if (values.rounds !== undefined) {
      const rounds = Number(values.rounds);
      if (!Number.isInteger(rounds) || rounds < 1) return "--rounds must be a whole number from 1.";
      Object.assign(sizes, { rounds, heavyRounds: rounds });
    }
    const postgres = values.postgres === undefined ? undefined : fetchEmbedded(Number(values.postgres));
    return { quick, write, rewrite, only, sizes, postgres };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
