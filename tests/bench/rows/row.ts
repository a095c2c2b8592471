// A row of the bench: a group of lines that are measured together.
import type { BenchSetup, Buses } from "../setup.ts";
import type { Line, Sample } from "../line.ts";
import { percentile } from "../../percentile.ts";

export interface Row {
  name: string;
  measure(setup: BenchSetup, buses: Buses): Promise<Line[]>;
}

/**
 * Runs the buses in turn, round by round (A B C A B C ...), so that other load on the machine affects all of them
 * alike.
 */
export async function inTurn<Bus extends { name: string; title?: string }, Figure>(
  { report }: BenchSetup,
  label: string,
  rounds: number,
  buses: readonly Bus[],
  measure: (bus: Bus, round: number) => Promise<Figure>,
): Promise<Map<Bus, Figure[]>> {
  const figures = new Map<Bus, Figure[]>(buses.map((bus) => [bus, []]));
  for (let round = 0; round < rounds; round++) {
    for (const bus of buses) {
      report(`${label}, round ${round + 1} of ${rounds}: ${bus.title ?? bus.name}`);
      figures.get(bus)?.push(await measure(bus, round));
    }
  }
  return figures;
}

/** The samples of each bus, by its column. */
export function byName<Figure>(
  figures: Map<{ name: string }, Figure[]>,
  sampleOf: (figure: Figure) => Sample,
): Map<string, Sample[]> {
  return new Map([...figures].map(([{ name }, samples]) => [name, samples.map(sampleOf)]));
}

/** Messages per second, with the server cost of each message. */
export function rateOf(messages: number, ms: number, spent: { cpu: number; wal: number }): Sample {
  return { value: messages / ms * 1_000, cpu: spent.cpu / messages, wal: spent.wal / messages };
}

/** A percentile of durations as a sample. */
export function shareOf(ms: readonly number[], share: number): Sample {
  return { value: percentile(ms, share) };
}

/** "60k", "1M". */
export function thousands(count: number): string {
  return count % 1_000_000 === 0 ? `${count / 1_000_000}M` : `${count / 1_000}k`;
}
