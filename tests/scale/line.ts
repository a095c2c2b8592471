// One line of the results.

export interface Line {
  label: string;
  unit: "ms" | "us" | "per second" | "times" | "bytes" | "MB" | "rows";
  value: number;
  /** What a reader needs for the interpretation of the figure. */
  note?: string;
}

/** Three significant digits below a thousand, whole numbers above. */
export function figure(value: number): string {
  return value >= 1_000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));
}

/** 10M, 100k, 50 */
export function short(count: number): string {
  if (count >= 1_000_000) return `${count / 1_000_000}M`;
  return count >= 1_000 ? `${count / 1_000}k` : String(count);
}
