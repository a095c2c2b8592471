// The faults of the soak, each injected while messages are in flight. Each one is ended before `inject` returns, except
// for slow recoveries.
import { connect } from "../../../supabase/local/connection.ts";
import { eventually } from "../../eventually.ts";
import { pause } from "../../pause.ts";
import type { SoakFault } from "./fault.ts";
import { FOREIGN_FAULTS } from "./foreign_faults.ts";
import { inFlight, runWhenUp, SNAPSHOT_MARKER, type SoakSetup } from "./setup.ts";

const OF_WORKERS = "application_name ~ '^sql-' or usename = 'authenticator'";

export const SOAK_FAULTS: readonly SoakFault[] = [
  {
    id: "F1",
    what: "kill -9 of the worker edge function",
    affects: "edge",
    inject: ({ project }) => project.functions.kill("worker"),
  },
  {
    id: "F1",
    what: "kill -9 of a SQL consumer",
    affects: "sql",
    inject: ({ workers }) => Promise.resolve(workers.kill()),
  },
  {
    id: "F3",
    what: "pg_terminate_backend of the workers' connections",
    affects: "anybody",
    inject: (setup) => runWhenUp(setup, `select pg_terminate_backend(pid) from pg_stat_activity where ${OF_WORKERS}`),
  },
  {
    id: "F6",
    what: "the worker edge function stopped past its lease, then continued",
    affects: "edge",
    async inject({ project, lease }) {
      await project.functions.kill("worker", "SIGSTOP");
      await pause(lease + 1_500);
      await project.functions.kill("worker", "SIGCONT");
    },
  },
  ...FOREIGN_FAULTS,
  {
    id: "F3",
    what: "kill -9 of a backend: Postgres restarts itself",
    affects: "anybody",
    stopsTicker: true,
    async inject({ project }) {
      const [{ pid }] = await project.sql<{ pid: number }[]>`
        select pid from pg_stat_activity where application_name ~ '^sql-' or usename = 'authenticator'
          order by state, random() limit 1`;
      Deno.kill(pid, "SIGKILL");
    },
  },
  {
    id: "F6",
    what: "a SQL consumer stopped past its lease, then continued",
    affects: "sql",
    inject: ({ workers, lease }) => workers.stop(lease + 1_500),
  },
  {
    id: "F5",
    what: "every TCP connection of edge functions and producers cut",
    affects: "edge",
    async inject({ proxies }) {
      for (let n = 0; n < 5; n++, await pause(100)) {
        proxies.back.cut();
        proxies.front.cut();
      }
    },
  },
  {
    id: "F5",
    what: "20 replies cut after their commit",
    affects: "edge",
    async inject({ proxies }) {
      const before = proxies.back.repliesCut;
      proxies.back.cutReplies(20);
      proxies.front.cutReplies(3);
      await eventually("some are cut", () => proxies.back.repliesCut >= before + 5, 20_000);
      proxies.back.cutReplies(0);
      proxies.front.cutReplies(0);
    },
  },
  {
    id: "F11",
    what: "the clock an hour forward",
    affects: "anybody",
    inject: (setup) => setup.clock.forward(),
  },
  {
    id: "F4",
    what: "immediate stop of Postgres, and start",
    affects: "anybody",
    stopsTicker: true,
    inject: ({ project }) => project.restartDatabase("immediate"),
  },
  {
    id: "F11",
    what: "the clock two hours back, and forward again",
    affects: "anybody",
    inject: (setup) => setup.clock.backForAWhile(),
  },
  {
    id: "F14",
    what: "statement_timeout of 2 ms for the edge functions",
    affects: "edge",
    async inject(setup) {
      await runWhenUp(setup, "alter role service_role set statement_timeout = '2ms'; notify pgrst");
      await pause(2_000);
      await runWhenUp(setup, "alter role service_role reset statement_timeout; notify pgrst");
    },
  },
  {
    id: "F18",
    what: "every connection of Postgres taken, the workers' terminated",
    affects: "anybody",
    stopsTicker: true,
    inject: exhaust,
  },
  {
    id: "F10",
    what: "the ticker stopped for a while",
    affects: "anybody",
    stopsTicker: true,
    async inject(setup) {
      await runWhenUp(setup, "select messenger_stop()");
      await pause(3_000);
      await runWhenUp(setup, "select messenger_start()");
    },
  },
  {
    id: "F4",
    what: "kill -9 of the postmaster, and start",
    affects: "anybody",
    stopsTicker: true,
    async inject({ project }) {
      Deno.kill(project.databasePid!, "SIGKILL"); // it runs: it has just replied to a query
      await eventually("it is gone", () => project.databasePid === undefined);
      await project.startDatabase();
    },
  },
];

/** Messages in flight at the moment of the fault. */
export async function inject(setup: SoakSetup, fault: SoakFault): Promise<number> {
  const held = await inFlight(setup, fault.affects);
  await fault.inject(setup);
  return held;
}

async function exhaust({ project }: SoakSetup): Promise<void> {
  const taken = await Promise.allSettled(Array.from({ length: 100 }, () => connect(project.databaseUrl())));
  try {
    await project.sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity where ${OF_WORKERS}`);
    await pause(1_500);
  } finally {
    await Promise.all(taken.map((one) => one.status === "fulfilled" ? one.value.close() : undefined));
  }
}

/** F12: a statement that holds its snapshot, repeatedly, for a minute each or until Postgres stops. */
export async function holdSnapshots(databaseUrl: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const connection = await connect(databaseUrl).catch(() => undefined);
    await connection?.query(`select count(*), pg_sleep(60) as ${SNAPSHOT_MARKER} from messenger_messages`).catch(
      () => {},
    );
    await connection?.close();
    await pause(500, signal);
  }
}
