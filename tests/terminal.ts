// What long commands show: a bar while they run, a table at the end.
import { SingleBar } from "cli-progress";
import Table from "cli-table3";

/** A table whose first columns (`texts` of them) stand left and whose others, figures, stand right. */
export function newTable(head: string[], texts: number): Table.Table {
  return new Table({
    head,
    colAligns: head.map((_, column) => column < texts ? "left" : "right"),
    style: { head: [], border: [], compact: true },
  });
}

/** A bar that prints a line every two seconds where there is no terminal. */
export function newBar(label: string): SingleBar {
  return new SingleBar({
    format: `${label.padEnd(8)} {bar} {value}/{total}  {duration_formatted}`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    noTTYOutput: true,
    notTTYSchedule: 2_000,
    hideCursor: true,
  });
}
