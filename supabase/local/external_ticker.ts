// The ticker on a PostgreSQL without pg_cron: this process runs a tick per second in place of the pg_cron job.
import { connect, type Connection, isDown } from "./connection.ts";

const SECOND = 1_000;

export interface ExternalTicker {
  stop(): Promise<void>;
}

export interface ExternalTickerOptions {
  /** Connects as the role that owns the schema messenger. */
  databaseUrl: string;
  log(line: string): void;
}

export function startExternalTicker({ databaseUrl, log }: ExternalTickerOptions): ExternalTicker {
  let connection: Connection | undefined;
  let running = Promise.resolve();
  let busy = false;
  log("pg_cron is not available here: the gateway ticks in its place, once per second, while it runs.");
  const timer = setInterval(() => {
    // A tick that takes longer than a second delays the next one.
    if (!busy) running = tick();
  }, SECOND);

  async function tick() {
    busy = true;
    try {
      connection ??= await connect(databaseUrl);
      // messenger_start and messenger_stop control this ticker as they control the job.
      const [{ on }] = await connection.query<{ on: boolean }>(`select clock_enabled as "on" from messenger.settings`);
      if (on) await connection.query("select messenger.tick_or_note_error()");
    } catch (error) {
      await connection?.close();
      connection = undefined;
      if (!isDown(error)) log(`A tick of the gateway failed: ${error}`);
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
