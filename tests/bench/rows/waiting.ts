// The server CPU that one worker costs while it waits for messages.
import { z } from "zod";
import { connect } from "../../../shared/db.ts";
import { defineMessage } from "../../../shared/message.ts";
import { pause } from "../../pause.ts";
import { directReceiver } from "../direct_receiver.ts";
import { OURS } from "../line.ts";
import { connectAsService } from "../peers/symphony.ts";
import { type BenchSetup, type Buses, prepare } from "../setup.ts";
import { startWorker } from "../worker.ts";
import { inTurn, type Row } from "./row.ts";

export const waitingRow: Row = {
  name: "waiting",
  async measure(setup, { symphony }: Buses) {
    const phases = [{ name: "without a worker" }, { name: "with a worker that waits" }];
    await prepare(setup, symphony);
    const figures = await inTurn(
      setup,
      "waiting worker",
      setup.sizes.rounds,
      phases,
      (phase) => phase === phases[0] ? cpuPerSecond(setup) : withWorker(setup, () => cpuPerSecond(setup)),
    );
    const [without, waiting] = phases.map((phase) => figures.get(phase) ?? []);
    return [{
      id: "waiting worker",
      label: "server CPU of one worker that waits for messages",
      unit: "ms per second",
      better: "lower",
      samples: new Map([[OURS, waiting.map((cpu, round) => ({ value: Math.max(0, cpu - without[round]) }))]]),
      note: "The shipped consume loop on a database connection, less the CPU of the same server without it. " +
        "An edge function's worker waits only while it lingers: 5 s after its last message.",
    }];
  },
};

async function withWorker(setup: BenchSetup, measure: () => Promise<number>): Promise<number> {
  const { project } = setup;
  const sql = connectAsService(project, 2); // one for claims, and one for heartbeats that come during a claim
  const message = defineMessage({ type: "BenchMessage", payload: z.object({}), handle: () => null });
  const db = connect({ url: project.url, key: project.secretKey });
  const worker = startWorker(directReceiver(sql), db, [message], Infinity);
  try {
    await pause(1_000); // the pace of its polls has become that of an idle worker
    return await measure();
  } finally {
    await worker.stop();
    await sql.end();
  }
}

/** Milliseconds of server CPU per second. */
async function cpuPerSecond({ meter, sizes }: BenchSetup): Promise<number> {
  const { spent } = await meter.around(() => pause(sizes.waiting));
  return spent.cpu / sizes.waiting;
}
