// One test per version of PostgreSQL, each in its own file so that they run in parallel: it runs the core of the SQL
// suite, or with SYMPHONY_VERSIONS=full the whole, as on this machine's own version.
import assert from "node:assert/strict";
import { testOn } from "./embedded.ts";

const root = new URL("../../", import.meta.url);

const WHOLE = ["tests/supabase"];
const CORE = [
  "manifest/migration",
  "manifest/manifest",
  "foundation/privileges",
  "dispatch/dispatch",
  "delivery/claim",
  "delivery/settle",
  "delivery/hot_path",
  "delivery/ordering",
  "ticker/tick",
]
  .map((name) => `tests/supabase/${name}.test.ts`);
const full = Deno.env.get("SYMPHONY_VERSIONS") === "full";

const [what, files, least] = full
  ? ["the SQL suite", WHOLE, 800] as const
  : ["the core of the SQL suite", CORE, 120] as const;

/** Declares the test of this version. */
export function testVersion(version: 17 | 18): void {
  testOn(version, `versions · PostgreSQL ${version} passes ${what}`, async (bin, t) => {
    const exact = await output(`${bin}/postgres`, "--version");
    assert.match(exact, new RegExp(`PostgreSQL\\) ${version}\\.`));
    const started = Date.now();
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--parallel", "--quiet", "--no-check", ...files],
      cwd: root,
      env: { SYMPHONY_TEST_POSTGRES: String(version), DENO_JOBS: "2", NO_COLOR: "1" },
    }).output();
    const said = new TextDecoder().decode(stdout);
    const [line, passed, failed, ignored = "0"] = /^.*?(\d+) passed.*? \| (\d+) failed(?:.*? \| (\d+) ignored)?.*$/m
      .exec(said) ?? [said];
    assert.equal(code, 0, `${failures(said)}\n${new TextDecoder().decode(stderr)}`);
    // Only tests that need pg_cron may be skipped.
    const explained = [...said.matchAll(/\[SKIPPED: pg_cron is not installed in .* ignored/g)].length;
    assert.deepEqual([Number(passed) >= least, failed, Number(ignored)], [true, "0", explained], line);
    // A step, because its name is printed even by `npm test`, which is quiet.
    const seconds = Math.round((Date.now() - started) / 1_000);
    await t.step(`${exact.trim()}: ${passed} passed, ${failed} failed, ${ignored} skipped in ${seconds} s`, () => {});
  });
}

async function output(program: string, ...args: string[]): Promise<string> {
  return new TextDecoder().decode((await new Deno.Command(program, { args }).output()).stdout);
}

/** The failures in the output of a run, without the passed tests and without its figures. */
function failures(said: string): string {
  return said.split("\n").filter((line) => !/ \.\.\. ok \(| \d+ passed /.test(line)).join("\n").slice(-8_000);
}
