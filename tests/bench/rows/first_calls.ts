// The first calls of a fresh session, which have to load catalogs, functions and plans: edge functions meet fresh
// sessions of the pooler.
import type { Sql } from "postgres";
import { json, type Lease } from "../peers/exchange_form.ts";
import { payloadOf } from "../peers/peer.ts";
import { connectAsService, TYPE } from "../peers/symphony.ts";
import { type Buses, prepare } from "../setup.ts";
import { OURS } from "../line.ts";
import { FIRST_CALL } from "../targets.ts";
import { timed } from "../timed.ts";
import { inTurn, type Row, shareOf } from "./row.ts";

const CALLS = ["first messenger_exchange", "second messenger_exchange", "first messenger_dispatch"] as const;

export const firstCallsRow: Row = {
  name: "first",
  async measure(setup, { symphony }: Buses) {
    const { project, sizes } = setup;
    /** Milliseconds of each call of `work`, made in a session that has only been connected. */
    const inSession = async (work: (sql: Sql) => Promise<number[]>) => {
      const sql = connectAsService(project, 1);
      try {
        await sql`select 1`.simple();
        return await work(sql);
      } finally {
        await sql.end();
      }
    };
    const exchangeTwice = (sql: Sql) => {
      let leases: readonly Lease[] = [];
      const exchange = () =>
        timed(async () => leases = await json.exchange(sql, leases, { worker: "bench", batch: 1, type: TYPE }));
      return exchange().then(async (first) => [first, await exchange()]);
    };
    const dispatch = async (sql: Sql) => [
      await timed(() => sql`select * from messenger_dispatch(${TYPE}, ${sql.json(payloadOf(1))})`),
    ];
    const figures = await inTurn(setup, "first calls of sessions", sizes.rounds, [symphony], async (bus) => {
      await prepare(setup, bus, 2 * sizes.sessions);
      const times: number[][] = [];
      for (let n = 0; n < sizes.sessions; n++) {
        times.push([...await inSession(exchangeTwice), ...await inSession(dispatch)]);
      }
      return CALLS.map((_, call) => shareOf(times.map((session) => session[call]), 0.5));
    });
    const rounds = figures.get(symphony) ?? [];
    return CALLS.map((name, call) => ({
      id: name,
      label: `${name} of a session: p50`,
      unit: "ms" as const,
      better: "lower" as const,
      samples: new Map([[OURS, rounds.map((samples) => samples[call])]]),
      targets: FIRST_CALL,
      note: "Each call has a message to claim or to store; the connection is open before.",
    }));
  },
};
