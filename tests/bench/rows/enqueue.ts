// Storing messages with SQL: one per call, a thousand per call, and one per call with the rights of a user.
import postgres from "postgres";
import { timed } from "../timed.ts";
import { type BenchSetup, prepare } from "../setup.ts";
import { type Line, OURS, type Sample } from "../line.ts";
import { openGraphileWorker } from "../peers/graphile_worker.ts";
import { openGraphileWorkerSql } from "../peers/graphile_worker_sql.ts";
import { payloadOf, type Peer } from "../peers/peer.ts";
import { openPgBoss } from "../peers/pg_boss.ts";
import { openSymphony } from "../peers/symphony.ts";
import { ENQUEUE_ONE, ENQUEUE_THOUSAND } from "../targets.ts";
import { byName, inTurn, rateOf, type Row } from "./row.ts";

const USER_TYPE = "BenchUserMessage";
const PER_USER = 500; // below the quota of unfinished messages of a user

export const enqueueRow: Row = {
  name: "enqueue",
  async measure(setup) {
    const { project, sizes } = setup;
    const buses: Peer[] = [];
    try {
      buses.push(await openSymphony(project, { connections: 1 }));
      buses.push(await openGraphileWorker(project, 1));
      buses.push(await openGraphileWorkerSql(project, 1));
      buses.push(await openPgBoss(project, 1));
      const run = async (label: string, calls: number, perCall: number, call: (bus: Peer) => Promise<void>) =>
        byName(
          await inTurn(setup, label, sizes.rounds, buses, (bus) =>
            repeat(setup, bus, { calls, perCall }, () =>
              call(bus))),
          (sample) =>
            sample,
        );
      const single = await run("single sends", sizes.singles, 1, (bus) => bus.enqueue());
      const batch = await run("batches of 1000", sizes.batches, 1_000, (bus) => bus.enqueueBatch(1_000));
      return [
        {
          id: "enqueue 1",
          label: "store 1 per call, 1 connection",
          unit: "per second",
          better: "higher",
          samples: single,
          targets: ENQUEUE_ONE,
          reason:
            "messenger_dispatch checks names, sizes and ranges of every option and of the payload, and looks up " +
            "the type's settings, before it stores the message.",
        },
        {
          id: "enqueue 1000",
          label: "store 1,000 per call, 1 connection",
          unit: "per second",
          better: "higher",
          samples: batch,
          targets: ENQUEUE_THOUSAND,
          reason: "messenger_dispatch_batch checks every element as messenger_dispatch does, and returns one row per " +
            "element.",
        },
        await userLine(setup, buses[0]),
      ];
    } finally {
      for (const bus of buses) await bus.close();
    }
  },
};

/** messenger_user_dispatch as the data API calls it: role authenticated, with the claims of the user's token. */
async function userLine(setup: BenchSetup, symphony: Peer): Promise<Line> {
  const { project, sizes } = setup;
  const sql = postgres(project.databaseUrl(), { max: 1, onnotice: () => {}, connection: { role: "authenticated" } });
  try {
    await project.sql`
      select messenger_register(${project.sql.json([{ type: USER_TYPE, dispatchable_by: "user" }])})`;
    let sent = 0;
    const send = async () => {
      if (sent++ % PER_USER === 0) {
        const claims = JSON.stringify({ sub: crypto.randomUUID(), role: "authenticated" });
        await sql`select set_config('request.jwt.claims', ${claims}, false)`;
      }
      await sql`select * from messenger_user_dispatch(${USER_TYPE}, ${sql.json(payloadOf(sent))})`;
    };
    const figures = await inTurn(
      setup,
      "single sends of users",
      sizes.rounds,
      [symphony],
      (bus) => repeat(setup, bus, { calls: sizes.singles, perCall: 1 }, send),
    );
    return {
      id: "user dispatch",
      label: "store 1 per call as a user, 1 connection",
      unit: "per second",
      better: "higher",
      samples: new Map([[OURS, figures.get(symphony) ?? []]]),
      note:
        "messenger_user_dispatch checks the type's permission and the user's quota; the peers have no such function.",
    };
  } finally {
    await sql.end();
  }
}

async function repeat(
  setup: BenchSetup,
  bus: Peer,
  { calls, perCall }: { calls: number; perCall: number },
  call: () => Promise<void>,
): Promise<Sample> {
  await prepare(setup, bus);
  await call(); // opens the connection and prepares the statement
  const { result, spent } = await setup.meter.around(() =>
    timed(async () => {
      for (let n = 0; n < calls; n++) await call();
    })
  );
  return rateOf(calls * perCall, result, spent);
}
