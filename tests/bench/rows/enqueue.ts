// Storing messages: one per call, a thousand per call, and 64 concurrent senders.
import { z } from "zod";
import { createSymphony } from "../../../shared/client.ts";
import { defineMessage } from "../../../shared/message.ts";
import { timed } from "../timed.ts";
import { type Buses, prepare } from "../setup.ts";
import { percentile } from "../../percentile.ts";
import { type Line, OURS } from "../line.ts";
import { openGraphileWorker } from "../peers/graphile_worker.ts";
import { payloadOf, type Peer } from "../peers/peer.ts";
import { openPgBoss } from "../peers/pg_boss.ts";
import { openSymphony } from "../peers/symphony.ts";
import { byName, inTurn, rateOf, type Row } from "./row.ts";

const SENDERS = 64;
const PEER_CONNECTIONS = 10;

export const enqueueRow: Row = {
  name: "enqueue",
  async measure(setup) {
    const { project, meter, sizes } = setup;
    const buses = [await openSymphony(project, { connections: 1 })]
      .concat(await openGraphileWorker(project, 1), await openPgBoss(project, 1));
    const run = (label: string, times: number, messages: number, call: (bus: Peer) => Promise<void>) =>
      inTurn(setup, label, sizes.rounds, buses, async (bus) => {
        await prepare(setup, bus);
        await call(bus); // opens its connection and prepares its statement
        const { result, spent } = await meter.around(() =>
          timed(async () => {
            for (let n = 0; n < times; n++) await call(bus);
          })
        );
        return rateOf(times * messages, result, spent);
      });
    try {
      const single = await run("single sends", sizes.singles, 1, (bus) => bus.enqueue());
      const batch = await run("batches of 1000", sizes.batches, 1_000, (bus) => bus.enqueueBatch(1_000));
      return [
        { label: "enqueue, 1 per call, 1 connection", unit: "per second", better: "higher", samples: byName(single) },
        { label: "enqueue, 1000 per call, 1 connection", unit: "per second", better: "higher", samples: byName(batch) },
      ];
    } finally {
      for (const bus of buses) await bus.close();
    }
  },
};

const message = defineMessage({
  type: "BenchMessage",
  payload: z.object({ user: z.string(), template: z.string(), n: z.number() }),
  handle: () => null,
});

/** Sends one message, and empties the bus that receives it. */
interface Sender {
  name: string;
  bus: Peer;
  send(): Promise<unknown>;
}

export const concurrentRow: Row = {
  name: "concurrent",
  async measure(setup, { symphony }: Buses) {
    const { project, meter, sizes } = setup;
    const client = createSymphony({ url: project.url, key: project.secretKey });
    const peers = [
      await openGraphileWorker(project, PEER_CONNECTIONS),
      await openPgBoss(project, PEER_CONNECTIONS),
    ];
    const senders: Sender[] = [
      { name: OURS, bus: symphony, send: () => client.dispatch(message, payloadOf(1)) },
      ...peers.map((bus) => ({ name: bus.name, bus, send: () => bus.enqueue() })),
    ];
    try {
      const figures = await inTurn(setup, "64 concurrent senders", sizes.rounds, senders, async ({ bus, send }) => {
        await prepare(setup, bus);
        await Promise.all(Array.from({ length: SENDERS }, send)); // opens every connection
        const waits: number[] = [];
        const { result, spent } = await meter.around(() =>
          timed(() =>
            Promise.all(Array.from({ length: SENDERS }, () => sendInARow(send, sizes.concurrentSends, waits)))
          )
        );
        return { rate: rateOf(waits.length, result, spent), p50: { value: percentile(waits, 0.5) } };
      });
      const pick = (of: "rate" | "p50") =>
        new Map([...figures].map(([{ name }, samples]) => [name, samples.map((sample) => sample[of])]));
      const lines: Line[] = [
        { label: "64 concurrent single sends", unit: "per second", better: "higher", samples: pick("rate") },
        { label: "64 concurrent single sends, p50 of a send", unit: "ms", better: "lower", samples: pick("p50") },
      ];
      const note = "Symphony uses the shipped client over HTTP through the API gateway, the peers use ten connections.";
      return lines.map((line) => ({ ...line, note }));
    } finally {
      for (const peer of peers) await peer.close();
    }
  },
};

/**
 * One of the senders: it sends the next message when the last one is stored, until all senders together have sent
 * enough.
 */
async function sendInARow(send: () => Promise<unknown>, enough: number, waits: number[]): Promise<void> {
  while (waits.length < enough) waits.push(await timed(send));
}
