// F19: a soak under every fault at once. Producers, edge functions and SQL consumers work; faults strike in mid-flight; then all heals, drains and is counted.
import { startProject } from "../../../supabase/local/project.ts";
import { eventually } from "../../eventually.ts";
import { pause } from "../../pause.ts";
import { newBar } from "../../terminal.ts";
import { openProxy } from "../proxy.ts";
import type { Blow } from "./fault.ts";
import { BLOWS, holdSnapshots, strike } from "./faults.ts";
import { EFFECTS_QUEUE } from "./consumer.ts";
import { hire } from "./workers.ts";
import { type Ground, insist, LET_GO, MovingClock } from "./setup.ts";
import { produce, type Producing } from "./producers.ts";
import { type Pace, TickWatch } from "./ticks.ts";
import { countRows, countViolations, type SoakFigures } from "./figures.ts";

const LEASE = 5_000; // ms
const STALLED = 150_000; // ms without a finished message
const DRAIN = 180_000; // ms

export interface Landed {
  blow: Blow;
  /** Messages in flight when it struck; 0: it struck nobody. */
  held: number;
}

export interface SoakResult {
  figures: SoakFigures;
  landed: Landed[];
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
  const crew = cleanup.use(hire(2, project.databaseUrl(), LEASE));
  const clock = new MovingClock({ project });
  const ground: Ground = { project, proxies: { front, back }, crew, lease: LEASE, clock };

  const bar = newBar("soak");
  bar.start(messages, 0);
  const started = Date.now();
  let finished = 0;
  let moved = Date.now();
  let allowed = 0;
  const watching = watch(ground, ending.signal, (count) => {
    if (count > finished) moved = Date.now();
    finished = count;
    bar.update(count);
  });
  const ticks = new TickWatch();
  const counting = watchTicks(ground, ticks, ending.signal);
  const producing = produce({
    messages,
    url: front.url,
    key: project.secretKey,
    allowed: () => allowed,
    finished: () => finished,
    dueIn: messages / 2,
    signal: ending.signal,
  });
  producing.done.catch(() => ending.abort()); // told again below
  const snapshots = new AbortController();
  const holding = holdSnapshots(project.databaseUrl(), AbortSignal.any([ending.signal, snapshots.signal]));
  project.wakeups.drop(0.5);
  project.wakeups.double(0.2);

  const plan = Array.from({ length: rounds }, () => BLOWS).flat();
  const landed: Landed[] = [];
  let violations = 0;
  for (const [n, blow] of plan.entries()) {
    // Let out in portions, one a fault, or a fast machine would be done before half of the faults.
    const before = allowed;
    allowed = Math.ceil(messages * (n + 1) / (plan.length + 1));
    await until(
      `more than ${before} messages are dispatched`,
      () => producing.acknowledged.size > before,
      () => moved,
      producing,
    );
    if (blow.stopsTicker) ticks.stop();
    landed.push({ blow, held: await strike(ground, blow) });
    if (blow.stopsTicker) ticks.resume();
    // Not when the clock has just moved: leases are then overdue by an hour at once, and I8 asks for two minutes.
    if (n % 4 === 0 && blow.fault !== "F11") {
      violations += (await eventually("an audit", () => countViolations(project.sql))).found;
    }
  }

  project.wakeups.drop(0);
  project.wakeups.double(0);
  snapshots.abort();
  await insist(ground, LET_GO);
  const healed = Date.now();
  const [{ now }] = await project.sql<{ now: Date }[]>`select messenger.now() as now`;
  allowed = messages;
  await eventually("somebody claims after the heal", async () => {
    const [{ claimed }] = await project.sql`
      select exists (select from messenger_messages where locked_at > ${now} or processed_at > ${now}) as claimed`;
    return claimed;
  }, 120_000);
  const firstClaim = Date.now();
  await producing.done;
  const everything = () => finished >= producing.acknowledged.size;
  const since = Date.now() - STALLED + DRAIN;
  await until("everything is finished", everything, () => since, producing)
    .catch(() => {}); // the figures say it better
  const drained = Date.now();
  bar.stop();

  const counts = await countRows(project.sql, producing.acknowledged, EFFECTS_QUEUE);
  violations += (await countViolations(project.sql)).found;
  const result = {
    figures: {
      ...counts,
      stale_rejected: late.length + crew.stale,
      audit: violations,
      first_claim_seconds: (firstClaim - healed) / 1_000,
      drain_seconds: (drained - healed) / 1_000,
    },
    landed,
    pace: ticks.pace(),
    wakeups: { sent: project.wakeups.sent, dropped: project.wakeups.dropped },
    unanswered: producing.unanswered,
    seconds: (Date.now() - started) / 1_000,
  };
  ending.abort();
  await Promise.all([watching, counting, holding]);
  return result;
}

async function prepare(sql: Ground["project"]["sql"]): Promise<void> {
  await sql.unsafe(await Deno.readTextFile(new URL("../../../supabase/local/test_clock.sql", import.meta.url)))
    .simple();
  // Without a key: a second effect must show, not fail.
  await sql`create schema soak`;
  await sql`create table soak.effects (message_id uuid not null, fence bigint not null)`;
}

/** Tells how many are finished, twice a second; while Postgres is down nobody knows. */
async function watch({ project }: Ground, signal: AbortSignal, tell: (finished: number) => void): Promise<void> {
  for (; !signal.aborted; await pause(500, signal)) {
    await project.sql<{ finished: number }[]>`
      select count(*)::int as finished from messenger_messages where processed_at is not null`
      .then(([{ finished }]) => tell(finished), () => {});
  }
}

/** A look of its own: the count of messages may wait for a table that is locked. */
async function watchTicks({ project }: Ground, ticks: TickWatch, signal: AbortSignal): Promise<void> {
  for (; !signal.aborted; await pause(300, signal)) await ticks.look(project.sql).catch(() => {});
}

async function until(what: string, reached: () => boolean, moved: () => number, { done }: Producing): Promise<void> {
  let failed: unknown;
  done.catch((error: unknown) => failed = error);
  for (; !reached(); await pause(50)) {
    if (failed) throw failed;
    if (Date.now() - moved() > STALLED) throw new Error(`did not happen, nothing moves: ${what}`);
  }
}
