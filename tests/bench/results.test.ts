// The judgement of the bench's figures and the document about them; nothing is measured.
import assert from "node:assert/strict";
import { drawChart } from "./chart.ts";
import { documentOf } from "./document.ts";
import { judge, type Line, mainPeer, peersAhead, type Sample, type Target } from "./line.ts";
import { loadResults, type Results, storeResults } from "./results.ts";
import { CLAIM_DELETED, GRAPHILE_WORKER, GRAPHILE_WORKER_SQL, PG_BOSS } from "./targets.ts";

const rates = (...values: number[]): Sample[] => values.map((value) => ({ value }));

function lineOf(samples: Record<string, Sample[]>, targets: readonly Target[] = [], rest: Partial<Line> = {}): Line {
  return {
    id: "row",
    label: "row",
    unit: "per second",
    better: "higher",
    samples: new Map(Object.entries(samples)),
    targets,
    ...rest,
  };
}

const gradesOf = (line: Line) => judge(line).map(({ grade }) => grade);

Deno.test("bench · a rate must reach its multiple of the named peer's rate", () => {
  const grade = (ours: number) =>
    gradesOf(lineOf({ Symphony: rates(ours), [GRAPHILE_WORKER]: rates(100), [PG_BOSS]: rates(1_000) }, [
      { peer: GRAPHILE_WORKER, must: 1.4, aim: 2 },
    ]));
  assert.deepEqual([139, 140, 199, 200].map(grade), [["missed"], ["met"], ["met"], ["aim"]]);
});

Deno.test("bench · server CPU must not exceed its multiple of the named peer's", () => {
  const grade = (cpu: number) =>
    gradesOf(lineOf({ Symphony: [{ value: 1, cpu }], [GRAPHILE_WORKER_SQL]: [{ value: 9, cpu: 20 }] }, [
      { of: "cpu", peer: GRAPHILE_WORKER_SQL, must: 1.5, aim: 1.2 },
    ]));
  assert.deepEqual([30.1, 30, 24.1, 24].map(grade), [["missed"], ["met"], ["met"], ["aim"]]);
});

Deno.test("bench · WAL must not exceed its own bound, whatever the rate is", () => {
  const grade = (wal: number) =>
    gradesOf(lineOf({ Symphony: [{ value: 1, wal }] }, [{ of: "wal", must: 317, aim: 264 }]));
  assert.deepEqual([318, 317, 264].map(grade), [["missed"], ["met"], ["aim"]]);
});

Deno.test("bench · a time must not exceed its bound, and a time against a peer not its multiple", () => {
  const grade = (ms: number) =>
    gradesOf(lineOf(
      { Symphony: rates(ms), [GRAPHILE_WORKER]: rates(4) },
      [{ must: 5, aim: 3 }, { peer: GRAPHILE_WORKER, must: 1, aim: 0.75 }],
      { unit: "ms", better: "lower" },
    ));
  assert.deepEqual([6, 5, 4, 3].map(grade), [["missed", "missed"], ["met", "missed"], ["met", "met"], ["aim", "aim"]]);
});

Deno.test("bench · a target without an aim is met or missed", () => {
  const grade = (ms: number) =>
    gradesOf(lineOf({ Symphony: rates(ms) }, [{ must: 3 }], { unit: "ms", better: "lower" }));
  assert.deepEqual([3, 3.1].map(grade), [["met"], ["missed"]]);
});

Deno.test("bench · the median of the ratios of each round is judged, not the ratio of the medians", () => {
  const line = lineOf({ Symphony: rates(10, 200, 90), [PG_BOSS]: rates(5, 400, 60) }, [{ peer: PG_BOSS, must: 1.5 }]);
  assert.deepEqual(judge(line).map(({ reached }) => reached), [1.5]);
});

Deno.test("bench · of two forms of Symphony the better one is judged by each target, and named", () => {
  const line = lineOf({
    Symphony: [{ value: 100, cpu: 10 }],
    "Symphony (rows)": [{ value: 150, cpu: 12 }],
    [GRAPHILE_WORKER]: [{ value: 100, cpu: 10 }],
  }, [{ peer: GRAPHILE_WORKER, must: 1.5 }, { of: "cpu", peer: GRAPHILE_WORKER, must: 1 }]);
  assert.deepEqual(judge(line).map(({ grade, bus }) => [grade, bus]), [["met", "Symphony (rows)"], [
    "met",
    "Symphony",
  ]]);
});

Deno.test("bench · a target is not judged without the figures of its peer", () => {
  assert.deepEqual(gradesOf(lineOf({ Symphony: rates(1) }, [{ peer: PG_BOSS, must: 1 }])), []);
});

Deno.test("bench · a row is compared with the peer of its target, otherwise with the best peer", () => {
  const samples = { Symphony: rates(4), [GRAPHILE_WORKER]: rates(2), [PG_BOSS]: rates(5) };
  assert.deepEqual(mainPeer(lineOf(samples, CLAIM_DELETED[1])), { bus: "Symphony", peer: GRAPHILE_WORKER, times: 2 });
  assert.deepEqual(mainPeer(lineOf(samples)), { bus: "Symphony", peer: PG_BOSS, times: 0.8 });
  const times = lineOf(samples, [], { unit: "ms", better: "lower" });
  assert.deepEqual(peersAhead(times).map(({ peer, times }) => [peer, times]), [[GRAPHILE_WORKER, 0.5]]);
});

const lines = [
  lineOf({ Symphony: [{ value: 48_400, cpu: 37.3, wal: 350 }], [GRAPHILE_WORKER]: rates(96_800, 90_000) }, [
    { peer: GRAPHILE_WORKER, must: 1.4, aim: 2 },
    { of: "wal", must: 317 },
  ], { label: "claim and settle", reason: "It checks more." }),
  lineOf({ Symphony: rates(0.4) }, [{ must: 0.6, aim: 0.3 }], { label: "empty poll", unit: "ms", better: "lower" }),
];
const results: Results = {
  machine: { processor: "a processor", cores: 2, memory: "8 GB", system: "linux 6", versions: ["PostgreSQL 15.1"] },
  date: "2026-11-28T12:00:00.000Z",
  quick: false,
  minutes: 20,
  lines,
};

Deno.test("bench · the document has each rate with its cost and spread, each target, and why a peer is ahead", () => {
  const text = documentOf(results);
  for (
    const part of [
      "| claim and settle | 48.4k · 37.3 us · 350 B | 93.4k | 0.50x graphile-worker |",
      "| claim and settle | per second | 1 | 48.4k to 48.4k | 90.0k to 96.8k |",
      "| claim and settle | rate | graphile-worker | >= 1.40x | >= 2.00x | 0.50x | **missed** |",
      "| claim and settle | WAL | - | <= 317 B |  | 350 B | **missed** |",
      "| empty poll | time | - | <= 0.60 ms | <= 0.30 ms | 0.40 ms | met |",
      "Targets met: 1 of 3 (aim reached: 0); missed: **2**.",
      "- It checks more.\n  - claim and settle: 0.50x graphile-worker",
    ]
  ) assert.ok(text.includes(part), `${part} is missing in:\n${text}`);
  assert.ok(!text.includes("## At scale"));
});

Deno.test("bench · the document has the figures at scale if there are any", () => {
  const text = documentOf(results, {
    machine: results.machine,
    date: "2026-11-27",
    minutes: 20,
    lines: [{ label: "empty poll, 10M rows", unit: "ms", value: 0.5 }, {
      label: "prune",
      unit: "per second",
      value: 20_000,
      note: "kept rows",
    }],
  });
  assert.ok(text.includes("| empty poll, 10M rows | 0.5 ms |  |\n| prune | 20,000 per second | kept rows |"), text);
});

Deno.test("bench · results can be stored and written again", async () => {
  const path = await Deno.makeTempFile();
  try {
    await storeResults(path, results);
    assert.equal(documentOf(await loadResults(path)), documentOf(results));
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("bench · the chart has one bar per row with a peer", () => {
  const svg = drawChart(lines);
  assert.ok(svg.includes(">0.50x graphile-worker<"));
  assert.ok(!svg.includes("empty poll"));
});
