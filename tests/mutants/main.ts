// `npm run mutants`: plants one bug after the other and asks whether the tests notice. Exit 0 only when every one is killed.
import { parseArgs } from "node:util";
import { ensureTemplate } from "../project.ts";
import { newBar, newTable } from "../terminal.ts";
import { type Mutant, plant, readSchemas } from "./mutant.ts";
import { MUTANTS } from "./mutants.ts";
import { type Trial, tryOut } from "./trial.ts";

const USAGE = `npm run mutants -- [--list] [--only <part of a name>]... [--jobs <n>] [--why]
  --list   names the planted bugs and the promises they break
  --only   those whose names contain it
  --jobs   at a time (2)
  --why    shows also what the failing test said`;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    list: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    jobs: { type: "string", default: "2" },
    why: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const chosen = MUTANTS.filter(({ name }) =>
  values.only.length === 0 || values.only.some((part) => name.includes(part))
);
const jobs = Number(values.jobs);
if (values.help || chosen.length === 0 || !Number.isInteger(jobs) || jobs < 1) {
  console.error(chosen.length === 0 ? `No name contains ${values.only.join(" or ")}.\n\n${USAGE}` : USAGE);
  Deno.exit(2);
}
if (values.list) {
  for (const { name, breaks } of chosen) console.log(`${name}\n    ${breaks}`);
  Deno.exit(0);
}

const started = Date.now();
await ensureTemplate();
const files = [...new Set(chosen.flatMap(({ noticedBy }) => noticedBy))].sort();
console.log(`${chosen.length} planted bugs, ${files.length} test files. First the files as they are:`);
const sound = await tryOut(files);
if (sound.verdict !== "survived") {
  console.error(
    `They fail without a planted bug, so their failing would prove nothing:\n  ${sound.by}\n  ${sound.because}`,
  );
  Deno.exit(1);
}
console.log(`they pass (${sound.seconds.toFixed(0)} s).`);

const trials = new Map<Mutant, Trial>();
const bar = newBar("mutants");
bar.start(chosen.length, 0);
const waiting = [...chosen];
await Promise.all(Array.from({ length: jobs }, async () => {
  for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) {
    trials.set(mutant, await tryPlanted(mutant));
    bar.increment();
  }
}));
bar.stop();

const table = newTable(["planted bug", "", "first test that fails", "s"], 3);
for (const mutant of chosen) {
  const { verdict, by, because, seconds } = trials.get(mutant)!; // each was tried
  const word = { killed: "killed", survived: "SURVIVED", broken: "BROKEN" }[verdict];
  table.push([mutant.name, word, values.why ? `${by}\n${because.slice(0, 150)}` : by, seconds.toFixed(1)]);
}
const count = (wanted: Trial["verdict"]) => [...trials.values()].filter(({ verdict }) => verdict === wanted).length;
console.log(`\n${table}\n`);
const [killed, survived, broken] = [count("killed"), count("survived"), count("broken")];
console.log(
  `${killed} killed, ${survived} survived, ${broken} broken, in ${Math.round((Date.now() - started) / 1_000)} s`,
);
Deno.exit(killed === chosen.length ? 0 : 1);

async function tryPlanted(mutant: Mutant): Promise<Trial> {
  try {
    plant(mutant, readSchemas());
  } catch (error) {
    return { verdict: "broken", by: error instanceof Error ? error.message : String(error), because: "", seconds: 0 };
  }
  return await tryOut(mutant.noticedBy, mutant.name);
}
