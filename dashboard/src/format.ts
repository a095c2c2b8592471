// Formats times and numbers for readers.

const UNITS: [unit: "day" | "hour" | "minute" | "second", seconds: number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "narrow" });
const whole = new Intl.NumberFormat("en");

// Below two of a unit the next smaller one is used: "in 47 hours" is more precise than "in 1 day".
const unitOf = (seconds: number) => UNITS.find(([, size]) => seconds >= 2 * size) ?? UNITS[3];

/** "5 min. ago", "in 2 hr." */
export function ago(moment: string, now = Date.now()): string {
  const seconds = (Date.parse(moment) - now) / 1000;
  const [unit, size] = unitOf(Math.abs(seconds));
  return relative.format(Math.trunc(seconds / size), unit);
}

/** "5 minutes", from a moment until now. */
export function age(moment: string, now = Date.now()): string {
  const seconds = Math.max(0, now - Date.parse(moment)) / 1000;
  const [unit, size] = unitOf(seconds);
  return new Intl.NumberFormat("en", { style: "unit", unit, unitDisplay: "long" }).format(Math.trunc(seconds / size));
}

export function absolute(moment: string): string {
  return new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** The database counts up to this number; larger totals are estimates. */
export const COUNTED = 10_000;

/** A count; an estimate is marked with ≈. */
export function count(n: number, estimated = false): string {
  return (estimated ? "≈ " : "") + whole.format(n);
}

/** "per minute", "per 16 minutes". */
export function per(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  return minutes <= 1 ? "per minute" : `per ${minutes} minutes`;
}

/** "1 message", "2 messages". */
export function plural(n: number, noun: string, estimated = false): string {
  return `${count(n, estimated)} ${noun}${n === 1 ? "" : "s"}`;
}

export function percent(share: number | null): string {
  return share === null ? "–" : `${(share * 100).toFixed(share > 0.99 && share < 1 ? 2 : 1).replace(/\.0$/, "")} %`;
}

export function duration(ms: number | null): string {
  if (ms === null) return "–";
  if (ms < 1_000) return `${ms < 10 ? short(ms) : Math.round(ms)} ms`;
  return ms < 60_000 ? `${short(ms / 1_000)} s` : `${short(ms / 60_000)} min`;
}

function short(value: number): string {
  return value.toFixed(1).replace(/\.0$/, "");
}

export function pretty(value: unknown): string {
  return JSON.stringify(value, null, 2) ?? "";
}

/** When a schedule runs. */
export function timing(config: { cron?: string; interval?: number; at?: string }): string {
  if (config.cron !== undefined) return config.cron;
  if (config.interval !== undefined) return `every ${duration(config.interval)}`;
  return config.at ? `once, ${absolute(config.at)}` : "";
}

/** The fault of a typed payload; undefined if it is valid. */
export function payloadFault(text: string): string | undefined {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? undefined
      : "The payload must be a JSON object.";
  } catch (error) {
    return error instanceof Error ? error.message : "This is not JSON.";
  }
}
