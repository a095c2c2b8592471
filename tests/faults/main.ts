// `npm run faults` runs the tests of every fault, then a soak under all faults. The exit code is 0 only if nothing was
// lost, doubled or left behind.
import { parseArgs } from "node:util";
import { ensureTemplate } from "../project.ts";
import { FAULTS } from "./catalogue.ts";
import { runFault } from "./run_fault.ts";
import { printSoak } from "./soak/report.ts";
import { soak } from "./soak/soak.ts";

const SOAK = "F19";
const NAMES = [...FAULTS.map(({ id }) => id), SOAK];
const USAGE = `npm run faults -- [--quick] [--messages <n>] [--only <fault>]... [--list]
  --quick     a soak of 6,000 messages instead of 100,000
  --messages  number of messages of the soak
  --only      ${NAMES.join(" ")}; ${SOAK} is the soak
  --list      prints the tests of each fault`;

const options = readOptions();
if (typeof options === "string") {
  console.error(`${options}\n\n${USAGE}`);
  Deno.exit(2);
}
const { only, messages, list } = options;
const chosen = FAULTS.filter(({ id }) => only.length === 0 || only.includes(id));
if (list) {
  for (const { id, what, tests } of chosen) {
    console.log(`${id}  ${what}`);
    for (const [file, names] of Object.entries(tests)) for (const name of names) console.log(`      ${file}: ${name}`);
  }
  Deno.exit(0);
}

const started = Date.now();
await ensureTemplate();
let failed = 0;
for (const fault of chosen) {
  const { passed, skipped, problem, figures, seconds } = await runFault(fault);
  const outcome = problem ? "FAILED" : `${passed} passed${skipped ? `, ${skipped} SKIPPED` : ""}`;
  console.log(`${fault.id.padEnd(4)} ${fault.what.padEnd(66)} ${outcome} (${seconds.toFixed(0)} s)`);
  for (const line of problem ? [...figures, problem] : figures) console.log(`     ${line}`);
  if (problem) failed++;
}
if (only.length === 0 || only.includes(SOAK)) {
  console.log(`${SOAK}  a soak of ${messages} messages under all faults`);
  const rounds = messages < 30_000 ? 1 : 3;
  const directory = new URL("../../.symphony/faults", import.meta.url).pathname;
  const wrong = printSoak(await soak({ directory, messages, rounds }));
  for (const sentence of wrong) console.log(`Wrong: ${sentence}`);
  if (wrong.length === 0) await Deno.remove(directory, { recursive: true });
  else failed++;
}
console.log(`\n${failed === 0 ? "Survived" : `${failed} FAILED`}, in ${Math.round((Date.now() - started) / 1_000)} s`);
Deno.exit(failed === 0 ? 0 : 1);

function readOptions() {
  try {
    const { values } = parseArgs({
      args: Deno.args,
      options: {
        quick: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        messages: { type: "string" },
        only: { type: "string", multiple: true, default: [] },
      },
    });
    const only = values.only.map((name) => name.toUpperCase());
    const unknown = only.find((name) => !NAMES.includes(name));
    if (unknown !== undefined) return `There is no fault ${unknown}.`;
    const messages = Number(values.messages ?? (values.quick ? 6_000 : 100_000));
    if (!Number.isInteger(messages) || messages < 1_000) return "--messages must be a whole number from 1000.";
    return { only, messages, list: values.list };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
