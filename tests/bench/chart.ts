// The ratios to the best peer as horizontal bars, in SVG that is legible on light and on dark pages.
import * as echarts from "echarts";
import { bestPeer, type Line } from "./line.ts";

const WIDTH = 920;
const LABELS = 330; // wide enough for the longest label, because text cannot be measured without a browser
const BAR = 26;
// Middle tones: at least 3:1 against white and against near-black.
const TEXT = "#7d8590";
const AHEAD = "#2f9e6e";
const BEHIND = "#c9762b";

export function drawChart(lines: readonly Line[]): string {
  const bars = lines.flatMap((line) => {
    const best = bestPeer(line);
    return best && Number.isFinite(best.ratio) && best.ratio > 0 ? [{ label: line.label, ...best }] : [];
  });
  const furthest = Math.max(2, ...bars.flatMap(({ ratio }) => [ratio, 1 / ratio]));
  const reach = 2 ** Math.ceil(Math.log2(furthest * 1.4));
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: 96 + bars.length * BAR });
  chart.setOption({
    animation: false,
    textStyle: { fontFamily: "system-ui, sans-serif", color: TEXT },
    title: {
      text: "Ratio to the best peer (median of the rounds; 1 = equal, logarithmic)",
      left: "center",
      textStyle: { color: TEXT, fontSize: 14, fontWeight: "normal" },
    },
    grid: { left: LABELS, right: 24, top: 40, bottom: 32 },
    // The scale is logarithmic around 1: half as fast gives a bar as long as twice as fast.
    xAxis: {
      type: "value",
      min: -Math.log2(reach),
      max: Math.log2(reach),
      interval: 1,
      axisLabel: { color: TEXT, formatter: (exponent: number) => times(2 ** exponent) },
      splitLine: { lineStyle: { color: TEXT, opacity: 0.25 } },
    },
    yAxis: {
      type: "category",
      inverse: true,
      data: bars.map(({ label }) => label),
      axisLabel: { color: TEXT, margin: 12 },
      axisLine: { show: false },
      axisTick: { show: false },
    },
    series: [{
      type: "bar",
      barWidth: "62%",
      data: bars.map(({ ratio, peer }) => ({
        value: Math.log2(ratio),
        itemStyle: { color: ratio >= 1 ? AHEAD : BEHIND },
        label: {
          show: true,
          position: "right", // space for a bar below 1, which ends at the line
          color: TEXT,
          formatter: `${ratio.toFixed(2)}x ${peer}`,
        },
      })),
      markLine: {
        silent: true,
        symbol: "none",
        label: { show: false },
        lineStyle: { color: TEXT, type: "solid" },
        data: [{ xAxis: 0 }],
      },
    }],
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}

function times(ratio: number): string {
  return ratio >= 1 ? `${ratio}x` : `1/${1 / ratio}`;
}
