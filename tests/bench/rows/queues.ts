// Thousands of queues with one message each that is not due: the cost of an empty poll of all of them.
import { median, OURS, type Sample } from "../line.ts";
import { payloadOf } from "../peers/peer.ts";
import { stockBy } from "../peers/drain.ts";
import { connectAsService, dispatchMany, TYPE } from "../peers/symphony.ts";
import { type Buses, prepare, settle } from "../setup.ts";
import { EMPTY_POLL_QUEUES } from "../targets.ts";
import { inTurn, type Row } from "./row.ts";

const PER_CALL = 1_000;

export const queuesRow: Row = {
  name: "queues",
  async measure(setup, { symphony }: Buses) {
    const { project, admin, sizes } = setup;
    await prepare(setup, symphony);
    const sql = connectAsService(project, 1);
    let queue = 0;
    await stockBy(sizes.queues, { perCall: PER_CALL, connections: 1 }, (messages) =>
      dispatchMany(
        sql,
        Array.from({ length: messages }, () => ({
          type: TYPE,
          payload: payloadOf(0),
          queue: `queue-${queue++}`,
          delay: "1 day",
        })),
      ));
    await sql.end();
    await settle(admin);
    const figures = await inTurn(
      setup,
      `empty polls of ${sizes.queues} queues`,
      sizes.rounds,
      [symphony],
      async (bus): Promise<Sample> => ({ value: median(await bus.emptyPolls(sizes.polls)) }),
    );
    await symphony.empty();
    return [{
      id: "empty poll beside queues",
      label: `empty poll beside ${sizes.queues.toLocaleString("en-US")} queues of future messages`,
      unit: "ms",
      better: "lower",
      samples: new Map([[OURS, figures.get(symphony) ?? []]]),
      targets: EMPTY_POLL_QUEUES,
      note: "Each queue has one message, which is due after a day, and the worker claims from every queue. " +
        "A worker of pg-boss claims from one queue only, and a queue of graphile-worker runs its jobs one by one.",
    }];
  },
};
