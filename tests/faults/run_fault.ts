// Runs the tests that the catalogue names for a fault.
import { stripVTControlCharacters } from "node:util";
import type { Fault } from "./catalogue.ts";

const root = new URL("../../", import.meta.url).pathname;

export interface Outcome {
  passed: number;
  skipped: number;
  /** The reason of the failure, if it failed. */
  problem?: string;
  /** The counts that the harness has printed. */
  figures: string[];
  seconds: number;
}

export async function runFault({ tests }: Fault): Promise<Outcome> {
  const started = Date.now();
  const names = Object.values(tests).flat();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["test", "-A", "--no-check"],
      // The name of a skipped test ends with the reason.
      ...["--filter", `/^(${names.map((name) => RegExp.escape(name)).join("|")})( \\[SKIPPED|$)/`],
      ...Object.keys(tests).map((file) => `tests/${file}`),
    ],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const said = stripVTControlCharacters(new TextDecoder().decode(stdout));
  const [, passed = "0", skipped = "0"] = said.match(/(\d+) passed.* \| \d+ failed(?: \| (\d+) ignored)?/) ?? [];
  const figures = said.split("\n").filter((line) => line.includes(": messages "));
  const ran = Number(passed) + Number(skipped);
  const error = stripVTControlCharacters(new TextDecoder().decode(stderr)).match(/error: .*/)?.[0];
  const problem = code !== 0
    ? said.match(/^(.+) \.\.\. .*FAILED/m)?.[0] ?? error ?? `exit ${code}`
    : ran !== names.length
    ? `${ran} tests ran, ${names.length} are named`
    : undefined;
  return {
    passed: Number(passed),
    skipped: Number(skipped),
    problem,
    figures,
    seconds: (Date.now() - started) / 1_000,
  };
}
