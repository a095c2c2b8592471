// One line of the results: the figures of every bus in every round, their ratios and the target.

export interface Sample {
  /** In the unit of the line. */
  value: number;
  /** Microseconds of server CPU per message. */
  cpu?: number;
  /** Bytes of write-ahead log per message. */
  wal?: number;
}

/** The target: a ratio to the peer (of: "peer") or the figure itself (of: "value"). */
export interface Target {
  of: "peer" | "value";
  /** The peer to compare with (default: the best one). */
  peer?: string;
  must: number;
  aim: number;
}

export interface Line {
  label: string;
  unit: "per second" | "ms" | "times";
  better: "higher" | "lower";
  /** By bus, one sample per round; the key of this project is "symphony". */
  samples: Map<string, Sample[]>;
  target?: Target;
  /** What a reader needs for the interpretation of the line. */
  note?: string;
}

export type Grade = "aim" | "met" | "missed";

export interface TargetResult {
  grade: Grade;
  /** The reached value and its target. */
  reached: number;
  target: Target;
}

export const OURS = "symphony";

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function medianOf(line: Line, bus: string, of: keyof Sample = "value"): number | undefined {
  const values = (line.samples.get(bus) ?? []).flatMap((sample) => sample[of] ?? []);
  return values.length > 0 ? median(values) : undefined;
}

/** How many times better Symphony is: the median of the ratios of each round. */
export function ratioTo(line: Line, peer: string): number {
  const ours = line.samples.get(OURS) ?? [];
  const theirs = line.samples.get(peer) ?? [];
  return median(
    ours.map(({ value }, round) =>
      line.better === "higher" ? value / theirs[round].value : theirs[round].value / value
    ),
  );
}

/** The peer with the smallest ratio. */
export function bestPeer(line: Line): { peer: string; ratio: number } | undefined {
  const peers = [...line.samples.keys()].filter((bus) => bus !== OURS);
  const ratios = peers.map((peer) => ({ peer, ratio: ratioTo(line, peer) }));
  return ratios.sort((a, b) => a.ratio - b.ratio)[0];
}

export function judge(line: Line): TargetResult | undefined {
  const { target } = line;
  if (!target) return undefined;
  const ratio = target.peer ? ratioTo(line, target.peer) : bestPeer(line)?.ratio;
  const reached = target.of === "peer" ? ratio : medianOf(line, OURS);
  if (reached === undefined) return undefined;
  const atLeast = target.of === "peer" || line.better === "higher";
  const reaches = (bound: number) => atLeast ? reached >= bound : reached <= bound;
  return { grade: reaches(target.aim) ? "aim" : reaches(target.must) ? "met" : "missed", reached, target };
}
