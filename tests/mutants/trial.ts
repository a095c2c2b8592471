// One run of test files, with or without a planted bug.
import { stripVTControlCharacters } from "node:util";

const WITHIN = 180_000; // ms, for a few files; more files get more time
const WITHIN_A_FILE = 30_000;

export interface Trial {
  /** broken: the files could not be run at all, which proves nothing about the bug. */
  result: "killed" | "survived" | "broken";
  /** The first test that failed, or the reason why the run broke. */
  by: string;
  /** The first line of its error. */
  because: string;
  seconds: number;
}

/**
 * Runs the test files below tests/ until the first failure.
 * @param root the source tree, whose TypeScript may hold a planted bug
 * @param mutant the name of the bug in SQL that the databases of the tests get
 */
export async function tryOut(files: readonly string[], root: string, mutant?: string): Promise<Trial> {
  const started = Date.now();
  const giveUp = AbortSignal.timeout(Math.max(WITHIN, files.length * WITHIN_A_FILE));
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    // Without a type check, which npm test includes.
    args: ["test", "-A", "--no-check", "--fail-fast", ...files.map((file) => `tests/${file}`)],
    cwd: root,
    env: { NO_COLOR: "1", ...(mutant !== undefined && { SYMPHONY_MUTANT: mutant }) },
    stdin: "null",
    signal: giveUp,
  }).output();
  const seconds = (Date.now() - started) / 1_000;
  const said = stripVTControlCharacters(new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
  if (giveUp.aborted) return { result: "killed", by: "the time limit", because: `no end in ${seconds} s`, seconds };
  if (code === 0) return { result: "survived", by: "", because: "", seconds };
  const because = said.match(/^error: (.*(?:\n(?!\s*at )\S.*)?)/m)?.[1].replace(/\s+/g, " ") ?? "";
  // Output of the test may share its line; then the list of errors has its name. An error outside of any test, such as
  // one of the driver, ends the run, so the running test has no result.
  const [, by] = said.match(/^(.+) \.\.\. (?:\S.*)?FAILED \(/m) ?? said.match(/^ ERRORS\s+(.+) => /m) ??
    said.match(/^(.+) \.\.\. *$/m) ?? [];
  return by === undefined || said.includes("cannot be planted")
    ? { result: "broken", by: because || `exit ${code}`, because: said.slice(-2_000), seconds }
    : { result: "killed", by, because, seconds };
}
