// One line of the results: the figures of every bus in every round, their ratios and the targets.

export interface Sample {
  /** In the unit of the line. */
  value: number;
  /** Microseconds of server CPU per message. */
  cpu?: number;
  /** Bytes of write-ahead log per message. */
  wal?: number;
}

export type Figure = keyof Sample;

/**
 * A bound of a figure, or of its quotient to a peer's. Whether it is a lower or an upper bound follows from the figure:
 * costs, and values of which less is better, have upper bounds.
 */
export interface Target {
  /** Default: value. */
  of?: Figure;
  /** The bounds are for the figure divided by this peer's. Default: for the figure itself. */
  peer?: string;
  must: number;
  aim?: number;
}

export interface Line {
  /** Names the line for the summary of the document. */
  id: string;
  label: string;
  unit: "per second" | "ms" | "ms per second" | "times";
  better: "higher" | "lower";
  /** By bus, which is the name of its column, one sample per round. */
  samples: Map<string, Sample[]>;
  targets?: readonly Target[];
  /** The information that a reader needs for the interpretation of the line. */
  note?: string;
  /** Why a peer can be ahead in this line. */
  reason?: string;
}

export type Grade = "aim" | "met" | "missed";

export interface TargetResult {
  grade: Grade;
  /** The figure or the quotient that is compared with the bounds. */
  reached: number;
  /** The column of this project that reached it: the best one. */
  bus: string;
  target: Target;
}

export const OURS = "Symphony";

/** Whether a column is this project, in any of its forms: their names begin with OURS. */
export function isOurs(bus: string): boolean {
  return bus.startsWith(OURS);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function figuresOf(line: Line, bus: string, of: Figure = "value"): number[] {
  return (line.samples.get(bus) ?? []).flatMap((sample) => sample[of] ?? []);
}

export function medianOf(line: Line, bus: string, of: Figure = "value"): number | undefined {
  const values = figuresOf(line, bus, of);
  return values.length > 0 ? median(values) : undefined;
}

/** The median of the quotients, ours to the peer's, of each round; undefined where one of them was not measured. */
export function quotientOf(line: Line, bus: string, peer: string, of: Figure = "value"): number | undefined {
  const ours = figuresOf(line, bus, of);
  const theirs = figuresOf(line, peer, of);
  const rounds = Math.min(ours.length, theirs.length);
  return rounds > 0 ? median(ours.slice(0, rounds).map((figure, round) => figure / theirs[round])) : undefined;
}

/** How many times better than the peer a bus is: above 1 it is ahead. */
export function timesBetter(line: Line, bus: string, peer: string): number | undefined {
  const quotient = quotientOf(line, bus, peer);
  return quotient !== undefined && line.better === "lower" ? 1 / quotient : quotient;
}

/** The peer that the line is about: the one of its first target that has one, otherwise the best. */
export function mainPeer(line: Line): { bus: string; peer: string; times: number } | undefined {
  const named = line.targets?.find(({ peer }) => peer !== undefined)?.peer;
  const peers = [...line.samples.keys()].filter((bus) => !isOurs(bus) && (named === undefined || bus === named));
  return peers.flatMap((peer) => bestForm(line, peer) ?? []).sort((a, b) => a.times - b.times)[0];
}

/** The peers that are ahead of the best form of this project, the furthest first. */
export function peersAhead(line: Line): { bus: string; peer: string; times: number }[] {
  return [...line.samples.keys()].filter((bus) => !isOurs(bus))
    .flatMap((peer) => bestForm(line, peer) ?? [])
    .filter(({ times }) => times < 1)
    .sort((a, b) => a.times - b.times);
}

function bestForm(line: Line, peer: string): { bus: string; peer: string; times: number } | undefined {
  return formsOf(line).flatMap((bus) => {
    const times = timesBetter(line, bus, peer);
    return times === undefined ? [] : [{ bus, peer, times }];
  }).sort((a, b) => b.times - a.times)[0];
}

function formsOf(line: Line): string[] {
  return [...line.samples.keys()].filter(isOurs);
}

/** Whether less is better: then a bound is the largest figure that is allowed. */
export function isUpperBound(line: Pick<Line, "better">, of: Figure): boolean {
  return of !== "value" || line.better === "lower";
}

/** Compares the targets with the figures; a target whose figures were not measured has no result. */
export function judge(line: Line): TargetResult[] {
  return (line.targets ?? []).flatMap((target) => judgeOne(line, target) ?? []);
}

function judgeOne(line: Line, target: Target): TargetResult | undefined {
  const { of = "value", peer, must, aim } = target;
  const upper = isUpperBound(line, of);
  const [best] = formsOf(line).flatMap((bus) => {
    const reached = peer === undefined ? medianOf(line, bus, of) : quotientOf(line, bus, peer, of);
    return reached === undefined ? [] : [{ bus, reached }];
  }).sort((a, b) => upper ? a.reached - b.reached : b.reached - a.reached);
  if (!best) return undefined;
  const reaches = (bound: number) => upper ? best.reached <= bound : best.reached >= bound;
  const grade = !reaches(must) ? "missed" : aim !== undefined && reaches(aim) ? "aim" : "met";
  return { ...best, grade, target };
}
