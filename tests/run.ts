// `npm test` makes the template database and runs every test; `npm run test:unit` runs those that need no service.
// The last line of the output is "N passed, N failed".
import { ensureTemplate } from "./project.ts";
import { unitTestFiles } from "./unit_files.ts";

if (Deno.env.has("SYMPHONY_MUTANT")) {
  throw new Error("SYMPHONY_MUTANT plants a bug: use it with `npm run mutants` only");
}
const started = Date.now();
const root = new URL("../", import.meta.url);
const chosen = Deno.args.includes("--unit") ? unitTests() : await allTests(Deno.args);
// One more than the number of cores: a test file waits for leases, minutes and processes about a third of its time.
const jobs = Deno.env.get("DENO_JOBS") ?? String(navigator.hardwareConcurrency + 1);

const child = new Deno.Command(Deno.execPath(), {
  args: ["test", "-A", "--parallel", "--quiet", ...chosen],
  cwd: root,
  env: { DENO_JOBS: jobs, NO_COLOR: "1" },
  stdin: "null",
  stdout: "piped",
}).spawn();

let tail = "";
const decoder = new TextDecoder();
for await (const chunk of child.stdout) {
  await Deno.stdout.write(chunk);
  tail = (tail + decoder.decode(chunk, { stream: true })).slice(-4_000);
}
const { code } = await child.status;

// The last match counts, because a test may run tests itself and print their summary.
const summary = [
  ...tail.matchAll(/(\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed(?: \(\d+ steps?\))?(?: \| (\d+) ignored)?/g),
].at(-1);
console.log(`in ${Math.round((Date.now() - started) / 1000)} s`);
if (!summary) {
  console.log("0 passed, 1 failed");
  Deno.exit(code || 1);
}
const [, passed, failed, skipped] = summary.map(Number);
// A file that cannot be loaded fails the run without counting as a test.
const unloaded = code !== 0 && failed === 0 ? 1 : 0;
console.log(`${passed} passed, ${failed + unloaded} failed${skipped ? `, ${skipped} skipped` : ""}`);
Deno.exit(code);

/**
 * Arguments of `deno test` for the unit tests; they leave out the type check of the code, which `npm run check` runs.
 */
function unitTests(): string[] {
  Deno.env.set("SYMPHONY_UNIT_TESTS", "true");
  return ["--no-check", ...unitTestFiles()];
}

/** Arguments of `deno test` for all tests, or those of the command line, after the template database has been made. */
async function allTests(args: string[]): Promise<string[]> {
  // Directories that an interrupted run has left.
  await Deno.remove(new URL(".symphony/test", root), { recursive: true }).catch(() => {});
  await ensureTemplate();
  // tests/architecture.test.ts has the type check; a second one would delay the first test by a minute.
  return args.length > 0 ? args : ["--no-check", "tests/"];
}
