// A long queue against a short one: the cost of a message must not depend on the number of pending messages.
import { type Buses, prepare } from "../setup.ts";
import { OURS, type Sample } from "../line.ts";
import { CPU_OF_LONG_QUEUE } from "../targets.ts";
import { inTurn, rateOf, type Row, thousands } from "./row.ts";

export const pendingRow: Row = {
  name: "pending",
  async measure(setup, { symphony }: Buses) {
    const { meter, sizes: { heavyRounds, pending, within } } = setup;
    const queues = [{ name: "the short queue", length: pending.small }, {
      name: "the long queue",
      length: pending.large,
    }];
    const figures = await inTurn(setup, "pending", heavyRounds, queues, async ({ length }) => {
      await prepare(setup, symphony, length);
      const plan = { messages: pending.handled, batch: 100, consumers: 4, within };
      const { result: { handled, ms }, spent } = await meter.around(() => symphony.drain(plan));
      return rateOf(handled, ms, spent);
    });
    await symphony.empty();
    const [short, long] = queues.map((queue) => figures.get(queue) ?? []);
    const quotients = (of: (sample: Sample) => number): Sample[] =>
      short.map((sample, round) => ({ value: of(long[round]) / of(sample) }));
    const lengths = `${thousands(pending.large)} pending / ${thousands(pending.small)} pending`;
    return [
      {
        id: "cpu of a long queue",
        label: `server CPU per message: ${lengths}`,
        unit: "times",
        better: "lower",
        samples: new Map([[OURS, quotients(({ cpu }) => cpu ?? NaN)]]),
        targets: CPU_OF_LONG_QUEUE,
      },
      {
        id: "rate of a long queue",
        label: `rate: ${lengths}`,
        unit: "times",
        better: "higher",
        samples: new Map([[OURS, quotients(({ value }) => value)]]),
      },
    ];
  },
};
