// GET /monitor/metrics.prom as Prometheus itself parses it.
import assert from "node:assert/strict";
import { empty } from "../project.ts";
import { claim, dispatch, dispatchMany, settle } from "../supabase/bus.ts";
import { useTarget } from "../target.ts";
import { gate, type Outcome, run } from "./gate.ts";

const lints = await run("promtool", ["--version"]).then(({ code }) => code === 0, () => false);
const missing = lints ? undefined : "promtool is not installed. To install it: apt-get install prometheus";

const { target, project } = useTarget();

async function scrape(): Promise<string> {
  const response = await fetch(`${target().url}/functions/v1/monitor/metrics.prom`, {
    headers: { apikey: target().secretKey },
  });
  assert.equal(response.status, 200);
  return await response.text();
}

async function check(metrics: string): Promise<Outcome> {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, metrics);
    return await run("sh", ["-c", 'exec promtool check metrics < "$0"', file]);
  } finally {
    await Deno.remove(file);
  }
}

const ODD_TYPE = `A.${"b:-_".repeat(31)}c`;
const ODD_QUEUE = `0-_${"x".repeat(60)}`;

/** Messages in every state, with the oddest allowed names. */
async function plantData() {
  const { sql } = project();
  await empty(sql);
  await dispatchMany(sql, 3);
  const [done, retried, dead] = await claim(sql, { batch: 3 });
  await settle(sql, [
    { id: done.id, fence: done.fence, outcome: "completed", duration_ms: 20 },
    { id: retried.id, fence: retried.fence, outcome: "failed", error: 'a "quoted"\nerror', duration_ms: 5_000_000 },
    { id: dead.id, fence: dead.fence, outcome: "failed", error: "e", retryable: false, duration_ms: 0 },
  ]);
  await dispatchMany(sql, 3, { type: ODD_TYPE, queue: ODD_QUEUE, ordering_key: 'k"\\' });
  await dispatch(sql, { queue: "later", delay: "1 hour" });
  // Counters are those of the last tick.
  await sql`select messenger_tick()`;
}

gate("promtool accepts the metrics of an empty project", missing, async () => {
  await empty(project().sql);
  const { code, text } = await check(await scrape());
  assert.deepEqual([code, text], [0, ""]);
});

gate("promtool accepts the metrics of a project with data and odd names", missing, async () => {
  await plantData();
  const metrics = await scrape();
  assert.ok(metrics.includes(`type="${ODD_TYPE}"`) && metrics.includes(`queue="${ODD_QUEUE}",state="blocked"} 2`));
  const { code, text } = await check(metrics);
  assert.deepEqual([code, text], [0, ""]);
});

const FAULTS: [what: string, place: RegExp, replacement: string, complaint: RegExp][] = [
  ["a label that is not closed", /type="Greeting"/, 'type="Greeting', /error while linting|parse/i],
  ["a quote that is not escaped", /type="Greeting"/, 'type="Gre"eting"', /error while linting|parse/i],
  [
    "a value that is not a number",
    /symphony_workers_awake \d+/,
    "symphony_workers_awake many",
    /error while linting|parse/i,
  ],
  ["a counter without total", /symphony_messages_dead_total/g, "symphony_messages_dead", /_total/],
  ["a metric without help", /# HELP symphony_workers_awake .*\n/, "", /help/],
  ["a unit that is not a base unit", /symphony_clock_lag_seconds/g, "symphony_clock_lag_milliseconds", /seconds/],
  ["a family told twice", /$/, "# TYPE symphony_workers_awake gauge\n", /second TYPE|TYPE/],
];
for (const [what, place, replacement, complaint] of FAULTS) {
  gate(`promtool finds ${what}`, missing, async () => {
    await plantData();
    const metrics = await scrape();
    const faulty = metrics.replace(place, replacement);
    assert.notEqual(faulty, metrics);
    const { code, text } = await check(faulty);
    assert.notEqual(code, 0, text);
    assert.match(text, complaint);
  });
}
