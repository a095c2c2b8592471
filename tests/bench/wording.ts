// Formats figures, ratios and judgements for the terminal and the document.
import { bestPeer, judge, type Line, OURS } from "./line.ts";

/** Every bus with figures, Symphony first. */
export function busesOf(lines: readonly Line[]): string[] {
  return [...new Set([OURS, ...lines.flatMap(({ samples }) => [...samples.keys()])])];
}

export function nameOf(bus: string): string {
  return bus === OURS ? "Symphony" : bus;
}

export function figure(value: number | undefined, unit: Line["unit"] | "us" | "bytes"): string {
  if (value === undefined) return "-";
  if (unit === "times") return `${value.toFixed(2)}x`;
  if (unit === "ms") return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
  if (unit === "us" && value < 100) return value.toFixed(1);
  return Math.round(value).toLocaleString("en-US");
}

/** "1.32x pg-boss", or an empty string if no peer was measured. */
export function ratioText(line: Line): string {
  const best = bestPeer(line);
  return best ? `${best.ratio.toFixed(2)}x ${best.peer}` : "";
}

export function judgement(line: Line): string {
  const result = judge(line);
  if (!result) return "";
  const { grade, reached } = result;
  const words = { aim: "aim reached", met: "met", missed: "MISSED" }[grade];
  return `${words}: ${reachedText(line, reached)}, must be ${mustText(line)}`;
}

export function reachedText(line: Line, reached: number): string {
  const { target } = line;
  return target?.of === "peer"
    ? `${reached.toFixed(2)}x ${target.peer ?? bestPeer(line)?.peer}`
    : withUnit(reached, line);
}

export function mustText({ target, ...line }: Line, bound: "must" | "aim" = "must"): string {
  if (!target) return "";
  if (target.of === "peer") return `>= ${target[bound]}x ${target.peer ?? "the best peer"}`;
  return `${line.better === "higher" ? ">=" : "<="} ${withUnit(target[bound], line)}`;
}

function withUnit(value: number, { unit }: Pick<Line, "unit">): string {
  return unit === "ms" ? `${figure(value, unit)} ms` : figure(value, unit);
}
