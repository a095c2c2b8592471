// A second implementation of P10: cron-parser computes the wall-clock times in a world without changes, and the zone's
// offsets give their instants.
import { CronExpressionParser } from "cron-parser";

const HOUR = 3_600_000; // ms
const REACH = 26 * HOUR; // no clock has ever changed by more than a day

export interface Policies {
  gap: "run_after" | "skip";
  overlap: "first" | "second" | "both";
}

const MINUTE = HOUR / 60; // zones change at whole minutes: Newfoundland's long changed at a minute past midnight
const formats = new Map<string, Intl.DateTimeFormat>();
const known = new Map<string, number>();

/** Milliseconds that a zone's wall clock is ahead of UTC. */
export function offsetAt(timezone: string, moment: number): number {
  const minute = Math.floor(moment / MINUTE) * MINUTE;
  const key = `${timezone} ${minute}`;
  let offset = known.get(key);
  if (offset === undefined) {
    offset = readOffset(timezone, minute);
    if (known.size > 100_000) known.clear();
    known.set(key, offset);
  }
  return offset;
}

function readOffset(timezone: string, moment: number): number {
  let format = formats.get(timezone);
  if (!format) {
    const [year, month, day, hour, minute, second] = Array<"numeric">(6).fill("numeric");
    const fields = { year, month, day, hour, minute, second };
    format = new Intl.DateTimeFormat("en-US", { timeZone: timezone, hourCycle: "h23", ...fields });
    formats.set(timezone, format);
  }
  const parts = Object.fromEntries(format.formatToParts(moment).map(({ type, value }) => [type, Number(value)]));
  const { year, month, day, hour, minute, second } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) - moment;
}

/** Whether the zone changes its offset close to one of the times, so that policies may apply. */
export function nearChange(timezone: string, ...moments: number[]): boolean {
  return moments.some((moment) => {
    const offset = offsetAt(timezone, moment);
    return offsetAt(timezone, moment - REACH) !== offset || offsetAt(timezone, moment + REACH) !== offset;
  });
}

/**
 * An hour field of a star, with or without a step, or one that names every hour, counts elapsed time: every instant
 * that shows a matching time.
 */
export function countsElapsed(expression: string): boolean {
  const fields = expression.trim().split(/\s+/);
  const { hour } = CronExpressionParser.parse(expression, { tz: "UTC" }).fields;
  return hour.values.length === 24 || /^[*?]/.test(fields[fields.length - 4]) && hour.values.length > 1;
}

/**
 * The first instant later than `after` at which the expression fires by P10; wall-clock times are dates in UTC here.
 */
export function nextByWallClock(expression: string, timezone: string, after: number, policies: Policies): number {
  const start = Math.floor(after / 1000) * 1000;
  const shift = Math.abs(offsetAt(timezone, start - REACH) - offsetAt(timezone, start + REACH));
  const wall = start + offsetAt(timezone, start);
  // A changed clock shows earlier times again, or owes the runs of the gap.
  const walls = CronExpressionParser.parse(expression, { tz: "UTC", currentDate: new Date(wall - shift) });
  const elapsed = countsElapsed(expression);
  let best = Infinity;
  while (true) {
    const wall = walls.next().getTime();
    if (wall - REACH > best) return best;
    const moments = momentsOf(wall, timezone, elapsed, policies).filter((moment) => moment > after);
    best = Math.min(best, ...moments);
    if (best < Infinity && !nearChange(timezone, best)) return best;
  }
}

function momentsOf(wall: number, timezone: string, elapsed: boolean, { gap, overlap }: Policies): number[] {
  const before = offsetAt(timezone, wall - REACH);
  const offsets = new Set([before, offsetAt(timezone, wall - before), offsetAt(timezone, wall + REACH)]);
  const shown = [...offsets].map((offset) => wall - offset).filter((moment) =>
    moment + offsetAt(timezone, moment) === wall
  )
    .sort((a, b) => a - b);
  if (elapsed || shown.length === 1) return shown;
  if (shown.length === 0) return gap === "run_after" ? [wall - before] : [];
  return overlap === "both" ? shown : [shown[overlap === "first" ? 0 : 1]];
}
