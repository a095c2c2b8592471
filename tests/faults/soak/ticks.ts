// The ticker's pace during the soak: ticks per minute while no fault stops Postgres or the ticker.
import type { Sql } from "postgres";

const MINUTE = 60_000; // ms
/** Shorter intervals are too short for a pace. */
const MIN_INTERVAL = 10_000; // ms

/** From the first tick after a stop until the next stop, in milliseconds of real time. */
interface Interval {
  ticks: number[];
  end: number;
}

export interface Pace {
  /** The fewest ticks of any minute; over all intervals together if none is a minute long. */
  ticksPerMinute: number;
  /** Milliseconds. */
  longestTick: number;
  /** Seconds that were measured. */
  seconds: number;
}

export class TickMeter {
  readonly #intervals: Interval[] = [];
  #current: Interval | undefined;
  #countsFrom: number | undefined = 0;
  #seen = 0;
  #longest = 0;

  /** The next fault stops Postgres or the ticker: ends the interval before it. */
  stop(): void {
    this.#close();
    this.#countsFrom = undefined;
  }

  /** Measures the ticker again from its next tick. */
  resume(): void {
    this.#countsFrom = Date.now();
  }

  /** Reads the new ticks. It must run often: the bus's time may jump, and a crash empties the table. */
  async read(sql: Sql): Promise<void> {
    // A tick's time is the bus's time; its distance from real time may have changed since.
    const rows = await sql<{ id: string; at: Date; duration_ms: number }[]>`
      select id, duration_ms, least(clock_timestamp(), at - (messenger.now() - clock_timestamp())) as at
      from messenger.ticks where id > ${this.#seen} or (select max(id) from messenger.ticks) < ${this.#seen}
        order by id`;
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
    if (this.#current) this.#intervals.push(this.#current);
    this.#current = undefined;
  }

  pace(): Pace {
    this.#close();
    const intervals = this.#intervals.filter(({ ticks, end }) => end - ticks[0] >= MIN_INTERVAL);
    const minutes = intervals.flatMap(({ ticks, end }) =>
      ticks.filter((from) => from + MINUTE <= end).map((from) =>
        ticks.filter((at) => at > from && at <= from + MINUTE).length
      )
    );
    const length = intervals.reduce((sum, { ticks, end }) => sum + end - ticks[0], 0);
    const count = intervals.reduce((sum, { ticks }) => sum + ticks.length - 1, 0);
    return {
      ticksPerMinute: minutes.length > 0 ? Math.min(...minutes) : Math.floor(count * MINUTE / Math.max(length, 1)),
      longestTick: this.#longest,
      seconds: Math.round(length / 1_000),
    };
  }
}
