// The results as tables in the terminal.
import { newTable } from "../terminal.ts";
import { busesOf, figure, judgement, nameOf, ratioText } from "./wording.ts";
import { type Line, medianOf } from "./line.ts";

export function printLines(lines: readonly Line[]): void {
  const buses = busesOf(lines);
  const results = newTable(["median", "", ...buses.map(nameOf), "ours / best peer", "target"], 2);
  for (const line of lines) {
    results.push([
      line.label,
      line.unit,
      ...buses.map((bus) => figure(medianOf(line, bus), line.unit)),
      ratioText(line),
      judgement(line),
    ]);
  }
  console.log(`\n${results}`);

  const costs = newTable(["server CPU in us, WAL in bytes per message", "", ...buses.map(nameOf)], 2);
  for (const line of lines) {
    for (const [of, unit] of [["cpu", "us"], ["wal", "bytes"]] as const) {
      const values = buses.map((bus) => medianOf(line, bus, of));
      if (values.some((value) => value !== undefined)) {
        costs.push([line.label, unit, ...values.map((value) => figure(value, unit))]);
      }
    }
  }
  if (costs.length > 0) console.log(`\n${costs}`);
}
