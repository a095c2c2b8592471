// `npm run demo` starts a private Supabase project, sends a thousand messages of every kind and prints the figures.
// With `-- --chaos` it also kills workers, drops wake-ups and stops Postgres. The exit code is 0 only if every figure
// is as expected.
import { type Project, startProject } from "../../supabase/local/project.ts";
import { CHAOS_LEASE, injectFaults } from "./chaos.ts";
import { measureLatency, SAMPLES } from "./latency.ts";
import { pause } from "../pause.ts";
import { newBar } from "../terminal.ts";
import { report } from "./report.ts";
import { readSchedule, startSchedule } from "./schedule.ts";
import { type Kind, KINDS, openEdgeFunction, type Tally, TOTAL } from "./workload.ts";

const chaos = Deno.args.includes("--chaos");
const GIVE_UP = 90_000; // ms
const directory = new URL("../../.symphony/demo", import.meta.url).pathname;

const started = Date.now();
await Deno.remove(directory, { recursive: true }).catch(() => {});
console.log(
  "Starting a private Supabase project: Postgres with the ticker, gateway, edge functions, the migration ...",
);
// A worker becomes idle after 0.5 s without messages instead of 5 s, because the demo waits for that 15 times.
const env = { SYMPHONY_WORKER_LINGER: "500", ...(chaos && { SYMPHONY_WORKER_LEASE: String(CHAOS_LEASE) }) };
const project = await startProject({ directory, clock: true, env });
const interrupted = () => project.stop().finally(() => Deno.exit(130));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) Deno.addSignalListener(signal, interrupted);
console.log(`Ready after ${seconds(started)} s at ${project.url}\n`);

const wrong = await demonstrate(project)
  .catch((error: unknown) => [error instanceof Error ? error.message : String(error)])
  .finally(() => project.stop());
if (wrong.length === 0) {
  console.log(`
Every figure is as expected (${seconds(started)} s). Next steps:
  npm start       leaves a project running and prints its URL, keys, a curl line and a psql line
  npm test        runs every test
  README.md       define a message, dispatch it, handle it, monitor it`);
} else {
  console.log(`\nWrong:\n${wrong.map((sentence) => `  - ${sentence}`).join("\n")}`);
  console.log(`The functions' log is in ${directory}/functions.log`);
}
Deno.exit(wrong.length === 0 ? 0 : 1);

async function demonstrate(project: Project): Promise<string[]> {
  const app = await openEdgeFunction(project, chaos);
  const bar = newBar("handled");
  bar.start(TOTAL, 0);
  const begin = Date.now();
  const tallies = new Map<Kind, Tally>();
  const faults: string[] = [];
  let finished = 0;
  await startSchedule(project.sql);
  const sending = (async () => {
    for (const kind of KINDS) tallies.set(kind, await kind.send(app));
  })();
  const watching = untilFinished(project, (count) => bar.update(finished = count));
  const faulting = chaos
    ? injectFaults(project, () => finished, sending, (what) => faults.push(what))
    : Promise.resolve();
  try {
    await Promise.all([sending, watching, faulting]);
  } finally {
    bar.stop();
  }
  const took = (Date.now() - begin) / 1_000;
  project.wakeups.drop(0);
  if (chaos) {
    console.log(
      `\nFaults:\n${faults.map((what) => `  - ${what}`).join("\n")}\n  - ${project.wakeups.dropped} wake-ups lost`,
    );
  }

  const scheduled = await readSchedule(project.sql);
  const latencyBar = newBar("latency");
  latencyBar.start(SAMPLES, 0);
  const latencies = await measureLatency(app, project, () => latencyBar.increment()).finally(() => latencyBar.stop());
  const wrong = await report(project.sql, { tallies, latencies, seconds: took, chaos });
  console.log(scheduled.line);
  return [...wrong, ...scheduled.wrong];
}

async function untilFinished({ sql }: Project, show: (count: number) => void): Promise<void> {
  for (const giveUp = Date.now() + GIVE_UP; Date.now() < giveUp; await pause(50)) {
    // The query fails while Postgres is down.
    const rows = await sql<{ finished: number }[]>`
      select count(*)::int as finished from messenger_messages where processed_at is not null and metadata ? 'kind'`
      .catch((error: unknown) => {
        if (!chaos) throw error;
        return [];
      });
    for (const { finished } of rows) {
      show(finished);
      if (finished >= TOTAL) return;
    }
  }
  throw new Error(`Not all of the ${TOTAL} messages were finished within ${GIVE_UP / 1_000} s`);
}

function seconds(since: number): string {
  return ((Date.now() - since) / 1_000).toFixed(1);
}
