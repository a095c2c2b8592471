// A month of steady traffic under the test clock: the tables grow until the retentions have passed and are level from
// then on. SYMPHONY_TEST_MESSAGES_A_DAY makes it larger than the suite needs.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { call, claim, dispatch, type Row, setClock, settle } from "../bus.ts";
import { assertSound } from "../operations/make_dead_letters.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

const A_DAY = Number(Deno.env.get("SYMPHONY_TEST_MESSAGES_A_DAY") ?? 500);
const TICKS_A_DAY = 4 + 3 * Math.ceil(A_DAY / 1000);

async function sizes(): Promise<Record<string, number>> {
  const [row] = await project().sql`
    select (select count(*)::int from messenger_messages) as messages,
      (select count(*)::int from messenger.attempts) as attempts,
      (select count(*)::int from messenger.idempotency_keys) as keys,
      (select count(*)::int from messenger_failed_messages) as dead_letters,
      (select count(*)::int from messenger.pruned) as counts, (select count(*)::int from messenger.workers) as workers,
      (select count(*)::int from messenger.replays) as replays,
      (select count(*)::int from messenger.replayed) as replayed,
      (select count(*)::int from messenger.rescue_cursors) as cursors,
      (select count(*)::int from messenger.clock) as clocks`;
  return { ...row };
}

/** One of ten messages fails once and is retried, one of fifty becomes a dead letter. */
function result({ id, fence, body, retry_count }: Row): Row {
  const failed = { id, fence, outcome: "failed", error: "no", delay_ms: 0 };
  if (body.n % 50 === 1) return { ...failed, retryable: false };
  if (body.n % 10 === 2 && retry_count === 0) return failed;
  return { id, fence, outcome: "completed" };
}

async function dayOfWork(day: number): Promise<void> {
  const { sql } = project();
  for (let n = 0; n < A_DAY; n += 1000) {
    const messages = Array.from({ length: Math.min(1000, A_DAY - n) }, (_, at) => ({
      type: "Greeting",
      payload: { n: n + at },
      ...(at % 10 === 0 && { idempotency_key: `${day}/${n + at}` }),
    }));
    await call(sql, "messenger_dispatch_batch", { messages });
  }
  await dispatch(sql, { type: "Report", delay: "36 hours" });
  for (;;) {
    const rows = await claim(sql, { batch: 1000, worker: `edge-${day}`, types: ["Greeting", "Report"] });
    if (rows.length === 0) return;
    await settle(sql, rows.map(result));
  }
}

test("month · every table is level between the fifteenth and the thirtieth day, nothing is lost", async () => {
  const { sql } = project();
  // Of thirty days, so that the dead letters are level within the month, too.
  await sql`update messenger_transports set config = '{"failed_retention": "10 days"}'`;
  const seen: Record<string, number>[] = [];
  for (let day = 0; day < 30; day++) {
    await setClock(sql, `${day} days`);
    await dayOfWork(day);
    // Half of the day's dead letters are discarded, the others are retried slowly.
    await call(sql, "messenger_discard_failed", { filter: {}, max: Math.ceil(A_DAY / 100) });
    await call(sql, "messenger_retry_failed", { filter: {}, per_second: 1000 });
    for (let tick = 1; tick <= TICKS_A_DAY; tick++) {
      await setClock(sql, `${day} days ${(24 / TICKS_A_DAY) * tick - 1} hours`);
      await call(sql, "messenger_tick");
      if (tick === 1) await claim(sql, { batch: 1000 }).then((rows) => settle(sql, rows.map(completed)));
    }
    seen.push(await sizes());
  }
  const [middle, end] = [seen[15], seen[29]];
  // Counts are rolled up if there are more than a hundred.
  for (const [table, size] of Object.entries(end).filter(([table]) => table !== "counts")) {
    assert(size <= middle[table] * 1.1 + 2, `${table}: ${middle[table]} rows on day 15, ${size} on day 30`);
  }
  assert(end.messages >= 7 * A_DAY && end.messages < 9 * A_DAY, `${end.messages} messages`);
  assert(end.counts <= 101, `${end.counts} counts`);
  assert(end.dead_letters > 0 && end.keys > 0 && end.attempts > 0);
  const [{ pruned }] = await sql`select sum(message_count)::int as pruned from messenger.pruned`;
  assert.equal(pruned + end.messages, 30 * (A_DAY + 1));
  await assertSound(sql);
});

const completed = ({ id, fence }: Row) => ({ id, fence, outcome: "completed" });
