// The results as tables, which the terminal and the document print in their own ways.
import { isOurs, judge, type Line, OURS } from "./line.ts";
import { boundText, busesOf, cellOf, ratioText, reachedText, spreadOf, subjectOf } from "./wording.ts";

export interface Grid {
  head: string[];
  rows: string[][];
}

/** Rates with the server cost of each message. */
export function rateGrid(lines: readonly Line[]): Grid {
  const rates = lines.filter(({ unit }) => unit === "per second");
  const buses = busesOf(rates);
  return {
    head: ["messages per second · CPU · WAL per message", ...buses, "times the peer"],
    rows: rates.map((line) => [line.label, ...buses.map((bus) => cellOf(line, bus)), ratioText(line)]),
  };
}

/** Durations and quotients. */
export function timeGrid(lines: readonly Line[]): Grid {
  const times = lines.filter(({ unit }) => unit !== "per second");
  const buses = busesOf(times);
  return {
    head: ["", "unit", ...buses, "times the peer"],
    rows: times.map((line) => [line.label, line.unit, ...buses.map((bus) => cellOf(line, bus)), ratioText(line)]),
  };
}

/** The smallest and the largest figure of the rounds. */
export function spreadGrid(lines: readonly Line[]): Grid {
  const buses = busesOf(lines);
  return {
    head: ["smallest to largest figure of the rounds", "unit", "rounds", ...buses],
    rows: lines.map((line) => [
      line.label,
      line.unit,
      String(line.samples.get(OURS)?.length ?? 0),
      ...buses.map((bus) => spreadOf(line, bus)),
    ]),
  };
}

export function targetGrid(lines: readonly Line[], words: Record<"aim" | "met" | "missed", string>): Grid {
  return {
    head: ["", "figure", "divided by that of", "must be", "aim", "reached", ""],
    rows: lines.flatMap((line) =>
      judge(line).map((result) => {
        const { bus, grade, target } = result;
        const form = isOurs(bus) && bus !== OURS ? ` by ${bus}` : "";
        return [
          line.label,
          subjectOf(line, target),
          target.peer ?? "-",
          boundText(line, target, target.must),
          boundText(line, target, target.aim),
          `${reachedText(line, result)}${form}`,
          words[grade],
        ];
      })
    ),
  };
}
