// pg-boss: its own client and pool; claim and completion by fetch and complete, with the job's attempt as its worker
// passes it.
import { PgBoss } from "pg-boss";
import type { Project } from "../../../supabase/local/project.ts";
import { pause } from "../../pause.ts";
import { DAY, type Drained, payloadOf, type Peer, type Plan } from "./peer.ts";

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
    name: "pg-boss",
    async empty() {
      await project.sql`truncate pgboss.job`;
    },
    async stock(messages, delayed = false) {
      const startAfter = delayed ? new Date(Date.now() + DAY) : undefined;
      for (let done = 0; done < messages; done += STOCK * connections) {
        const sizes = Array.from(
          { length: connections },
          (_, n) => Math.min(STOCK, Math.max(0, messages - done - n * STOCK)),
        ).filter((size) => size > 0);
        await Promise.all(sizes.map((size) => insert(size, startAfter)));
      }
    },
    async enqueue(n = 0) {
      await boss.send(QUEUE, payloadOf(n));
    },
    enqueueBatch: (messages) => insert(messages),
    drain: (plan) => drain(boss, plan),
    async emptyPolls(polls) {
      const samples: number[] = [];
      for (let n = 0; n < polls; n++) {
        const begin = performance.now();
        const jobs = await boss.fetch(QUEUE, { batchSize: 100 });
        samples.push(performance.now() - begin);
        if (jobs.length > 0) throw new Error("pg-boss: a job was due");
      }
      return samples;
    },
    close: () => boss.stop({ graceful: false }),
  };
}

async function drain(boss: PgBoss, { messages, consumers, batch, within, onHandled }: Plan): Promise<Drained> {
  let handled = 0;
  const begin = performance.now();
  const consume = async () => {
    while (performance.now() - begin < within && handled < messages) {
      const jobs = await boss.fetch(QUEUE, { batchSize: batch });
      if (jobs.length === 0) {
        await pause(1);
        continue;
      }
      handled += jobs.length;
      onHandled?.(jobs.length);
      await boss.complete(QUEUE, jobs);
    }
  };
  await Promise.all(Array.from({ length: consumers }, consume));
  return { handled, ms: performance.now() - begin };
}
