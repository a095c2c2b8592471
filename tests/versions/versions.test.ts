// The other versions of PostgreSQL that Supabase runs or will run pass the whole SQL suite; this machine's own does so in `npm test`.
import assert from "node:assert/strict";
import { testOn } from "./embedded.ts";

const root = new URL("../../", import.meta.url);

for (const version of [17, 18]) {
  testOn(version, `versions · PostgreSQL ${version} passes the SQL suite`, async (bin, t) => {
    const exact = await output(`${bin}/postgres`, "--version");
    assert.match(exact, new RegExp(`PostgreSQL\\) ${version}\\.`));
    const started = Date.now();
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--parallel", "--quiet", "--no-check", "tests/supabase"],
      cwd: root,
      env: { SYMPHONY_TEST_POSTGRES: String(version), DENO_JOBS: "2", NO_COLOR: "1" },
    }).output();
    const said = new TextDecoder().decode(stdout);
    const [line, passed, failed, ignored = "0"] = /^.*?(\d+) passed.*? \| (\d+) failed(?:.*? \| (\d+) ignored)?.*$/m
      .exec(said) ?? [said];
    assert.equal(code, 0, `${failures(said)}\n${new TextDecoder().decode(stderr)}`);
    assert.deepEqual([Number(passed) > 400, failed, ignored], [true, "0", "0"], line);
    // A step, because its name is printed even by `npm test`, which is quiet.
    const seconds = Math.round((Date.now() - started) / 1_000);
    await t.step(`${exact.trim()}: ${passed} passed, ${failed} failed, ${ignored} skipped in ${seconds} s`, () => {});
  });
}

async function output(program: string, ...args: string[]): Promise<string> {
  return new TextDecoder().decode((await new Deno.Command(program, { args }).output()).stdout);
}

/** What a run says of its failures, without the tests that passed and without its figures, which are not this run's. */
function failures(said: string): string {
  return said.split("\n").filter((line) => !/ \.\.\. ok \(| \d+ passed /.test(line)).join("\n").slice(-8_000);
}
