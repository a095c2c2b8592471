// Rows that other transactions have locked: no call of a worker waits for one, and omitted outcomes are sent again.
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import {
  call,
  callValue,
  claim,
  dispatch,
  dispatchAndClaim,
  dispatchMany,
  dispatchPair,
  messageOf,
  settle,
} from "../bus.ts";
import { effects, makeEffects } from "./effects.ts";
import { assertRejected } from "../assert_rejected.ts";
import { pidOf, untilBlocked } from "../until_blocked.ts";

const project = useProject({ testClock: true });
Deno.test.beforeAll(() => makeEffects(project().sql));
Deno.test.beforeEach(() => empty(project().sql));

/** Runs the work while an idle transaction holds a lock on the row of a message. */
async function whileLocked(id: string, strength: "update" | "key share", work: (sql: Sql) => Promise<void>) {
  await using other = session(project());
  await other`begin`;
  await other.unsafe(`select from messenger_messages where id = '${id}' for ${strength}`);
  await work(project().sql);
  await other`rollback`;
}

const completions = (rows: { id: string; fence: string }[]) =>
  rows.map(({ id, fence }) => ({ id, fence, outcome: "completed" }));

/** The results of these outcomes, in their order. */
const outcomesOf = (rows: { outcome: string }[]) => rows.map(({ outcome }) => outcome);

test("foreign keys · a row that one has locked is claimed, extended, failed, claimed again and completed", async () => {
  const { id } = await dispatch(project().sql, { max_retries: 3 });
  await whileLocked(id, "key share", async (sql) => {
    const [{ fence }] = await claim(sql);
    assert.deepEqual(outcomesOf(await call(sql, "messenger_heartbeat", { leases: [{ id, fence }] })), ["extended"]);
    assert.deepEqual(outcomesOf(await settle(sql, [{ id, fence, outcome: "failed", error: "e", delay_ms: 0 }])), [
      "retry",
    ]);
    assert.deepEqual(outcomesOf(await settle(sql, completions(await claim(sql)))), ["completed"]);
  });
});

test("foreign keys · the tick rescues and expires rows that one has locked", async () => {
  const { sql } = project();
  const { id: lost } = await dispatchAndClaim(sql);
  const { id: expired } = await dispatch(sql, { expires_at: new Date(Date.now() + 60_000) });
  await sql`select messenger.set_clock('2 minutes')`;
  await whileLocked(lost, "key share", () =>
    whileLocked(expired, "key share", async () => {
      const { rescued, failed } = await callValue(sql, "messenger_tick");
      assert.deepEqual([rescued, failed], [1, 1]);
    }));
});

test("retention 0 · a message whose row a foreign key has locked is completed, kept, and pruned later", async () => {
  const { sql } = project();
  await sql`update messenger_transports set config = '{"retention": "0 s"}' where name = 'supabase'`;
  const [a, b] = await dispatchMany(sql, 2);
  const rows = await claim(sql);
  await whileLocked(a, "key share", async () => {
    assert.deepEqual(outcomesOf(await settle(sql, completions(rows))), ["completed", "completed"]);
    assert.equal((await messageOf(sql, a)).status, "completed");
  });
  await sql`select messenger.set_clock('1 minute')`;
  await call(sql, "messenger_tick");
  assert.deepEqual([await messageOf(sql, a), await messageOf(sql, b)], [undefined, undefined]);
  const [{ pruned }] = await sql`select sum(message_count)::int as pruned from messenger.pruned`;
  assert.equal(pruned, 2, "each is counted once");
});

test("settle · the unlocked rows of a batch are recorded, failures and the last of a key among them", async () => {
  const { sql } = project();
  const [first, next] = await dispatchPair(sql, { ordering_key: "k" });
  const ids = await dispatchMany(sql, 3);
  const rows = await claim(sql);
  await whileLocked(ids[1], "update", async () => {
    const outcomes = rows.map(({ id, fence }) => ({
      id,
      fence,
      outcome: id === ids[2] ? "failed" : "completed",
      error: "e",
    }));
    const byId = new Map((await settle(sql, outcomes)).map(({ id, outcome }) => [id, outcome]));
    assert.deepEqual([first.id, ...ids].map((id) => byId.get(id)), ["completed", "completed", "locked", "retry"]);
    assert.deepEqual((await claim(sql)).map(({ id }) => id), [next.id], "the next of the key is unblocked");
  });
  const left = rows.filter(({ id }) => id === ids[1]);
  assert.deepEqual(outcomesOf(await settle(sql, completions(left))), ["completed"]);
  const [{ broken }] = await sql`select sum(violations)::int as broken from messenger_audit()`;
  assert.equal(broken, 0);
});

test("settle · waits for a row briefly, because a claim of another worker may lock it for that long", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await using other = session(project());
  await using worker = session(project());
  await worker`set messenger.settle_wait = '5 s'`;
  const pid = await pidOf(worker);
  await other`begin`;
  await other`select from messenger_messages where id = ${id} for update`;
  // Not a completion, which waits in its own statement and for 50 ms only.
  const settling = settle(worker, [{ id, fence, outcome: "released" }]);
  await untilBlocked(sql, pid);
  await other`rollback`;
  assert.deepEqual(outcomesOf(await settling), ["released"]);
});

test("exchange · locked outcomes are in the reply, and the next messages are claimed all the same", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 3);
  const rows = await claim(sql, { batch: 2 });
  await whileLocked(ids[0], "update", async () => {
    const outcomes = completions(rows);
    const [{ messenger_exchange: reply }] = await call(sql, "messenger_exchange", { outcomes, worker: "ada" });
    assert.deepEqual(outcomesOf(reply.settled), ["locked", "completed"]);
    assert.deepEqual(reply.claimed.map(({ id }: { id: string }) => id), [ids[2]]);
  });
});

test("single calls · fail, snooze and release report a locked row, and nothing has changed", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  const before = await messageOf(sql, id);
  await whileLocked(id, "update", async () => {
    assert.equal(await callValue(sql, "messenger_complete", { id, fence }), "locked");
    assert.equal((await call(sql, "messenger_fail", { id, fence, error: "e" }))[0].outcome, "locked");
    assert.equal(await callValue(sql, "messenger_snooze", { id, fence, delay: "1 s" }), "locked");
    assert.equal(await callValue(sql, "messenger_release", { id, fence }), "locked");
  });
  assert.deepEqual(await messageOf(sql, id), before);
});

test("strict completion · on a locked row raises an error, which rolls the handler's writes back", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await whileLocked(id, "update", async () => {
    await assertRejected(
      sql.begin(async (tx) => {
        await tx`insert into public.effects (args) values ('{"n": 1}')`;
        await call(tx, "messenger_complete", { id, fence, strict: true });
      }),
      "SM_UNAVAILABLE",
      503,
    );
    await assertRejected(
      call(sql, "messenger_complete_with", { id, fence, function_name: "take_effect" }),
      "SM_UNAVAILABLE",
      503,
    );
  });
  assert.deepEqual(await effects(sql), []);
  assert.equal((await call(sql, "messenger_complete_with", { id, fence, function_name: "take_effect" })).length, 1);
});

test("claim · a second session of the same worker name, in an open transaction, blocks no claim", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 3);
  await using other = session(project());
  assert.equal((await claim(sql, { batch: 1 })).length, 1, "the name is stored");
  await sql`select messenger.set_clock('1 second')`;
  await other`begin`;
  await claim(other, { batch: 1 });
  await sql`set statement_timeout = '2 s'`;
  assert.deepEqual((await claim(sql)).map(({ id }) => id), [ids[2]]);
  await sql`reset statement_timeout`;
  await other`rollback`;
});

test("claim · the first poll of a worker name that another session is storing does not wait", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 2);
  await using other = session(project());
  await other`begin`;
  await claim(other, { worker: "fresh", batch: 1 });
  await sql`set statement_timeout = '2 s'`;
  assert.deepEqual((await claim(sql, { worker: "fresh" })).map(({ id }) => id), [ids[1]]);
  await sql`reset statement_timeout`;
  await other`rollback`;
});
