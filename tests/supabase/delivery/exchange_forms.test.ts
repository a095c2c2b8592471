// Both forms of the exchange, JSON and rows, have the same effects and the same results: one suite, two adapters.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { assertRejected } from "../assert_rejected.ts";
import { call, callValue, claim, dispatch, dispatchMany, dispatchPair, messageOf, type Row, setClock } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

interface Outcome {
  id: string;
  fence: number | string;
  outcome: string;
  result?: unknown;
  duration_ms?: number;
  [field: string]: unknown;
}

interface Reply {
  /** Id and outcome, in the order of the reported outcomes. */
  settled: [id: string, outcome: string][];
  claimed: Row[];
}

type Exchange = (outcomes: Outcome[], args?: Record<string, unknown>, sql?: Sql) => Promise<Reply>;

const json: Exchange = async (outcomes, args = {}, sql = project().sql) => {
  const { settled, claimed } = await callValue(sql, "messenger_exchange", { outcomes, worker: "ada", ...args });
  return { settled: settled.map(({ id, outcome }: Row) => [id, outcome]), claimed };
};

/** Completions are sent as arrays, other outcomes as JSON; an outcome without a row was completed. */
const rows: Exchange = async (outcomes, args = {}, sql = project().sql) => {
  const completed = outcomes.filter(({ outcome }) => outcome === "completed");
  const others = outcomes.filter(({ outcome }) => outcome !== "completed");
  const { worker = "ada", batch = null, lease = null, transport = null, queues = null, types = null } = args as Row;
  const reply = await sql<Row[]>`
    select * from messenger.exchange_rows(
      ${completed.map(({ id }) => id)}::uuid[], ${completed.map(({ fence }) => fence)}::bigint[],
      ${completed.map(({ duration_ms }) => duration_ms ?? null)}::double precision[],
      array(select value from jsonb_array_elements(${
    sql.json(completed.map(({ result }) => result ?? null) as never)
  }) value), ${others.length > 0 ? sql.json(others as never) : null},
      ${worker}, ${batch}, ${lease}, ${transport}, ${queues}, ${types})`;
  const different = reply.filter(({ settled_id }) => settled_id !== null);
  return {
    settled: outcomes.map(({ id, outcome, fence }) => {
      const at = different.findIndex((row) => row.settled_id === id && (outcome !== "completed" || Number(fence) >= 0));
      return [id, at < 0 ? "completed" : different.splice(at, 1)[0].outcome];
    }),
    claimed: reply.filter(({ id }) => id !== null),
  };
};

/** The columns that both forms return in their own types: numbers and dates as text. */
const plain = ({ settled_id: _s, outcome: _o, available_at: _a, ...row }: Row) => ({
  ...row,
  fence: Number(row.fence),
  lock_expires_at: new Date(row.lock_expires_at).getTime() > Date.now(),
  created_at: new Date(row.created_at).getTime() <= Date.now(),
});

for (const [form, exchange] of Object.entries({ json, rows })) {
  test(`${form} · claims every column of due messages, in order of priority`, async () => {
    const { sql } = project();
    const [low] = await dispatchMany(sql, 1, { priority: 2, headers: { traceparent: "t" }, metadata: { a: 1 } });
    const { id: high } = await dispatch(sql, { priority: 9, payload: { x: [1, null] }, queue: "mail" });
    const { settled, claimed } = await exchange([]);
    assert.deepEqual(settled, []);
    assert.deepEqual(claimed.map(plain), [
      {
        id: high,
        message_type: "Greeting",
        queue_name: "mail",
        body: { x: [1, null] },
        headers: {},
        metadata: {},
        priority: 9,
        retry_count: 0,
        max_retries: 3,
        fence: 1,
        lock_expires_at: true,
        created_at: true,
        solo: false,
      },
      {
        id: low,
        message_type: "Greeting",
        queue_name: "default",
        body: { n: 0 },
        headers: { traceparent: "t" },
        metadata: { a: 1 },
        priority: 2,
        retry_count: 0,
        max_retries: 3,
        fence: 1,
        lock_expires_at: true,
        created_at: true,
        solo: false,
      },
    ]);
  });

  test(`${form} · completions store their result and duration, and one call claims the next messages`, async () => {
    const { sql } = project();
    const [a, b, c] = await dispatchMany(sql, 3);
    const { claimed } = await exchange([], { batch: 2 });
    const next = await exchange([
      { ...claimed[0], outcome: "completed", result: { done: true }, duration_ms: 1234 },
      { ...claimed[1], outcome: "completed" },
    ]);
    assert.deepEqual(next.settled, [[a, "completed"], [b, "completed"]]);
    assert.deepEqual(next.claimed.map(({ id }) => id), [c]);
    assert.deepEqual([(await messageOf(sql, a)).result, (await messageOf(sql, b)).result], [{ done: true }, null]);
    const [{ durations }] = await sql`select durations from messenger.measurements where kind = 'completed'`;
    assert.equal(durations.includes(1234), true);
  });

  test(`${form} · a result that is too large, or has a number that a double cannot hold, is replaced`, async () => {
    const { sql } = project();
    await dispatchMany(sql, 1);
    const { claimed: [row] } = await exchange([]);
    await exchange([{ ...row, outcome: "completed", result: "x".repeat(70_000) }]);
    assert.equal((await messageOf(sql, row.id)).result.symphony_dropped, "larger than 64 KB");
  });

  test(`${form} · every other outcome has its effect`, async () => {
    const { sql } = project();
    const ids = await dispatchMany(sql, 5, { max_retries: 1 });
    const { claimed } = await exchange([], { batch: 10 });
    await call(sql, "messenger_cancel", { id: ids[4] });
    const { settled } = await exchange([
      { ...claimed[0], outcome: "failed", error: "e", delay_ms: 60_000 },
      { ...claimed[1], outcome: "failed", error: "e", retryable: false },
      { ...claimed[2], outcome: "snoozed", delay_ms: 60_000 },
      { ...claimed[3], outcome: "released" },
      { ...claimed[4], outcome: "failed", error: "e" },
    ], { queues: ["none"] });
    assert.deepEqual(settled.map(([, outcome]) => outcome), ["retry", "dead", "snoozed", "released", "cancelled"]);
    const stored = await Promise.all(ids.map((id) => messageOf(sql, id)));
    assert.deepEqual(stored.map(({ status }) => status), ["pending", "failed", "pending", "pending", "failed"]);
  });

  test(`${form} · stale, repeated and unknown outcomes change nothing and are reported`, async () => {
    const { sql } = project();
    await dispatchMany(sql, 2);
    const { claimed: [a, b] } = await exchange([]);
    await exchange([{ ...a, outcome: "completed" }]);
    await setClock(sql, "61 seconds");
    const [lost] = await claim(sql, { worker: "bob" });
    assert.equal(lost.id, b.id);
    const unknown = "01990000-0000-7000-8000-000000000001";
    const { settled } = await exchange([
      { ...a, outcome: "completed" },
      { ...b, outcome: "completed" },
      { id: unknown, fence: 1, outcome: "completed" },
      { id: unknown, fence: 1, outcome: "failed", error: "e" },
    ]);
    assert.deepEqual(settled, [[a.id, "already"], [b.id, "stale"], [unknown, "unknown"], [unknown, "unknown"]]);
    assert.equal((await messageOf(sql, b.id)).status, "processing");
    await setClock(sql, "0 seconds");
  });

  test(`${form} · a locked row is reported as locked, the others are recorded`, async () => {
    await using other = session(project());
    const { sql } = project();
    const [a, b] = await dispatchMany(sql, 2);
    const { claimed } = await exchange([]);
    await other`begin`;
    await other`select from messenger_messages where id = ${a} for update`;
    const { settled } = await exchange(claimed.map((row) => ({ ...row, outcome: "completed" })));
    assert.deepEqual(settled, [[a, "locked"], [b, "completed"]]);
    await other`rollback`;
    assert.deepEqual((await exchange([{ ...claimed[0], outcome: "completed" }])).settled, [[a, "completed"]]);
  });

  test(`${form} · a row that a trigger of the project rejects is reported, the others are recorded`, async () => {
    const { sql } = project();
    const [a, b] = await dispatchMany(sql, 2);
    const { claimed } = await exchange([]);
    await sql.unsafe(`
      create function public.reject_first() returns trigger language plpgsql as $$
      begin
        if new.id = '${a}' and new.status = 'completed' then raise exception 'not this one'; end if;
        return new;
      end $$;
      create trigger reject_first before update on messenger_messages
      for each row execute function public.reject_first()`);
    try {
      const { settled } = await exchange(claimed.map((row) => ({ ...row, outcome: "completed" })));
      assert.deepEqual(settled, [[a, "error: P0001 not this one"], [b, "completed"]]);
    } finally {
      await sql.unsafe("drop trigger reject_first on messenger_messages; drop function public.reject_first()");
    }
  });

  test(`${form} · with retention 0 a completed message is deleted, and the next of its key is due`, async () => {
    const { sql } = project();
    await sql`update messenger_transports set config = '{"retention": "0"}' where name = 'supabase'`;
    try {
      const [first, next] = await dispatchPair(sql, { ordering_key: "k" });
      const { claimed: [row] } = await exchange([]);
      const { settled, claimed } = await exchange([{ ...row, outcome: "completed" }]);
      assert.deepEqual([settled, claimed.map(({ id }) => id)], [[[first.id, "completed"]], [next.id]]);
      assert.equal(await messageOf(sql, first.id), undefined);
    } finally {
      await sql`update messenger_transports set config = '{}' where name = 'supabase'`;
    }
  });

  test(`${form} · a bad claim rolls the completions back, and bad outcomes are rejected as a whole`, async () => {
    const { sql } = project();
    await dispatchMany(sql, 1);
    const { claimed: [row] } = await exchange([]);
    const completed = [{ ...row, outcome: "completed" }];
    await assertRejected(exchange(completed, { batch: 0 }), "SM_BATCH");
    await assertRejected(exchange(completed, { lease: "13 hours" }), "SM_LEASE");
    await assertRejected(exchange(completed, { worker: "" }), "SM_WORKER");
    await assertRejected(exchange(completed, { queues: ["A b"] }), "SM_QUEUE");
    await assertRejected(exchange(completed, { transport: "pigeon" }), "SM_TRANSPORT");
    await assertRejected(exchange([...completed, { ...row, outcome: "nonsense" }]), "SM_OUTCOME");
    await assertRejected(exchange(Array(1001).fill(completed[0])), "SM_BATCH_TOO_LARGE", 413);
    assert.equal((await messageOf(sql, row.id)).status, "processing");
  });
}

test("rows · arrays of different lengths, or with nulls, are rejected, and nothing is recorded", async () => {
  const { sql } = project();
  await dispatchMany(sql, 1);
  const { claimed: [{ id, fence }] } = await rows([]);
  for (const [ids, fences] of [[[id], []], [[id, null], [fence, fence]], [[id], [null]]]) {
    await assertRejected(
      sql`select * from messenger.exchange_rows(${ids as string[]}::uuid[], ${fences as string[]}::bigint[], null, null,
        null, 'ada')`,
      "SM_OUTCOME",
    );
  }
  assert.equal((await messageOf(sql, id)).status, "processing");
});
