// F10, F11: the ticker's job is stopped, its launcher is killed, the bus's time jumps. Health reports it, wake-ups
// still start work, and nothing fires twice.
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import { session, test, testWithCron, useProject } from "../project.ts";
import { Harness } from "./harness.ts";

const harness: Harness = new Harness(() => project());
const project = useProject({
  functions: true,
  testClock: true,
  log: harness.log,
  env: { SYMPHONY_WORKER_LINGER: "0" },
});

// Wake-ups without a ticker.
Deno.test.beforeAll(async () => {
  await project().sql`select messenger_start(${`${project().url}/functions/v1`})`;
  await project().sql`select messenger_stop()`;
});

const setClock = (skew: string) => project().sql`select messenger.set_clock(${skew})`;
const statusOf = async (id: string) =>
  (await project().sql`select status from messenger_messages where id = ${id}`)[0].status;

async function clockCheck(): Promise<string> {
  const [{ health }] = await project().sql`select messenger_health() as health`;
  return health.checks.find(({ name }: { name: string }) => name === "clock").status;
}

/** After two minutes without a tick health is unhealthy, and a dispatch is handled. */
async function worksWithoutTicks(minutes: number): Promise<void> {
  await setClock(`${minutes} minutes`);
  assert.equal(await clockCheck(), "unhealthy");
  const id = await harness.produce({ type: "ExampleQuick", payload: {} });
  await eventually("its wake-up starts a worker", async () => await statusOf(id) === "completed");
  assert.equal(await clockCheck(), "unhealthy", "no tick in the meantime");
}

test("ticker stopped · health is unhealthy within two minutes, and dispatches wake workers themselves", async () => {
  await project().sql`select messenger_tick()`;
  assert.equal(await clockCheck(), "healthy");
  await worksWithoutTicks(2);
});

testWithCron(
  "launcher stopped · without pg_cron's launcher health is unhealthy, and dispatches wake workers themselves",
  async () => {
    await using admin = session(project(), "supabase_admin");
    await project().sql`select messenger_start()`;
    await project().sql`select messenger_tick()`;
    const launcher = () => admin`select pid from pg_stat_activity where backend_type = 'pg_cron launcher'`;
    const [{ pid }] = await launcher();
    await admin`select pg_terminate_backend(${pid})`;
    await eventually("the launcher has ended", async () => (await launcher()).length === 0);
    await worksWithoutTicks(5);
    const [{ id }] = await project().sql`select id from messenger_dispatch('ExampleQuick', delay => '1 hour')`;
    const causes = await project().sql`select detail from messenger_explain(${id}) where reason = 'clock_stopped'`;
    assert.match(causes[0]?.detail, /its launcher has stopped/);
    await project().sql`delete from messenger_messages where id = ${id}`;
    await project().sql`select messenger_stop()`;
  },
);

test("scheduler edge function · one external call is a tick and makes health healthy again", async () => {
  const { url, secretKey } = project();
  const response = await fetch(`${url}/functions/v1/scheduler`, { method: "POST", headers: { apikey: secretKey } });
  assert.equal(response.status, 200);
  await response.body?.cancel();
  assert.equal(await clockCheck(), "healthy");
});

test("clock steps · an hour forward, two back, a day forward: all complete, late outcomes are rejected", async () => {
  const { sql } = project();
  const tick = () => sql`select messenger_tick()`;
  for (const skew of ["1 hour", "-1 hour", "1 day"]) {
    const ids = await harness.produceAll([
      { type: "ExampleSlow", payload: { ms: 600 } },
      { type: "ExampleQuick", payload: {} },
      { type: "ExampleQuick", payload: {}, options: { delay: 500 } },
    ]);
    await eventually("one is in flight", async () => {
      await tick(); // a worker that has just ended counts as active, so the dispatch may have sent no wake-up
      return await statusOf(ids[0]) === "processing";
    });
    await setClock(skew);
    // A step forward makes leases expire and messages due; any claim finds them.
    if (skew !== "-1 hour") {
      await eventually("all are finished", async () => {
        await tick();
        const [{ open }] = await sql`select count(*)::int as open from messenger_messages
            where id = any (${ids}) and processed_at is null`;
        return open === 0;
      });
    }
  }
  const figures = await harness.judge("the clock +1 h, -2 h, +1 day");
  harness.assertSound(figures);
});
