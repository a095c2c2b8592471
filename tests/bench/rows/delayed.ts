// A million delayed messages: throughput of due messages beside them, and the cost of an empty poll.
import { type Buses, prepare, settle } from "../setup.ts";
import { median, type Sample } from "../line.ts";
import { DUE_BESIDE_DELAYED, EMPTY_POLL_DELAYED } from "../targets.ts";
import { REASON } from "./claim.ts";
import { byName, inTurn, rateOf, type Row, thousands } from "./row.ts";

export const delayedRow: Row = {
  name: "delayed",
  async measure(setup, { symphonyDeleting, graphileWorker, pgBoss }: Buses) {
    const { meter, sizes, admin, report } = setup;
    const buses = [symphonyDeleting, graphileWorker, pgBoss];
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
        id: "due beside delayed",
        label: `${thousands(sizes.due)} due beside ${thousands(sizes.delayed)} delayed, deleted, 100 x 4`,
        unit: "per second",
        better: "higher",
        samples: byName(due, (sample) => sample),
        targets: DUE_BESIDE_DELAYED,
        note: "Symphony and graphile-worker delete completed messages here; pg-boss keeps them.",
        reason: REASON,
      },
      {
        id: "empty poll beside delayed",
        label: `empty poll beside ${thousands(sizes.delayed)} delayed`,
        unit: "ms",
        better: "lower",
        samples: byName(polls, (sample) => sample),
        targets: EMPTY_POLL_DELAYED,
      },
    ];
  },
};
