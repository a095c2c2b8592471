// Storing messages with the shipped client over HTTP: one sender, and 64 senders at a time.
import { z } from "zod";
import { createSymphony } from "../../../shared/client.ts";
import { defineMessage } from "../../../shared/message.ts";
import { timed } from "../timed.ts";
import { type BenchSetup, type Buses, prepare } from "../setup.ts";
import { OURS, type Sample } from "../line.ts";
import { openGraphileWorkerSql } from "../peers/graphile_worker_sql.ts";
import { payloadOf, type Peer } from "../peers/peer.ts";
import { openPgBoss } from "../peers/pg_boss.ts";
import { CONCURRENT_SENDS } from "../targets.ts";
import { byName, inTurn, rateOf, type Row, shareOf } from "./row.ts";

const SENDERS = 64;
const PEER_CONNECTIONS = 10;

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

interface Sending {
  rate: Sample;
  p50: Sample;
}

export const concurrentRow: Row = {
  name: "concurrent",
  async measure(setup, { symphony }: Buses) {
    const { project, sizes } = setup;
    const peers = [
      await openGraphileWorkerSql(project, PEER_CONNECTIONS),
      await openPgBoss(project, PEER_CONNECTIONS),
    ];
    const senders: Sender[] = [
      clientSender(setup, symphony),
      ...peers.map((bus) => ({ name: bus.name, bus, send: () => bus.enqueue() })),
    ];
    try {
      const figures = await inTurn(
        setup,
        "64 concurrent senders",
        sizes.rounds,
        senders,
        (sender) => sendAll(setup, sender, SENDERS, sizes.concurrentSends),
      );
      const note =
        "Symphony uses the shipped client over HTTP through the API gateway; sends that arrive while a call " +
        "is in flight share the next one. The peers use ten database connections.";
      return [
        {
          id: "concurrent sends",
          label: "64 concurrent single sends",
          unit: "per second",
          better: "higher",
          samples: byName(figures, ({ rate }) => rate),
          targets: CONCURRENT_SENDS,
          note,
        },
        {
          id: "concurrent sends p50",
          label: "64 concurrent single sends: p50 of a send",
          unit: "ms",
          better: "lower",
          samples: byName(figures, ({ p50 }) => p50),
          note,
        },
      ];
    } finally {
      for (const peer of peers) await peer.close();
    }
  },
};

export const httpRow: Row = {
  name: "http",
  async measure(setup, { symphony }: Buses) {
    const sender = clientSender(setup, symphony);
    const figures = await inTurn(
      setup,
      "single sends over HTTP",
      setup.sizes.rounds,
      [sender],
      (one) => sendAll(setup, one, 1, setup.sizes.singles),
    );
    const note = "The shipped client calls the data API through the API gateway, one send after the other.";
    return [
      {
        id: "http dispatch",
        label: "store 1 per call over HTTP, 1 sender",
        unit: "per second",
        better: "higher",
        samples: byName(figures, ({ rate }) => rate),
        note,
      },
      {
        id: "http dispatch p50",
        label: "store 1 per call over HTTP: p50 of a send",
        unit: "ms",
        better: "lower",
        samples: byName(figures, ({ p50 }) => p50),
        note,
      },
    ];
  },
};

function clientSender({ project }: BenchSetup, bus: Peer): Sender {
  const client = createSymphony({ url: project.url, key: project.secretKey });
  return { name: OURS, bus, send: () => client.dispatch(message, payloadOf(1)) };
}

async function sendAll(setup: BenchSetup, { bus, send }: Sender, senders: number, messages: number): Promise<Sending> {
  await prepare(setup, bus);
  await Promise.all(Array.from({ length: senders }, send)); // opens every connection
  const waits: number[] = [];
  const { result, spent } = await setup.meter.around(() =>
    timed(() => Promise.all(Array.from({ length: senders }, () => sendInARow(send, messages, waits))))
  );
  return { rate: rateOf(waits.length, result, spent), p50: shareOf(waits, 0.5) };
}

/**
 * One of the senders: it sends the next message when the last one is stored, until all senders together have sent
 * enough.
 */
async function sendInARow(send: () => Promise<unknown>, enough: number, waits: number[]): Promise<void> {
  while (waits.length < enough) waits.push(await timed(send));
}
