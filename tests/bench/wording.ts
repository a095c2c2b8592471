// Formats figures, ratios and targets for the terminal and the document.
import {
  type Figure,
  figuresOf,
  isOurs,
  isUpperBound,
  type Line,
  mainPeer,
  medianOf,
  type Target,
  type TargetResult,
} from "./line.ts";
import { PEERS } from "./targets.ts";

type Unit = Line["unit"] | "us" | "bytes";

/** Every bus with figures: Symphony in its forms, then the peers. */
export function busesOf(lines: readonly Line[]): string[] {
  const buses = new Set(lines.flatMap(({ samples }) => [...samples.keys()]));
  const ours = [...buses].filter(isOurs);
  return [...ours, ...PEERS.filter((peer) => buses.has(peer))];
}

/** "2,314", "48.4k", "0.64", without the unit except for quotients: "0.98x". */
export function figure(value: number | undefined, unit: Unit): string {
  if (value === undefined) return "-";
  if (unit === "times") return `${value.toFixed(2)}x`;
  if (unit === "per second" && value >= 10_000) return `${(value / 1_000).toFixed(1)}k`;
  if (unit === "per second" || unit === "bytes" || value >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(value < 10 && unit !== "us" ? 2 : 1);
}

/** "0.64 ms", "48.4k per second", "0.98x". */
export function withUnit(value: number | undefined, unit: Unit): string {
  if (value === undefined || unit === "times") return figure(value, unit);
  return `${figure(value, unit)} ${unit === "bytes" ? "B" : unit}`;
}

/** The median with the server cost beside it: "48.4k · 37.3 us · 350 B". */
export function cellOf(line: Line, bus: string): string {
  const cpu = medianOf(line, bus, "cpu");
  const wal = medianOf(line, bus, "wal");
  return [
    figure(medianOf(line, bus), line.unit),
    ...(cpu === undefined ? [] : [withUnit(cpu, "us")]),
    ...(wal === undefined ? [] : [withUnit(wal, "bytes")]),
  ].join(" · ");
}

/** The smallest and the largest figure of the rounds. */
export function spreadOf(line: Line, bus: string): string {
  const values = figuresOf(line, bus);
  if (values.length === 0) return "-";
  return `${figure(Math.min(...values), line.unit)} to ${figure(Math.max(...values), line.unit)}`;
}

/** "1.32x pg-boss", or an empty string if no peer was measured. */
export function ratioText(line: Line): string {
  const main = mainPeer(line);
  return main ? `${main.times.toFixed(2)}x ${main.peer}` : "";
}

/** The figure that a target is about: "rate", "time", "server CPU", "WAL", "quotient". */
export function subjectOf(line: Line, { of = "value" }: Target): string {
  if (of === "cpu") return "server CPU";
  if (of === "wal") return "WAL";
  return { "per second": "rate", ms: "time", "ms per second": "time", times: "quotient" }[line.unit];
}

/** ">= 1.40x", "<= 0.60 ms"; an empty string where the target has no such bound. */
export function boundText(line: Line, target: Target, bound: number | undefined): string {
  if (bound === undefined) return "";
  const sign = isUpperBound(line, target.of ?? "value") ? "<=" : ">=";
  return `${sign} ${withUnit(bound, unitOf(line, target))}`;
}

export function reachedText(line: Line, { reached, target }: TargetResult): string {
  return withUnit(reached, unitOf(line, target));
}

/** Quotients are multiples; other figures have their own unit. */
function unitOf(line: Line, { of = "value", peer }: Target): Unit {
  if (peer !== undefined) return "times";
  return ({ value: line.unit, cpu: "us", wal: "bytes" } satisfies Record<Figure, Unit>)[of];
}
