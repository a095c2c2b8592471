// A project on PostgreSQL from npm, without pg_cron: its gateway ticks and reports it.
import assert from "node:assert/strict";
import { SERVING } from "../../supabase/local/embedded_postgres.mjs";
import { type Project, startProject } from "../../supabase/local/project.ts";
import { eventually } from "../eventually.ts";
import { testOn } from "./embedded.ts";

const runs = new URL("../../.symphony/test/runs/", import.meta.url).pathname;

async function withProject(postgres: string, work: (project: Project, said: string[]) => Promise<void>) {
  const directory = `${runs}${crypto.randomUUID().slice(0, 8)}`;
  const said: string[] = [];
  try {
    await using project = await startProject({ directory, postgres, clock: true, log: (line) => said.push(line) });
    await work(project, said);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function ticks({ sql }: Project): Promise<number> {
  const [clock] = await sql<{ ticks: number }[]>`select ticks::int from messenger.clock`;
  return clock.ticks;
}

async function untilTwoMore(project: Project): Promise<void> {
  const before = await ticks(project);
  await eventually("two more ticks", async () => await ticks(project) >= before + 2);
}

testOn(
  SERVING,
  "without pg_cron · the gateway ticks, and reports it; messenger_stop stops it",
  (bin) =>
    withProject(bin, async (project, said) => {
      const { sql } = project;
      assert.equal(
        said.filter((line) => line.startsWith("pg_cron is not available here: the gateway ticks")).length,
        1,
      );
      const [{ cron }] = await sql`select to_regnamespace('cron') as cron`;
      assert.equal(cron, null, "nothing stands in for pg_cron");
      await untilTwoMore(project);
      const [{ health }] = await sql`select messenger_health() as health`;
      assert.equal(health.status, "healthy", JSON.stringify(health));

      await sql`select messenger_stop()`;
      const last = await ticks(project);
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      assert.ok(await ticks(project) <= last + 1, "a tick in progress may end, no other follows");

      const [{ started }] = await sql`select messenger_start() as started`;
      assert.deepEqual([started.clock, started.wakeups], [false, true]);
      assert.match(started.clock_remedy, /pg_cron.*external scheduler/);
      await untilTwoMore(project);
    }),
);

testOn(
  SERVING,
  "without pg_cron · a message is handled, and the ticker continues after a crash of Postgres",
  (bin) =>
    withProject(bin, async (project) => {
      const { sql } = project;
      const [{ id }] = await sql`select id from messenger_dispatch('ExampleQuick', '{"to": "Ada"}')`;
      await eventually("the message is handled", async () => {
        const [message] = await sql`select status from messenger_messages where id = ${id}`;
        return message.status === "completed";
      });
      await project.restartDatabase("immediate");
      await untilTwoMore(project);
    }),
);
