// The results as tables in the terminal.
import { newTable } from "../terminal.ts";
import { type Grid, rateGrid, spreadGrid, targetGrid, timeGrid } from "./grids.ts";
import type { Line } from "./line.ts";

export function printLines(lines: readonly Line[]): void {
  const words = { aim: "aim reached", met: "met", missed: "MISSED" };
  for (const grid of [rateGrid(lines), timeGrid(lines), spreadGrid(lines), targetGrid(lines, words)]) print(grid);
}

function print({ head, rows }: Grid): void {
  if (rows.length === 0) return;
  const table = newTable(head, 1);
  table.push(...rows);
  console.log(`\n${table}`);
}
