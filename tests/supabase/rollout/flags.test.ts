// Flags: a share of subjects that only grows with the percentage, evenly spread, each flag with other subjects first.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { callValue, type Row } from "../bus.ts";
import { INJECTIONS } from "../monitoring/pages.ts";
import { assertRejected } from "../assert_rejected.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

const set = (name: string, percent: number, updated_by?: string): Promise<Row> =>
  callValue(project().sql, "messenger_set_flag", { name, percent, ...(updated_by !== undefined && { updated_by }) });

/** The subjects among 10,000 for which a flag is on. */
async function subjects(flag: string): Promise<Set<number>> {
  const rows = await project()
    .sql`select n from generate_series(1, 10000) n where messenger.enabled(${flag}, 'user-' || n)`;
  return new Set(rows.map(({ n }) => n));
}
async function enabled(flag: string, subject: string | null): Promise<boolean | null> {
  const [row] = await project().sql`select messenger.enabled(${flag}, ${subject}) as enabled`;
  return row.enabled;
}

test("flags · a higher percentage only adds subjects, from none to all", async () => {
  let before = new Set<number>();
  for (const percent of [0, 1, 2, 10, 25, 50, 51, 75, 99, 100]) {
    await set("emails", percent);
    const now = await subjects("emails");
    assert.ok(before.isSubsetOf(now), `${percent} percent removes no subject`);
    // Four standard deviations of 10,000 draws.
    const tolerance = 4 * Math.sqrt(percent * (100 - percent)) + 1e-9;
    assert.ok(Math.abs(now.size - percent * 100) <= tolerance, `${percent} percent are ${now.size} of 10,000`);
    before = now;
  }
});

test("flags · each of the hundred buckets has about a hundredth", async () => {
  const sizes: number[] = [];
  for (let percent = 0; percent <= 100; percent++) {
    await set("emails", percent);
    sizes.push((await subjects("emails")).size);
  }
  const places = sizes.slice(1).map((size, at) => size - sizes[at]);
  assert.ok(Math.min(...places) > 50 && Math.max(...places) < 150, places.join());
});

test("flags · another flag selects other subjects first", async () => {
  for (const name of ["emails", "reports"]) await set(name, 50);
  const [emails, reports] = [await subjects("emails"), await subjects("reports")];
  const both = emails.intersection(reports).size;
  assert.ok(both > 2_250 && both < 2_750, `${both} of 10,000 are in both`);
});

test("flags · a subject stays selected from call to call and when the flag is set again", async () => {
  await set("emails", 30);
  const first = await subjects("emails");
  await set("emails", 0);
  assert.equal((await subjects("emails")).size, 0);
  await set("emails", 30);
  assert.deepEqual(await subjects("emails"), first);
});

test("flags · without a subject a flag is on at 100 percent only, and a flag that was never set is off", async () => {
  for (const [percent, on] of [[0, false], [99, false], [100, true]] as const) {
    await set("emails", percent);
    assert.equal(await enabled("emails", null), on);
  }
  assert.deepEqual([await enabled("none", "ada"), await enabled("none", null), await enabled("Emails", "ada")], [
    null,
    null,
    null,
  ]);
  assert.equal(await enabled("emails", ""), true);
});

test("flags · setting returns the row with its author, and replaces the earlier value", async () => {
  const { sql } = project();
  const first = await set("emails", 5, "ada");
  assert.deepEqual([first.name, first.percent, first.updated_by], ["emails", 5, "ada"]);
  const second = await set("emails", 6);
  assert.deepEqual([second.percent, second.updated_by], [6, null]);
  assert.equal((await set("emails", 6, "x".repeat(5_000))).updated_by.length, 200);
  assert.equal((await sql`select from messenger.flags`).length, 1);
  assert.equal((await set(`A${".:-_0".repeat(25)}zz`, 1)).name.length, 128);
});

test("flags · invalid names and percentages are rejected, and change nothing", async () => {
  const { sql } = project();
  await set("emails", 5);
  for (const name of ["", "5", "_a", "a b", "a\n", "ä", "a".repeat(129), ...INJECTIONS]) {
    await assertRejected(set(name, 1), "SM_FILTER");
  }
  for (const percent of [-1, 101, 2_147_483_647]) await assertRejected(set("emails", percent), "SM_BATCH");
  await assertRejected(sql`select messenger_set_flag(null, 1)`, "SM_FILTER");
  await assertRejected(sql`select messenger_set_flag('emails', null)`, "SM_BATCH");
  const rows = await sql`select name, percent from messenger.flags`;
  assert.deepEqual(rows.map(({ name, percent }) => [name, percent]), [["emails", 5]]);
  for (const text of INJECTIONS) assert.equal(await enabled(text, text), null);
});

test("flags · service_role may set and read, users may neither, nor read the table", async () => {
  const { sql } = project();
  const args = { name: "emails", percent: 5 };
  assert.equal((await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_set_flag", args))).percent, 5);
  assert.equal((await asRole(sql, "service_role", (tx) => tx`select messenger.enabled('emails', 'ada')`)).length, 1);
  for (const role of ["authenticated", "anon"] as const) {
    const user = crypto.randomUUID();
    await assert.rejects(
      asRole(sql, role, (tx) => callValue(tx, "messenger_set_flag", args), user),
      /permission denied/,
    );
    await assert.rejects(
      asRole(sql, role, (tx) => tx`select messenger.enabled('emails', 'ada')`, user),
      /permission denied/,
    );
    await assert.rejects(asRole(sql, role, (tx) => tx`select from messenger.flags`, user), /permission denied/);
  }
});
