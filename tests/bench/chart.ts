// The ratios to the named peers as horizontal bars, in SVG that is legible on light and on dark pages.
import * as echarts from "echarts";
import { type Line, mainPeer } from "./line.ts";

const WIDTH = 980;
const LABELS = 350; // wide enough for the longest label, because text cannot be measured without a browser
const VALUES = 210; // for the text behind the bars
const BAR = 27;
// Middle tones: at least 3:1 against white and against near-black.
const TEXT = "#7d8590";
/** Text has more contrast where the browser reports the page's color scheme, and at least 3:1 where it is wrong. */
const STYLE = "<style>text{fill:#59636e}@media(prefers-color-scheme:dark){text{fill:#9198a1}}</style>";
const AHEAD = "#2f9e6e";
const BEHIND = "#c9762b";

export function drawChart(lines: readonly Line[]): string {
  const bars = lines.flatMap((line) => {
    const main = mainPeer(line);
    return main && Number.isFinite(main.times) && main.times > 0 ? [{ label: line.label, ...main }] : [];
  });
  // The scale is logarithmic around 1: half as good gives a bar as long as twice as good.
  const exponents = bars.map(({ times }) => Math.log2(times));
  const least = Math.min(-1, ...exponents);
  const most = Math.max(1, ...exponents);
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: 88 + bars.length * BAR });
  chart.setOption({
    animation: false,
    textStyle: { fontFamily: "system-ui, sans-serif", color: TEXT },
    title: {
      text: "How many times better than the peer Symphony is (right of 1x: Symphony is ahead)",
      left: "center",
      textStyle: { color: TEXT, fontSize: 14, fontWeight: "normal" },
    },
    grid: { left: LABELS, right: VALUES, top: 40, bottom: 32 },
    xAxis: {
      type: "value",
      min: Math.floor(least),
      max: Math.ceil(most),
      interval: 1,
      axisLabel: { color: TEXT, formatter: (exponent: number) => tick(2 ** exponent) },
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
      data: bars.map(({ times }, index) => ({
        value: exponents[index],
        itemStyle: { color: times >= 1 ? AHEAD : BEHIND },
      })),
      markLine: {
        silent: true,
        symbol: "none",
        label: { show: false },
        lineStyle: { color: TEXT, type: "solid" },
        data: [{ xAxis: 0 }],
      },
    }, {
      // Invisible bars that end at the right edge or at the line carry the texts, so that these stand in one column.
      type: "bar",
      barGap: "-100%",
      barWidth: "62%",
      silent: true,
      itemStyle: { color: "transparent" },
      data: bars.map(({ times, peer }) => ({
        value: Math.ceil(most),
        label: { show: true, position: "right", color: TEXT, formatter: `${times.toFixed(2)}x ${peer}` },
      })),
    }],
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg.replace(">", `>\n${STYLE}`)}\n`;
}

function tick(times: number): string {
  return times >= 1 ? `${times}x` : `1/${1 / times}`;
}
