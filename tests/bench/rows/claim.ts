// Claiming and settling: batches of 1, 10 and 100, one consumer and four consumers; Symphony with completed messages
// kept and deleted, in every form of the exchange.
import { type BenchSetup, type Buses, prepare } from "../setup.ts";
import type { Line, Sample } from "../line.ts";
import { FORMS } from "../peers/exchange_form.ts";
import type { Peer } from "../peers/peer.ts";
import { openSymphony } from "../peers/symphony.ts";
import { type Batch, CLAIM_DELETED, CLAIM_KEPT } from "../targets.ts";
import { inTurn, rateOf, type Row } from "./row.ts";

const BATCHES: readonly Batch[] = [1, 10, 100];
const CONSUMERS = [1, 4] as const;
export const REASON =
  "Symphony claims and settles in database functions that check the fencing token of every message, " +
  "record its duration for the metrics and apply the options of the transport. graphile-worker completes a job by " +
  "its id alone, and pg-boss by its id and attempt.";

interface Columns {
  deleted: Peer[];
  kept: Peer[];
}

export const claimRow: Row = {
  name: "claim",
  async measure(setup, buses) {
    const open = (kept: boolean) => Promise.all(FORMS.map((form) => openSymphony(setup.project, { form, kept })));
    const ours = { deleted: await open(false), kept: await open(true) };
    try {
      const lines: Line[] = [];
      for (const consumers of CONSUMERS) {
        for (const batch of BATCHES) lines.push(...await measureOne(setup, ours, buses, batch, consumers));
      }
      return lines;
    } finally {
      for (const bus of [...ours.deleted, ...ours.kept]) await bus.close();
    }
  },
};

async function measureOne(
  setup: BenchSetup,
  ours: Columns,
  { graphileWorker, graphileWorkerSql, pgBoss }: Buses,
  batch: Batch,
  consumers: 1 | 4,
): Promise<Line[]> {
  const size = `${batch} x ${consumers}`;
  const messages = setup.sizes.drains[batch] * (batch === 100 ? 1 : consumers);
  const figures = await inTurn(
    setup,
    `claim and settle, ${size}`,
    setup.sizes.rounds,
    [...ours.deleted, ...ours.kept, graphileWorker, graphileWorkerSql, pgBoss],
    (bus) => drainAll(setup, bus, { messages, batch, consumers }),
  );
  const of = (...buses: Peer[]) => new Map(buses.map((bus) => [bus.name, figures.get(bus) ?? []]));
  return [
    {
      id: `claim ${size} deleted`,
      label: `claim and settle, deleted, ${size}`,
      unit: "per second",
      better: "higher",
      samples: of(...ours.deleted, graphileWorker, graphileWorkerSql, pgBoss),
      targets: consumers === 4 ? CLAIM_DELETED[batch] : undefined,
      note: "pg-boss cannot delete jobs on completion, so it keeps them in these rows too.",
      reason: REASON,
    },
    {
      id: `claim ${size} kept`,
      label: `claim and settle, kept, ${size}`,
      unit: "per second",
      better: "higher",
      samples: of(...ours.kept, pgBoss),
      targets: consumers === 4 ? CLAIM_KEPT[batch] : undefined,
      note: "graphile-worker deletes completed jobs and cannot keep them.",
      reason: REASON,
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
