// Claiming and settling: batches of 1, 10 and 100, one consumer and four consumers; Symphony with completed messages
// kept and deleted.
import { type BenchSetup, type Buses, prepare } from "../setup.ts";
import type { Line, Sample } from "../line.ts";
import type { Peer } from "../peers/peer.ts";
import { inTurn, rateOf, type Row } from "./row.ts";

const BATCHES = [1, 10, 100] as const;
const CONSUMERS = [1, 4] as const;

export const claimRow: Row = {
  name: "claim",
  async measure(setup, buses) {
    const lines: Line[] = [];
    for (const consumers of CONSUMERS) {
      for (const batch of BATCHES) lines.push(...await measureOne(setup, buses, batch, consumers));
    }
    return lines;
  },
};

async function measureOne(
  setup: BenchSetup,
  { symphony, symphonyDeleting, graphileWorker, pgBoss }: Buses,
  batch: 1 | 10 | 100,
  consumers: 1 | 4,
): Promise<Line[]> {
  const what = `claim+settle, ${batch} x ${consumers}`;
  const messages = setup.sizes.drains[batch] * (batch === 100 ? 1 : consumers);
  const figures = await inTurn(
    setup,
    what,
    setup.sizes.rounds,
    [symphonyDeleting, symphony, graphileWorker, pgBoss],
    (bus) => drainAll(setup, bus, { messages, batch, consumers }),
  );
  const of = (...buses: Peer[]) => new Map(buses.map((bus) => [bus.name, figures.get(bus) ?? []]));
  const isTarget = consumers === 4;
  return [
    {
      label: `${what}, deleted`,
      unit: "per second",
      better: "higher",
      samples: of(symphonyDeleting, graphileWorker, pgBoss),
      ...(isTarget && { target: { of: "peer", must: 1.2, aim: 1.6 } }),
      note: "pg-boss cannot delete jobs on completion, so it keeps them in these rows too.",
    },
    {
      label: `${what}, kept`,
      unit: "per second",
      better: "higher",
      samples: of(symphony, pgBoss),
      ...(isTarget && { target: { of: "peer", must: 1.4, aim: 1.7 } }),
      note: "graphile-worker deletes completed jobs and cannot keep them.",
    },
  ];
}

async function drainAll(
  setup: BenchSetup,
  bus: Peer,
  { messages, batch, consumers }: { messages: number; batch: number; consumers: number },
): Promise<Sample> {
  await prepare(setup, bus, messages);
  const plan = { messages, batch, consumers, within: setup.sizes.within };
  const { result: { handled, ms }, spent } = await setup.meter.around(() => bus.drain(plan));
  return rateOf(handled, ms, spent);
}
