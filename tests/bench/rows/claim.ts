// Claiming and settling: batches of 1, 10 and 100, one consumer and four; ours with completed messages kept and deleted.
import { type Buses, type Ground, prepare } from "../setup.ts";
import type { Line, Sample } from "../line.ts";
import type { Peer } from "../peers/peer.ts";
import { inTurn, rateOf, type Row } from "./row.ts";

const BATCHES = [1, 10, 100] as const;
const CONSUMERS = [1, 4] as const;

export const claimRow: Row = {
  name: "claim",
  async measure(ground, buses) {
    const lines: Line[] = [];
    for (const consumers of CONSUMERS) {
      for (const batch of BATCHES) lines.push(...await measureOne(ground, buses, batch, consumers));
    }
    return lines;
  },
};

async function measureOne(
  ground: Ground,
  { symphony, unkept, graphileWorker, pgBoss }: Buses,
  batch: 1 | 10 | 100,
  consumers: 1 | 4,
): Promise<Line[]> {
  const what = `claim+settle, ${batch} x ${consumers}`;
  const messages = ground.sizes.drains[batch] * (batch === 100 ? 1 : consumers);
  const figures = await inTurn(
    ground,
    what,
    ground.sizes.rounds,
    [unkept, symphony, graphileWorker, pgBoss],
    (bus) => drainAll(ground, bus, { messages, batch, consumers }),
  );
  const of = (...buses: Peer[]) => new Map(buses.map((bus) => [bus.name, figures.get(bus) ?? []]));
  const isTarget = consumers === 4;
  return [
    {
      label: `${what}, deleted`,
      unit: "per second",
      better: "higher",
      samples: of(unkept, graphileWorker, pgBoss),
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
  ground: Ground,
  bus: Peer,
  { messages, batch, consumers }: { messages: number; batch: number; consumers: number },
): Promise<Sample> {
  await prepare(ground, bus, messages);
  const plan = { messages, batch, consumers, within: ground.sizes.within };
  const { result: { handled, ms }, spent } = await ground.meter.around(() => bus.drain(plan));
  return rateOf(handled, ms, spent);
}
