// `npm run mutants` plants one bug after the other and runs the tests that must notice it. The exit code is 0 if all
// are noticed.
import { parseArgs } from "node:util";
import { ensureTemplate } from "../project.ts";
import { newBar, newTable } from "../terminal.ts";
import { type Mutant, plant, readSchemas, type TypeScriptMutant } from "./mutant.ts";
import { MUTANTS } from "./mutants.ts";
import { copyTree, type Tree } from "./tree.ts";
import { type Trial, tryOut } from "./trial.ts";
import { TYPESCRIPT_MUTANTS } from "./typescript/mutants.ts";

const USAGE = `npm run mutants -- [--list] [--in <sql|typescript>] [--only <part of a name>]... [--jobs <n>] [--why]
  --list   lists the planted bugs and the promises they break
  --in     only the bugs in SQL, or only those in TypeScript
  --only   only the bugs whose names contain it
  --jobs   number of bugs tried at a time (default: 2)
  --why    shows the error of the failing test, too`;

const LANGUAGES = { sql: "SQL", typescript: "TypeScript" } as const;
type Language = keyof typeof LANGUAGES;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    list: { type: "boolean", default: false },
    in: { type: "string", multiple: true, default: Object.keys(LANGUAGES) },
    only: { type: "string", multiple: true, default: [] },
    jobs: { type: "string", default: "2" },
    why: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const chosen = [...MUTANTS, ...TYPESCRIPT_MUTANTS].filter((mutant) =>
  values.in.includes(languageOf(mutant)) &&
  (values.only.length === 0 || values.only.some((part) => mutant.name.includes(part)))
);
const jobs = Number(values.jobs);
if (values.help || chosen.length === 0 || !Number.isInteger(jobs) || jobs < 1) {
  console.error(chosen.length === 0 ? `No planted bug has these names.\n\n${USAGE}` : USAGE);
  Deno.exit(2);
}
if (values.list) {
  for (const { name, breaks } of chosen) console.log(`${name}\n    ${breaks}`);
  Deno.exit(0);
}

const started = Date.now();
const template = await ensureTemplate();
const files = [...new Set(chosen.flatMap(({ noticedBy }) => noticedBy))].sort();
console.log(`${chosen.length} planted bugs, ${files.length} test files. First the files without a planted bug:`);
const trials = new Map<Mutant | TypeScriptMutant, Trial>();
{
  await using trees = new AsyncDisposableStack();
  const newTree = async () => trees.use(await copyTree(template));
  const first = await newTree();
  const sound = await tryOut(files, first.root);
  if (sound.result !== "survived") {
    console.error(
      "These tests fail without a planted bug, so their failure would prove nothing:\n" +
        `  ${sound.by}\n  ${sound.because}`,
    );
    await trees.disposeAsync();
    Deno.exit(1);
  }
  console.log(`they pass (${sound.seconds.toFixed(0)} s).`);

  const bar = newBar("mutants");
  bar.start(chosen.length, 0);
  const waiting = [...chosen];
  await Promise.all(Array.from({ length: jobs }, async (_, job) => {
    const tree = job === 0 ? first : await newTree();
    for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) {
      trials.set(mutant, await tryPlanted(mutant, tree));
      bar.increment();
    }
  }));
  bar.stop();
}

for (const language of Object.keys(LANGUAGES) as Language[]) {
  const tried = chosen.filter((mutant) => languageOf(mutant) === language);
  if (tried.length === 0) continue;
  const table = newTable([`planted bug in ${LANGUAGES[language]}`, "", "first test that fails", "s"], 3);
  for (const mutant of tried) {
    const { result, by, because, seconds } = trials.get(mutant)!; // every bug has been tried
    const word = { killed: "killed", survived: "SURVIVED", broken: "BROKEN" }[result];
    table.push([mutant.name, word, values.why ? `${by}\n${because.slice(0, 150)}` : by, seconds.toFixed(1)]);
  }
  console.log(`\n${table}`);
}
for (const language of Object.keys(LANGUAGES) as Language[]) {
  const tried = chosen.filter((mutant) => languageOf(mutant) === language);
  if (tried.length === 0) continue;
  const count = (wanted: Trial["result"]) => tried.filter((mutant) => trials.get(mutant)?.result === wanted).length;
  console.log(
    `${LANGUAGES[language]}: ${count("killed")} killed, ${count("survived")} survived, ${count("broken")} broken`,
  );
}
console.log(`in ${Math.round((Date.now() - started) / 1_000)} s`);
Deno.exit([...trials.values()].every(({ result }) => result === "killed") ? 0 : 1);

function languageOf(mutant: Mutant | TypeScriptMutant): Language {
  return "file" in mutant ? "typescript" : "sql";
}

async function tryPlanted(mutant: Mutant | TypeScriptMutant, tree: Tree): Promise<Trial> {
  try {
    if ("file" in mutant) return await tree.withPlanted(mutant, () => tryOut(mutant.noticedBy, tree.root));
    plant(mutant, readSchemas());
    return await tryOut(mutant.noticedBy, tree.root, mutant.name);
  } catch (error) {
    return { result: "broken", by: error instanceof Error ? error.message : String(error), because: "", seconds: 0 };
  }
}
