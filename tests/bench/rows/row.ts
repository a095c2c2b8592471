// A row of the bench: a family of lines that are measured together.
import type { Buses, Ground } from "../setup.ts";
import type { Line, Sample } from "../line.ts";

export interface Row {
  name: string;
  measure(ground: Ground, buses: Buses): Promise<Line[]>;
}

/** Runs the buses in turn, round by round (A B C A B C ...), so that whatever else the machine does meets all alike. */
export async function inTurn<Bus extends { name: string }, Figure>(
  { say }: Ground,
  label: string,
  rounds: number,
  buses: readonly Bus[],
  measure: (bus: Bus, round: number) => Promise<Figure>,
): Promise<Map<Bus, Figure[]>> {
  const figures = new Map<Bus, Figure[]>(buses.map((bus) => [bus, []]));
  for (let round = 0; round < rounds; round++) {
    for (const bus of buses) {
      say(`${label}, round ${round + 1} of ${rounds}: ${bus.name}`);
      figures.get(bus)?.push(await measure(bus, round));
    }
  }
  return figures;
}

export function byName(figures: Map<{ name: string }, Sample[]>): Map<string, Sample[]> {
  return new Map([...figures].map(([{ name }, samples]) => [name, samples]));
}

/** Messages a second, with what each cost the server. */
export function rateOf(messages: number, ms: number, spent: { cpu: number; wal: number }): Sample {
  return { value: messages / ms * 1_000, cpu: spent.cpu / messages, wal: spent.wal / messages };
}
