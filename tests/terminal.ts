// Terminal output of long commands: a progress bar, and a table at the end.
import { SingleBar } from "cli-progress";
import Table from "cli-table3";

/** A table whose first `texts` columns are aligned left, and the others (figures) right. */
export function newTable(head: string[], texts: number): Table.Table {
  return new Table({
    head,
    colAligns: head.map((_, column) => column < texts ? "left" : "right"),
    style: { head: [], border: [], compact: true },
  });
}

/** A progress bar; without a terminal it prints a line every two seconds. */
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
