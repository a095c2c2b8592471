// The clock where pg_cron cannot be had: this process ticks each second what pg_cron's job would.
import { connect, type Connection, isDown } from "./connection.ts";

const SECOND = 1_000;

export interface OutsideClock {
  stop(): Promise<void>;
}

export interface OutsideClockOptions {
  /** Of a role that owns the product. */
  databaseUrl: string;
  log(line: string): void;
}

export function tickFromOutside({ databaseUrl, log }: OutsideClockOptions): OutsideClock {
  let connection: Connection | undefined;
  let running = Promise.resolve();
  let busy = false;
  log("pg_cron is not available here: the gateway ticks instead, each second, as long as it runs.");
  const timer = setInterval(() => {
    // A tick that takes longer than a second is not overtaken.
    if (!busy) running = tick();
  }, SECOND);

  async function tick() {
    busy = true;
    try {
      connection ??= await connect(databaseUrl);
      // messenger_start and messenger_stop rule this clock as they rule the job.
      const [{ on }] = await connection.query<{ on: boolean }>(`select clock_enabled as "on" from messenger.settings`);
      if (on) await connection.query("select messenger.tick_or_note_error()");
    } catch (error) {
      await connection?.close();
      connection = undefined;
      if (!isDown(error)) log(`The gateway's clock: ${error}`);
    } finally {
      busy = false;
    }
  }

  return {
    async stop() {
      clearInterval(timer);
      await running;
      await connection?.close();
    },
  };
}
