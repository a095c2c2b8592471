// The ticker's pace during the soak: ticks per minute while nothing that stops Postgres or the ticker itself is going on.
import type { Sql } from "postgres";

const MINUTE = 60_000; // ms
/** Shorter stretches say nothing about a pace. */
const LEAST = 10_000; // ms

/** From the first tick after a stop until the next stop, in milliseconds of real time. */
interface Stretch {
  ticks: number[];
  end: number;
}

export interface Pace {
  /** The fewest of any minute; of all stretches together where none is a minute long. */
  ticksPerMinute: number;
  /** Milliseconds. */
  longestTick: number;
  /** Seconds that were judged. */
  seconds: number;
}

export class TickWatch {
  readonly #stretches: Stretch[] = [];
  #current: Stretch | undefined;
  #countsFrom: number | undefined = 0;
  #seen = 0;
  #longest = 0;

  /** What comes now stops Postgres or the ticker: the stretch ends before it. */
  stop(): void {
    this.#close();
    this.#countsFrom = undefined;
  }

  /** From its next tick on the ticker is judged again. */
  resume(): void {
    this.#countsFrom = Date.now();
  }

  /** Reads what ticks there are. Often enough that none is forgotten before: the bus's time may jump, and a crash empties the table. */
  async look(sql: Sql): Promise<void> {
    // A tick's moment is of the bus's time; what lies between it and real time may have changed since.
    const rows = await sql<{ id: string; at: Date; duration_ms: number }[]>`
      select id, duration_ms, least(clock_timestamp(), at - (messenger.now() - clock_timestamp())) as at
      from messenger.ticks where id > ${this.#seen} or (select max(id) from messenger.ticks) < ${this.#seen} order by id`;
    for (const { id, at, duration_ms } of rows) {
      this.#seen = Number(id);
      this.#note(Date.now() - at.getTime() > 30_000 ? Date.now() : at.getTime(), duration_ms);
    }
    if (this.#current) this.#current.end = Date.now();
  }

  #note(at: number, duration: number): void {
    if (this.#countsFrom === undefined || at < this.#countsFrom) return;
    this.#current ??= { ticks: [], end: at };
    this.#current.ticks.push(at);
    this.#longest = Math.max(this.#longest, duration);
  }

  #close(): void {
    if (this.#current) this.#stretches.push(this.#current);
    this.#current = undefined;
  }

  pace(): Pace {
    this.#close();
    const stretches = this.#stretches.filter(({ ticks, end }) => end - ticks[0] >= LEAST);
    const minutes = stretches.flatMap(({ ticks, end }) =>
      ticks.filter((from) => from + MINUTE <= end).map((from) =>
        ticks.filter((at) => at > from && at <= from + MINUTE).length
      )
    );
    const length = stretches.reduce((sum, { ticks, end }) => sum + end - ticks[0], 0);
    const count = stretches.reduce((sum, { ticks }) => sum + ticks.length - 1, 0);
    return {
      ticksPerMinute: minutes.length > 0 ? Math.min(...minutes) : Math.floor(count * MINUTE / Math.max(length, 1)),
      longestTick: this.#longest,
      seconds: Math.round(length / 1_000),
    };
  }
}
