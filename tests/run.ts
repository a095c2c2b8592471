// `npm test`: makes the template database, runs every test, ends with one line: N passed, N failed.
import { ensureTemplate } from "./project.ts";

if (Deno.env.has("SYMPHONY_MUTANT")) throw new Error("SYMPHONY_MUTANT plants a bug: it is for npm run mutants only");
const started = Date.now();
const root = new URL("../", import.meta.url);
// Leftovers of a run that was killed.
await Deno.remove(new URL(".symphony/test", root), { recursive: true }).catch(() => {});
await ensureTemplate();

// A run of everything has the type check in tests/architecture.test.ts; a second one takes a minute before the first test.
const chosen = Deno.args.length > 0 ? Deno.args : ["--no-check", "tests/"];
// One file more than there are cores, because about a third of the time a file waits: for a lease, a minute, a process.
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

// The last one: a test may run tests of its own and print theirs.
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
