// `npm run scale` measures how the bus grows: thousands of queues and types, a million dead letters, ten million kept
// messages, a year of metrics. The exit code is 0 only if every row could be measured.
import { parseArgs } from "node:util";
import { startProject } from "../../supabase/local/project.ts";
import { describeMachine } from "../bench/machine.ts";
import { storeScale } from "../bench/scale.ts";
import { newTable } from "../terminal.ts";
import { figure, type Line } from "./line.ts";
import { measureRow, ROWS } from "./rows.ts";
import { openSetup } from "./setup.ts";
import { FULL, QUICK } from "./sizes.ts";

const NAMES = ROWS.map(({ name }) => name);
const USAGE = `npm run scale -- [--quick] [--only <row>]... [--write]
  --quick  a smoke run of every row in under a minute; its figures mean nothing
  --only   rows: ${NAMES.join(", ")}
  --write  writes docs/scale.json, which docs/performance.md includes (not with --quick or --only)
The long run takes about 20 minutes and needs 25 GB of disk.`;

const root = new URL("../../", import.meta.url).pathname;
const directory = `${root}.symphony/scale`;
const options = readOptions();
if (typeof options === "string") {
  console.error(`${options}\n\n${USAGE}`);
  Deno.exit(2);
}
const { quick, only, write } = options;

const started = Date.now();
const report = (step: string) => console.log(`${((Date.now() - started) / 1_000).toFixed(0).padStart(5)} s  ${step}`);
const { lines, failures, postgres } = await measure();
print(lines);
if (quick) console.log("\nThis was a smoke run. It shows that every row runs; its figures mean nothing.");
if (write && failures.length === 0) {
  const machine = await describeMachine(root, postgres);
  const date = new Date().toISOString().slice(0, 10);
  const minutes = Math.round((Date.now() - started) / 60_000);
  await storeScale(`${root}docs/scale.json`, { lines, machine, date, minutes });
  console.log("\nWrote docs/scale.json. `npm run bench -- --write` copies its figures into docs/performance.md.");
}
for (const failure of failures) console.error(`\nFailed: ${failure}`);
Deno.exit(failures.length === 0 ? 0 : 1);

async function measure(): Promise<{ lines: Line[]; failures: string[]; postgres: string }> {
  await Deno.remove(directory, { recursive: true }).catch(() => {});
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => Deno.remove(directory, { recursive: true }));
  report("starting the project");
  const project = await startProject({
    directory,
    functions: false,
    // A checkpoint or an automatic vacuum during a measurement would count against it; the rows vacuum themselves.
    settings: { max_wal_size: "16GB", checkpoint_timeout: "1h", autovacuum: "off" },
  });
  cleanup.use(project);
  const interrupted = () => cleanup.disposeAsync().finally(() => Deno.exit(130));
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, interrupted);

  const setup = cleanup.use(await openSetup(project, quick ? QUICK : FULL, report));
  const lines: Line[] = [];
  const failures: string[] = [];
  for (const row of ROWS.filter(({ name }) => only.length === 0 || only.includes(name))) {
    report(row.name);
    try {
      lines.push(...await measureRow(setup, row));
    } catch (error) {
      failures.push(`${row.name}: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
    }
  }
  const [{ version }] = await setup.admin`select split_part(version(), ' (', 1) as version`;
  return { lines, failures, postgres: version };
}

function print(lines: readonly Line[]): void {
  const table = newTable(["", "", "figure"], 2);
  for (const { label, unit, value } of lines) table.push([label, unit, figure(value)]);
  console.log(`\n${table}`);
  for (const { label, note } of lines) if (note) console.log(`${label}: ${note}`);
}

function readOptions() {
  try {
    const { values: { quick, only, write } } = parseArgs({
      args: Deno.args,
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string", multiple: true, default: [] },
        write: { type: "boolean", default: false },
      },
    });
    const unknown = only.find((name) => !NAMES.includes(name));
    if (unknown !== undefined) return `There is no row ${unknown}.`;
    if (write && (quick || only.length > 0)) return "--write needs every row in full.";
    return { quick, only, write };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
