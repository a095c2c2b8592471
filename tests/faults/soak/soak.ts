// F19: a soak under all faults at once. Producers, edge functions and SQL consumers work while faults are injected;
// then the faults end, the backlog drains and the results are counted.
import { startProject } from "../../../supabase/local/project.ts";
import { eventually } from "../../eventually.ts";
import { pause } from "../../pause.ts";
import { newBar } from "../../terminal.ts";
import { openProxy } from "../proxy.ts";
import type { SoakFault } from "./fault.ts";
import { holdSnapshots, inject, SOAK_FAULTS } from "./faults.ts";
import { EFFECTS_QUEUE } from "./consumer.ts";
import { startWorkers } from "./workers.ts";
import { MovingClock, RELEASE_SNAPSHOTS, runWhenUp, type SoakSetup } from "./setup.ts";
import { produce, type Producing } from "./producers.ts";
import { type Pace, TickMeter } from "./ticks.ts";
import { countRows, countViolations, type SoakFigures } from "./figures.ts";

const LEASE = 5_000; // ms
const STALLED = 150_000; // ms without a finished message
const DRAIN = 180_000; // ms

export interface Injected {
  fault: SoakFault;
  /** Messages in flight at the moment of the fault; 0: the fault affected none. */
  held: number;
}

export interface SoakResult {
  figures: SoakFigures;
  injected: Injected[];
  pace: Pace;
  wakeups: { sent: number; dropped: number };
  unanswered: number;
  seconds: number;
}

export async function soak(
  { directory, messages, rounds }: { directory: string; messages: number; rounds: number },
): Promise<SoakResult> {
  await using cleanup = new AsyncDisposableStack();
  await Deno.remove(directory, { recursive: true }).catch(() => {});
  const late: string[] = [];
  const back = cleanup.use(openProxy(() => project.url));
  const front = cleanup.use(openProxy(() => project.url));
  const project = await startProject({
    directory,
    clock: true,
    env: {
      SUPABASE_URL: back.url,
      SYMPHONY_WORKER_LEASE: String(LEASE),
      SYMPHONY_WORKER_BATCH_SIZE: "100",
      SYMPHONY_WORKER_MAX_CONCURRENCY: "100",
    },
    log: (line) => void (line.includes("outcome came too late") && late.push(line)),
  });
  cleanup.use(project);
  await prepare(project.sql);
  const ending = new AbortController();
  cleanup.defer(() => ending.abort());
  const workers = cleanup.use(startWorkers(2, project.databaseUrl(), LEASE));
  const clock = new MovingClock({ project });
  const setup: SoakSetup = { project, proxies: { front, back }, workers, lease: LEASE, clock };

  const bar = newBar("soak");
  bar.start(messages, 0);
  const started = Date.now();
  let finished = 0;
  let moved = Date.now();
  let allowed = 0;
  const watching = watch(setup, ending.signal, (count) => {
    if (count > finished) moved = Date.now();
    finished = count;
    bar.update(count);
  });
  const ticks = new TickMeter();
  const counting = readTicks(setup, ticks, ending.signal);
  const producing = produce({
    messages,
    url: front.url,
    key: project.secretKey,
    allowed: () => allowed,
    finished: () => finished,
    dueIn: messages / 2,
    signal: ending.signal,
  });
  producing.done.catch(() => ending.abort()); // reported again below
  const snapshots = new AbortController();
  const holding = holdSnapshots(project.databaseUrl(), AbortSignal.any([ending.signal, snapshots.signal]));
  project.wakeups.drop(0.5);
  project.wakeups.double(0.2);

  const plan = Array.from({ length: rounds }, () => SOAK_FAULTS).flat();
  const injected: Injected[] = [];
  let violations = 0;
  for (const [n, fault] of plan.entries()) {
    // Dispatched in portions, one per fault; otherwise a fast machine would finish before half of the faults.
    const before = allowed;
    allowed = Math.ceil(messages * (n + 1) / (plan.length + 1));
    await until(
      `more than ${before} messages are dispatched`,
      () => producing.acknowledged.size > before,
      () => moved,
      producing,
    );
    if (fault.stopsTicker) ticks.stop();
    injected.push({ fault, held: await inject(setup, fault) });
    if (fault.stopsTicker) ticks.resume();
    // Not after a move of the clock: leases are then overdue by an hour until the next tick, and I8 allows two minutes.
    // The fault after it may come before that tick.
    if (n % 4 === 0 && fault.id !== "F11" && plan[n - 1]?.id !== "F11") {
      const { found, invariants } = await eventually("an audit", () => countViolations(project.sql));
      violations += found;
      if (found > 0) console.error(`after ${fault.id}, ${fault.what}: ${invariants.join("; ")}`);
    }
  }

  project.wakeups.drop(0);
  project.wakeups.double(0);
  snapshots.abort();
  await runWhenUp(setup, RELEASE_SNAPSHOTS);
  const healed = Date.now();
  const [{ now }] = await project.sql<{ now: Date }[]>`select messenger.now() as now`;
  allowed = messages;
  await eventually("a worker claims after the faults", async () => {
    const [{ claimed }] = await project.sql`
      select exists (select from messenger_messages where locked_at > ${now} or processed_at > ${now}) as claimed`;
    return claimed;
  }, 120_000);
  const firstClaim = Date.now();
  await producing.done;
  const everything = () => finished >= producing.acknowledged.size;
  const since = Date.now() - STALLED + DRAIN;
  await until("everything is finished", everything, () => since, producing)
    .catch(() => {}); // the figures below show it better
  const drained = Date.now();
  bar.stop();

  const counts = await countRows(project.sql, producing.acknowledged, EFFECTS_QUEUE);
  violations += (await countViolations(project.sql)).found;
  const result = {
    figures: {
      ...counts,
      stale_rejected: late.length + workers.stale,
      audit: violations,
      first_claim_seconds: (firstClaim - healed) / 1_000,
      drain_seconds: (drained - healed) / 1_000,
    },
    injected,
    pace: ticks.pace(),
    wakeups: { sent: project.wakeups.sent, dropped: project.wakeups.dropped },
    unanswered: producing.unanswered,
    seconds: (Date.now() - started) / 1_000,
  };
  ending.abort();
  await Promise.all([watching, counting, holding]);
  return result;
}

async function prepare(sql: SoakSetup["project"]["sql"]): Promise<void> {
  await sql.unsafe(await Deno.readTextFile(new URL("../../../supabase/local/test_clock.sql", import.meta.url)))
    .simple();
  // Without a key, so that a second effect is recorded and not rejected.
  await sql`create schema soak`;
  await sql`create table soak.effects (message_id uuid not null, fence bigint not null)`;
}

/** Reports the number of finished messages twice per second, except while Postgres is down. */
async function watch({ project }: SoakSetup, signal: AbortSignal, report: (finished: number) => void): Promise<void> {
  for (; !signal.aborted; await pause(500, signal)) {
    await project.sql<{ finished: number }[]>`
      select count(*)::int as finished from messenger_messages where processed_at is not null`
      .then(([{ finished }]) => report(finished), () => {});
  }
}

/** Separate from `watch`, because the count of messages may wait for a locked table. */
async function readTicks({ project }: SoakSetup, ticks: TickMeter, signal: AbortSignal): Promise<void> {
  for (; !signal.aborted; await pause(300, signal)) await ticks.read(project.sql).catch(() => {});
}

async function until(what: string, reached: () => boolean, moved: () => number, { done }: Producing): Promise<void> {
  let failed: unknown;
  done.catch((error: unknown) => failed = error);
  for (; !reached(); await pause(50)) {
    if (failed) throw failed;
    if (Date.now() - moved() > STALLED) throw new Error(`did not happen, and nothing progresses: ${what}`);
  }
}
