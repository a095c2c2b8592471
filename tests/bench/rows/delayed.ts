// A million delayed messages: throughput of due messages beside them, and the cost of an empty poll.
import { type Buses, prepare, settle } from "../setup.ts";
import { median, type Sample } from "../line.ts";
import { byName, inTurn, rateOf, type Row } from "./row.ts";

export const delayedRow: Row = {
  name: "delayed",
  async measure(setup, { symphony, graphileWorker, pgBoss }: Buses) {
    const { meter, sizes, admin, report } = setup;
    const buses = [symphony, graphileWorker, pgBoss];
    for (const bus of buses) {
      report(`storing ${sizes.delayed} delayed messages: ${bus.name}`);
      await prepare(setup, bus, 0, sizes.delayed);
    }
    const polls = await inTurn(
      setup,
      "empty polls",
      sizes.rounds,
      buses,
      async (bus): Promise<Sample> => ({ value: median(await bus.emptyPolls(sizes.polls)) }),
    );
    const due = await inTurn(setup, "due beside delayed", sizes.heavyRounds, buses, async (bus) => {
      await bus.stock(sizes.due);
      await settle(admin);
      const plan = { messages: sizes.due, batch: 100, consumers: 4, within: sizes.within };
      const { result: { handled, ms }, spent } = await meter.around(() => bus.drain(plan));
      return rateOf(handled, ms, spent);
    });
    for (const bus of buses) await bus.empty();
    return [
      {
        label: `${thousands(sizes.due)} due beside ${thousands(sizes.delayed)} delayed, 100 x 4`,
        unit: "per second",
        better: "higher",
        samples: byName(due),
        target: { of: "peer", peer: "graphile-worker", must: 1.2, aim: 1.33 },
      },
      {
        label: `empty poll beside ${thousands(sizes.delayed)} delayed`,
        unit: "ms",
        better: "lower",
        samples: byName(polls),
        target: { of: "value", must: 1, aim: 0.3 },
      },
    ];
  },
};

function thousands(count: number): string {
  return count % 1_000_000 === 0 ? `${count / 1_000_000}M` : `${count / 1_000}k`;
}
