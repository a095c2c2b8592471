// messenger_start, messenger_stop and messenger_check_worker_secret: the ticker's job, the settings, the secret.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { callValue } from "../bus.ts";
import { assertRejected, errorOf } from "../assert_rejected.ts";

const project = useProject();
const URL = "https://example.test/functions/v1";

Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await callValue(sql, "messenger_stop");
  await sql`delete from vault.secrets where name like 'symphony%'`;
});

const start = (args: Record<string, unknown> = {}) => callValue(project().sql, "messenger_start", args);
const jobs = async () => [...await project().sql`select jobname, schedule, command, active from cron.job`];
const settings = async () =>
  (await project().sql`select *, extract(epoch from poll_interval)::int as poll_seconds from messenger.settings`)[0];
const secret = async (name = "symphony_worker_secret") =>
  (await project().sql`select decrypted_secret from vault.decrypted_secrets where name = ${name}`)[0]?.decrypted_secret;
const check = (given: string | null) => callValue(project().sql, "messenger_check_worker_secret", { secret: given });

test("start · the ticker's job, the secret and the address exist", async () => {
  assert.deepEqual(await start({ functions_url: URL }), {
    clock: true,
    wakeups: true,
    functions_url: URL,
    worker_secret: true,
  });
  const [job, ...others] = await jobs();
  assert.deepEqual([others.length, job.jobname, job.schedule, job.active], [0, "symphony-clock", "* * * * *", true]);
  assert.deepEqual([(await settings()).functions_url, (await settings()).clock_enabled], [URL, true]);
  assert((await secret()).length >= 40);
});

test("start · cron.job has no secret and no key", async () => {
  const { serviceRoleKey, secretKey } = project();
  await start({ functions_url: URL });
  const text = JSON.stringify(await jobs());
  for (const key of [await secret(), serviceRoleKey, secretKey]) assert(!text.includes(key));
});

test("start · service_role may, and stop", async () => {
  const { sql } = project();
  assert.equal(
    (await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_start", { functions_url: URL }))).clock,
    true,
  );
  assert.equal((await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_stop"))).unscheduled, 1);
});

test("start · repeated, it changes nothing: one job, the same secret, the stored address", async () => {
  await start({ functions_url: `${URL}/` });
  const before = await secret();
  assert.equal((await start()).functions_url, URL);
  assert.deepEqual([(await jobs()).length, await secret()], [1, before]);
});

test("start · without any address the ticker runs without wake-ups, and the reply has the remedy", async () => {
  const reply = await start();
  assert.deepEqual([reply.clock, reply.wakeups, reply.functions_url], [true, false, null]);
  assert(reply.wakeups_remedy.includes("messenger_start("));
});

test("start · options are stored, omitted ones stay", async () => {
  await start({ options: { max_workers: 9, poll_interval: "2 seconds", max_unfinished_per_user: 0 } });
  await start({ options: { messages_per_worker: 50 } });
  const { max_workers, messages_per_worker, poll_seconds, max_unfinished_per_user } = await settings();
  assert.deepEqual([max_workers, messages_per_worker, poll_seconds, max_unfinished_per_user], [9, 50, 2, 0]);
});

test("start · an unknown option is rejected by name, and nothing is changed", async () => {
  assert(
    (await assertRejected(start({ functions_url: URL, options: { max_worker: 9 } }), "SM_UNKNOWN_FIELD")).includes(
      "options.max_worker",
    ),
  );
  await assertRejected(project().sql`select messenger_start(options => '[]')`, "SM_UNKNOWN_FIELD");
  assert.deepEqual([(await settings()).functions_url, (await settings()).clock_enabled, (await jobs()).length], [
    null,
    false,
    0,
  ]);
});

test("start · values out of range and invalid addresses are rejected, and nothing is changed", async () => {
  const bad: [options: Record<string, unknown>, sentence: RegExp][] = [
    [{ max_workers: 0 }, /^options\.max_workers must be a whole number from 1 to 100, not 0/],
    [{ max_workers: 101 }, /^options\.max_workers must/],
    [{ max_workers: "9" }, /^options\.max_workers must .* not "9"/],
    [{ max_workers: 1.5 }, /^options\.max_workers must/],
    [{ messages_per_worker: 0 }, /^options\.messages_per_worker must be a whole number from 1 to 100000/],
    [{ messages_per_worker: 1e300 }, /^options\.messages_per_worker must/],
    [{ max_unfinished_per_user: -1 }, /^options\.max_unfinished_per_user must/],
    [{ max_unfinished_per_user: 2_147_483_648 }, /^options\.max_unfinished_per_user must/],
    [{ max_unfinished_per_user: {} }, /^options\.max_unfinished_per_user must/],
    [
      { poll_interval: "0" },
      /^options\.poll_interval must be an interval with a unit from "1 ms" to "1 minute", not "0"/,
    ],
    [{ poll_interval: "2 minutes" }, /^options\.poll_interval must/],
    [{ poll_interval: 50 }, /^options\.poll_interval must .* not 50/],
    [{ poll_interval: "50" }, /^options\.poll_interval must .* not "50"/],
    [{ poll_interval: "soon" }, /^options\.poll_interval must/],
    [{ poll_interval: [] }, /^options\.poll_interval must/],
  ];
  for (const [options, sentence] of bad) {
    assert.match(await assertRejected(start({ options }), "SM_SETTING"), sentence);
  }
  for (
    const functions_url of ["example.test", "ftp://example.test", "https://", "https://a b", "", "javascript:alert(1)"]
  ) {
    assert.match(
      await assertRejected(start({ functions_url }), "SM_SETTING"),
      /^functions_url must be the http or https URL/,
    );
  }
  assert.deepEqual([(await settings()).clock_enabled, (await jobs()).length], [false, 0]);
});

test("stop · removes the job and only ours, keeps the address, and may be repeated", async () => {
  const { sql } = project();
  await sql`select cron.schedule('theirs', '0 0 1 1 *', 'select 1')`;
  await start({ functions_url: URL });
  assert.deepEqual(await callValue(sql, "messenger_stop"), { clock: false, unscheduled: 1 });
  assert.deepEqual((await jobs()).map(({ jobname }) => jobname), ["theirs"]);
  assert.deepEqual(await callValue(sql, "messenger_stop"), { clock: false, unscheduled: 0 });
  assert.deepEqual([(await settings()).functions_url, (await settings()).clock_enabled], [URL, false]);
  await sql`select cron.unschedule('theirs')`;
});

test("ticker · the job's command ticks, commits, and ends when the ticker is stopped", async () => {
  const { sql } = project();
  await using runner = session(project());
  await start();
  const [{ command }] = await jobs();
  const running = runner.unsafe(command).simple().execute();
  let ticks = 0;
  while (ticks < 1) ticks = Number((await sql`select ticks from messenger.clock`)[0].ticks);
  await callValue(sql, "messenger_stop");
  await running;
  assert(Number((await sql`select ticks from messenger.clock`)[0].ticks) <= ticks + 2);
});

test("secret · the stored one and the next one are true, everything else is false", async () => {
  const { sql } = project();
  assert.equal(await check("anything"), false);
  await start();
  const stored = await secret();
  await sql`select vault.create_secret('the-next-one', 'symphony_worker_secret_next')`;
  await sql`select vault.create_secret('somebody-elses', 'other_secret')`;
  assert.deepEqual([await check(stored), await check("the-next-one")], [true, true]);
  for (
    const given of [
      "",
      "x",
      stored.slice(1),
      `${stored} `,
      stored.toUpperCase() + "!",
      "somebody-elses",
      "' or true --",
    ]
  ) {
    assert.equal(await check(given), false, given);
  }
  assert.notEqual(await check(null), true);
  await sql`delete from vault.secrets where name = 'other_secret'`;
});

test("secret · service_role may check, users may not", async () => {
  const { sql } = project();
  await start();
  const stored = await secret();
  const given = { secret: stored };
  assert.equal(await asRole(sql, "service_role", (tx) => callValue(tx, "messenger_check_worker_secret", given)), true);
  for (const role of ["anon", "authenticated"] as const) {
    assert.equal(
      (await errorOf(asRole(sql, role, (tx) => callValue(tx, "messenger_check_worker_secret", given)))).code,
      "42501",
    );
  }
});
