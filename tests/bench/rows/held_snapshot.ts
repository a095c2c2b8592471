// A transaction holds its snapshot while messages are stored and handled at full speed, so no vacuum removes dead row
// versions.
import postgres from "postgres";
import { pause } from "../../pause.ts";
import { type BenchSetup, type Buses, prepare } from "../setup.ts";
import type { Peer } from "../peers/peer.ts";
import { HELD_SNAPSHOT_DECLINE, HELD_SNAPSHOT_RATE } from "../targets.ts";
import { byName, inTurn, type Row } from "./row.ts";

const BACKLOG = 5_000; // messages that the producer keeps ahead
const PORTION = 1_000;

interface Rates {
  first: number;
  last: number;
}

const REASON =
  "While a snapshot is held, the entries of completed messages stay in the index of due messages. A claim " +
  "skips them by its watermark, but the search for queues with due messages reads them whenever it runs.";

export const heldSnapshotRow: Row = {
  name: "snapshot",
  async measure(setup, { symphony, graphileWorker, pgBoss }: Buses) {
    const { held, part } = setup.sizes.snapshot;
    const buses = [symphony, graphileWorker, pgBoss];
    const figures = await inTurn(
      setup,
      "held snapshot",
      setup.sizes.heavyRounds,
      buses,
      (bus) => underSnapshot(setup, bus),
    );
    return [
      {
        id: "held snapshot",
        label: `snapshot held ${held / 1_000} s: rate of the last ${part / 1_000} s`,
        unit: "per second",
        better: "higher",
        samples: byName(figures, ({ last }) => ({ value: last })),
        targets: HELD_SNAPSHOT_RATE,
        note: "One producer stores 1000 messages per call, and two consumers claim 100 each. " +
          "Each bus has its default settings, so Symphony and pg-boss keep completed messages.",
        reason: REASON,
      },
      {
        id: "held snapshot decline",
        label: `snapshot held: last ${part / 1_000} s / first ${part / 1_000} s`,
        unit: "times",
        better: "higher",
        samples: byName(figures, ({ first, last }) => ({ value: last / first })),
        targets: HELD_SNAPSHOT_DECLINE,
        reason: REASON,
      },
    ];
  },
};

async function underSnapshot(setup: BenchSetup, bus: Peer): Promise<Rates> {
  const { project, sizes: { snapshot: { held, part } } } = setup;
  await prepare(setup, bus, BACKLOG);
  const holder = postgres(project.databaseUrl(), { max: 1, onnotice: () => {} });
  const released = Promise.withResolvers<void>();
  const taken = Promise.withResolvers<void>();
  const holding = holder.begin("isolation level repeatable read", async (tx) => {
    await tx`select count(*) from pg_class`; // the first statement takes the snapshot
    taken.resolve();
    await released.promise;
  });
  await Promise.race([taken.promise, holding]);
  try {
    return await atFullSpeed(bus, held, part);
  } finally {
    released.resolve();
    await holding;
    await holder.end();
    await bus.empty();
  }
}

async function atFullSpeed(bus: Peer, held: number, part: number): Promise<Rates> {
  const begin = performance.now();
  let stored = BACKLOG;
  let handled = 0;
  const counts = { first: 0, last: 0 };
  const produce = async () => {
    while (performance.now() - begin < held) {
      if (stored - handled >= BACKLOG) {
        await pause(2);
        continue;
      }
      await bus.enqueueBatch(PORTION);
      stored += PORTION;
    }
  };
  const onHandled = (count: number) => {
    handled += count;
    const at = performance.now() - begin;
    if (at < part) counts.first += count;
    if (at >= held - part && at < held) counts.last += count;
  };
  await Promise.all([produce(), bus.drain({ messages: Infinity, consumers: 2, batch: 100, within: held, onHandled })]);
  return { first: counts.first / part * 1_000, last: counts.last / part * 1_000 };
}
