// The faults of the soak, each done once in mid-flight. Each ends what it began before it returns, except what is slow to heal by itself.
import { connect } from "../../../supabase/local/connection.ts";
import { eventually } from "../../eventually.ts";
import { pause } from "../../pause.ts";
import type { Blow } from "./fault.ts";
import { FOREIGN_FAULTS } from "./foreign_faults.ts";
import { type Ground, HOLDING, inFlight, insist } from "./setup.ts";

const LIKE_A_WORKER = "application_name ~ '^sql-' or usename = 'authenticator'";

export const BLOWS: readonly Blow[] = [
  {
    fault: "F1",
    what: "kill -9 of the worker edge function",
    hits: "edge",
    strike: ({ project }) => project.functions.kill("worker"),
  },
  {
    fault: "F1",
    what: "kill -9 of a SQL consumer",
    hits: "sql",
    strike: ({ crew }) => Promise.resolve(crew.kill()),
  },
  {
    fault: "F3",
    what: "pg_terminate_backend of the workers' connections",
    hits: "anybody",
    strike: (ground) => insist(ground, `select pg_terminate_backend(pid) from pg_stat_activity where ${LIKE_A_WORKER}`),
  },
  {
    fault: "F6",
    what: "the worker edge function stopped past its lease, then continued",
    hits: "edge",
    async strike({ project, lease }) {
      await project.functions.kill("worker", "SIGSTOP");
      await pause(lease + 1_500);
      await project.functions.kill("worker", "SIGCONT");
    },
  },
  ...FOREIGN_FAULTS,
  {
    fault: "F3",
    what: "kill -9 of a backend: Postgres restarts itself",
    hits: "anybody",
    stopsTicker: true,
    async strike({ project }) {
      const [{ pid }] = await project.sql<{ pid: number }[]>`
        select pid from pg_stat_activity where application_name ~ '^sql-' or usename = 'authenticator' order by state, random() limit 1`;
      Deno.kill(pid, "SIGKILL");
    },
  },
  {
    fault: "F6",
    what: "a SQL consumer stopped past its lease, then continued",
    hits: "sql",
    strike: ({ crew, lease }) => crew.stop(lease + 1_500),
  },
  {
    fault: "F5",
    what: "every TCP connection of edge functions and producers cut",
    hits: "edge",
    async strike({ proxies }) {
      for (let n = 0; n < 5; n++, await pause(100)) {
        proxies.back.cut();
        proxies.front.cut();
      }
    },
  },
  {
    fault: "F5",
    what: "20 answers cut after their commit",
    hits: "edge",
    async strike({ proxies }) {
      const before = proxies.back.repliesCut;
      proxies.back.cutReplies(20);
      proxies.front.cutReplies(3);
      await eventually("some are cut", () => proxies.back.repliesCut >= before + 5, 20_000);
      proxies.back.cutReplies(0);
      proxies.front.cutReplies(0);
    },
  },
  {
    fault: "F11",
    what: "the clock an hour forward",
    hits: "anybody",
    strike: (ground) => ground.clock.forward(),
  },
  {
    fault: "F4",
    what: "immediate stop of Postgres, and start",
    hits: "anybody",
    stopsTicker: true,
    strike: ({ project }) => project.restartDatabase("immediate"),
  },
  {
    fault: "F11",
    what: "the clock two hours back, and forward again",
    hits: "anybody",
    strike: (ground) => ground.clock.backForAWhile(),
  },
  {
    fault: "F14",
    what: "statement_timeout of 2 ms for the edge functions",
    hits: "edge",
    async strike(ground) {
      await insist(ground, "alter role service_role set statement_timeout = '2ms'; notify pgrst");
      await pause(2_000);
      await insist(ground, "alter role service_role reset statement_timeout; notify pgrst");
    },
  },
  {
    fault: "F18",
    what: "every connection of Postgres taken, the workers' terminated",
    hits: "anybody",
    stopsTicker: true,
    strike: exhaust,
  },
  {
    fault: "F10",
    what: "the clock stopped for a while",
    hits: "anybody",
    stopsTicker: true,
    async strike(ground) {
      await insist(ground, "select messenger_stop()");
      await pause(3_000);
      await insist(ground, "select messenger_start()");
    },
  },
  {
    fault: "F4",
    what: "kill -9 of the postmaster, and start",
    hits: "anybody",
    stopsTicker: true,
    async strike({ project }) {
      Deno.kill(project.databasePid!, "SIGKILL"); // it runs: a query was answered just now
      await eventually("it is gone", () => project.databasePid === undefined);
      await project.startDatabase();
    },
  },
];

/** Messages in flight when it struck; 0 when there were none. */
export async function strike(ground: Ground, blow: Blow): Promise<number> {
  const held = await inFlight(ground, blow.hits);
  await blow.strike(ground);
  return held;
}

async function exhaust({ project }: Ground): Promise<void> {
  const taken = await Promise.allSettled(Array.from({ length: 100 }, () => connect(project.databaseUrl())));
  try {
    await project.sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity where ${LIKE_A_WORKER}`);
    await pause(1_500);
  } finally {
    await Promise.all(taken.map((one) => one.status === "fulfilled" ? one.value.close() : undefined));
  }
}

/** F12: a statement that holds its snapshot, again and again, for a minute each or until Postgres goes down. */
export async function holdSnapshots(databaseUrl: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const connection = await connect(databaseUrl).catch(() => undefined);
    await connection?.query(`select count(*), pg_sleep(60) as ${HOLDING} from messenger_messages`).catch(() => {});
    await connection?.close();
    await pause(500, signal);
  }
}
