// pg-boss: its own client and pool; claim and completion by fetch and complete, with the job's attempt as its worker
// passes it.
import { PgBoss } from "pg-boss";
import type { Project } from "../../../supabase/local/project.ts";
import { PG_BOSS } from "../targets.ts";
import { type Consumer, drainBy, stockBy, timePolls } from "./drain.ts";
import { DAY, payloadOf, type Peer } from "./peer.ts";

const QUEUE = "bench";
const STOCK = 1_000; // jobs per call

export async function openPgBoss(project: Project, connections = 4): Promise<Peer> {
  // Its supervision and schedules are off, as is Symphony's ticker: only the measured calls run.
  const boss = new PgBoss({
    connectionString: project.databaseUrl(),
    max: connections,
    supervise: false,
    schedule: false,
  });
  boss.on("error", (error) => console.error(`pg-boss: ${error.message}`));
  await boss.start();
  await boss.createQueue(QUEUE);
  const insert = async (jobs: number, startAfter?: Date) => {
    await boss.insert(QUEUE, Array.from({ length: jobs }, (_, n) => ({ data: payloadOf(n), startAfter })));
  };
  return {
    name: PG_BOSS,
    async empty() {
      await project.sql`truncate pgboss.job`;
    },
    stock(messages, delayed = false) {
      const startAfter = delayed ? new Date(Date.now() + DAY) : undefined;
      return stockBy(messages, { perCall: STOCK, connections }, (jobs) => insert(jobs, startAfter));
    },
    async enqueue(n = 0) {
      await boss.send(QUEUE, payloadOf(n));
    },
    enqueueBatch: (messages) => insert(messages),
    drain: (plan) => drainBy(plan, () => consumer(boss, plan.batch)),
    emptyPolls: (polls) => timePolls(polls, async () => (await boss.fetch(QUEUE, { batchSize: 100 })).length),
    close: () => boss.stop({ graceful: false }),
  };
}

function consumer(boss: PgBoss, batchSize: number): Consumer {
  let jobs: Awaited<ReturnType<PgBoss["fetch"]>> = [];
  const finish = async () => {
    if (jobs.length > 0) await boss.complete(QUEUE, jobs);
  };
  return {
    async claim() {
      await finish();
      jobs = await boss.fetch(QUEUE, { batchSize });
      return jobs.length;
    },
    finish,
  };
}
