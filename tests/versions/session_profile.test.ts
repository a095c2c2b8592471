// The core of the SQL suite passes under session settings that change how Postgres prints, reads, quotes and isolates;
// SYMPHONY_TEST_PROFILE=hostile npm test -- tests/supabase runs the whole suite.
import assert from "node:assert/strict";
import { hasCron, test } from "../project.ts";
import { isHostile } from "../session_profile.ts";

const root = new URL("../../", import.meta.url);
const CORE = ["dispatch/dispatch", "monitoring/explain_queue", "ticker/prune", "schedules/schedules"].map((name) =>
  `tests/supabase/${name}.test.ts`
);

if (!isHostile && hasCron) {
  test("session profile · the core of the SQL suite passes with every setting changed", async (t) => {
    const started = Date.now();
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--parallel", "--quiet", "--no-check", ...CORE],
      cwd: root,
      env: { SYMPHONY_TEST_PROFILE: "hostile", DENO_JOBS: "2", NO_COLOR: "1" },
    }).output();
    const output = new TextDecoder().decode(stdout);
    const [line, passed] = /^.*?(\d+) passed.*$/m.exec(output) ?? [output, "0"];
    assert.equal(code, 0, output.split("\n").filter((line) => !/ \.\.\. ok \(/.test(line)).join("\n").slice(-8_000));
    assert.ok(Number(passed) >= 40, line);
    const seconds = Math.round((Date.now() - started) / 1_000);
    await t.step(`${passed} passed in ${seconds} s`, () => {});
  });
}
