// A line chart over time, drawn by uPlot. Its label has the newest figures for screen readers.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { useColors } from "./theme.ts";

export interface Line {
  label: string;
  /** Name of a custom property of the style sheet, such as --good. */
  color: string;
  values: (number | null)[];
}

const HEIGHT = 200;
const DAY = 86_400; // s
const COUNTS = Array.from({ length: 12 }, (_, n) => [1, 2, 5].map((step) => step * 10 ** n)).flat();

export function Chart({ title, times, lines, format, whole = false }: {
  title: string;
  times: number[];
  lines: Line[];
  /** The values are counts, so the axis has whole numbers only. */
  whole?: boolean;
  format: (value: number | null) => string;
}) {
  const container = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | undefined>(undefined);
  const colors = useColors();
  // Callers pass as many values as times.
  const data = [times, ...lines.map(({ values }) => values)] as uPlot.AlignedData;

  useEffect(() => {
    const element = container.current;
    if (!element) return;
    const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: color("--faint"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    const drawn = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        cursor: { y: false },
        legend: { live: true },
        scales: { y: { range: (_chart, _low, high) => [0, Math.max(1, high * 1.1)] } },
        axes: [{ ...axis, size: 32, space: 76, values: (_chart, ticks) => clockTimes(ticks) }, {
          ...axis,
          size: 64,
          ...(whole && { incrs: COUNTS }),
          values: (_chart, ticks) => ticks.map((tick) => format(tick)),
        }],
        series: [
          { value: (_chart, at) => at === null ? "" : clockTimes([at])[0] },
          ...lines.map((line): uPlot.Series => ({
            label: line.label,
            stroke: color(line.color),
            width: 2,
            // A line needs two points; a single value is drawn as a dot.
            points: {
              show: (chart, line) => Array.from(chart.data[line]).filter((value) => value !== null).length < 2,
            },
            spanGaps: true,
            value: (_chart, value) => format(value),
          })),
        ],
      },
      data,
      element,
    );
    chart.current = drawn;
    const observer = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      drawn.destroy();
    };
  }, [colors]);

  useEffect(() => chart.current?.setData(data), [times.at(-1), JSON.stringify(lines.map(({ values }) => values))]);

  const newest = lines.map(({ label, values }) =>
    `${label} ${format(values.findLast((value) => value !== null) ?? null)}`
  );
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <div ref={container} role="img" aria-label={`${title}. Newest: ${newest.join(", ")}`} />
    </figure>
  );
}

/** Hours and minutes, with the weekday if the period is longer than a day. */
function clockTimes(seconds: number[]): string[] {
  const long = (seconds.at(-1) ?? 0) - (seconds[0] ?? 0) > DAY;
  const format = new Intl.DateTimeFormat(undefined, {
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    ...(long && { weekday: "short" }),
  });
  return seconds.map((second) => format.format(second * 1000));
}
