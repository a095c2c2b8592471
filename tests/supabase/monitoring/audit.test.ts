// messenger_audit: zero violations on a busy bus, and a check of every invariant that it detects violations.
import assert from "node:assert/strict";
import type { TransactionSql } from "postgres";
import { empty, session, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { call, claim, dispatch, dispatchAndClaim, dispatchMany, type Row, setClock, settle } from "../bus.ts";

const project = useProject({ testClock: true });
Deno.test.beforeEach(() => empty(project().sql));

type Queries = Parameters<typeof call>[0];
const broken = async (sql: Queries): Promise<Row[]> =>
  (await call(sql, "messenger_audit")).filter(({ violations }) => violations !== "0").map((
    { invariant, violations },
  ) => [invariant.split(" ")[0], violations]);

test("audit · names ten invariants less the one that needs the dispatcher's list, all zero when empty", async () => {
  const rows = await asRole(project().sql, "service_role", (tx) => call(tx, "messenger_audit"));
  assert.deepEqual(rows.map(({ invariant }) => invariant.split(" ")[0]), [
    "I2",
    "I3",
    "I4",
    "I5",
    "I6",
    "I7",
    "I8",
    "I9",
    "I10",
  ]);
  assert(rows.every(({ violations }) => violations === "0"));
});

test("audit · zero in every snapshot while workers do everything they can", async () => {
  const { sql } = project();
  const outcomes = ["completed", "failed", "snoozed", "released", "dead"];
  const sessions = Array.from({ length: 3 }, () => session(project()));
  let busy = true;
  try {
    const work = Promise.all(sessions.map(async (own, worker) => {
      for (let round = 0; round < 25; round++) {
        await dispatchMany(own, 6, { queue: `q${round % 3}`, max_retries: round % 3 });
        await dispatch(own, { idempotency_key: `k${round}` });
        const rows = await claim(own, { worker: `w${worker}`, batch: 8 });
        await settle(
          own,
          rows.slice(1).map(({ id, fence }, n) => {
            const outcome = outcomes[(round + n) % outcomes.length];
            const fields = { id, fence, error: "e", delay_ms: 0, retryable: outcome !== "dead" };
            return { ...fields, outcome: outcome === "dead" ? "failed" : outcome };
          }),
        );
        if (round % 8 === worker) await setClock(own, `${round * 61} seconds`);
        if (round % 5 === worker) await call(own, "messenger_tick");
      }
    })).finally(() => busy = false);
    let looks = 0;
    while (busy) {
      assert.deepEqual((await broken(sql)).filter(([name]) => name !== "I8"), []);
      looks++;
    }
    await work;
    assert(looks > 3, `${looks} looks`);
    const states = await sql`select distinct status from messenger_messages order by 1`;
    assert.deepEqual(states.map(({ status }) => status), ["completed", "failed", "pending", "processing"]);
    await setClock(sql, "1 hour");
    for (let n = 0; n < 3; n++) await call(sql, "messenger_tick");
    assert.deepEqual(await broken(sql), []);
  } finally {
    await Promise.all(sessions.map((own) => own.end()));
  }
});

/**
 * Plants a state that the bus cannot reach, without the constraints that prevent it, reads the audit, and undoes it
 * all.
 */
async function planted(plant: (sql: TransactionSql) => Promise<unknown>): Promise<Row[]> {
  const undo = new Error("undo");
  let seen: Row[] = [];
  await project().sql.begin(async (sql) => {
    await plant(sql);
    seen = await broken(sql);
    throw undo;
  }).catch((error) => {
    if (error !== undo) throw error;
  });
  return seen;
}

const dropCheck = (sql: TransactionSql) => sql`alter table messenger_messages drop constraint messenger_messages_check`;

async function dead() {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e", retryable: false }]);
  return id;
}

test("I2 · a failed message without a dead letter", async () => {
  await dead();
  assert.deepEqual(await planted((sql) => sql`delete from messenger_failed_messages`), [["I2", "1"]]);
});

test("I2 · a dead letter whose message is gone, pending or expired", async () => {
  const id = await dead();
  assert.deepEqual(await planted((sql) => sql`delete from messenger_messages`), [["I2", "1"]]);
  assert.deepEqual(
    await planted((sql) => sql`update messenger_messages set status = 'pending', processed_at = null where id = ${id}`),
    [["I2", "1"]],
  );
  assert.deepEqual(await planted((sql) => sql`update messenger_messages set error_class = 'Expired'`), [["I2", "1"]]);
});

test("I2 · two open dead letters of one message", async () => {
  await dead();
  const twice = async (sql: TransactionSql) => {
    await sql`drop index messenger_failed_messages_open_idx`;
    await sql`
      insert into messenger_failed_messages (message_id, transport_name, queue_name, message_type, body, retry_count,
        max_retries, created_at)
      select message_id, transport_name, queue_name, message_type, body, retry_count, max_retries, created_at
        from messenger_failed_messages`;
  };
  assert.deepEqual(await planted(twice), [["I2", "1"]]);
});

test("I3 · a lease on a pending message, and a processing one without", async () => {
  const { sql } = project();
  await dispatch(sql, { queue: "a" });
  await dispatchAndClaim(sql, { queue: "b" }, { queues: ["b"] });
  const plant = async (tx: TransactionSql) => {
    await dropCheck(tx);
    await tx`update messenger_messages set locked_by = 'w', locked_at = now(), lock_expires_at = now()
      where status = 'pending'`;
    await tx`update messenger_messages set locked_by = null where status = 'processing'`;
  };
  assert.deepEqual(await planted(plant), [["I3", "2"]]);
});

test("I4 · an unfinished message whose key belongs to another or to none", async () => {
  await dispatch(project().sql, { idempotency_key: "k" });
  assert.deepEqual(await planted((sql) => sql`update messenger.idempotency_keys set message_id = gen_random_uuid()`), [[
    "I4",
    "1",
  ]]);
  assert.deepEqual(await planted((sql) => sql`delete from messenger.idempotency_keys`), [["I4", "1"]]);
});

test("I5 · more deliveries than allowed, or than fences", async () => {
  await dispatch(project().sql);
  for (const lie of ["retry_count = 9, fence = 9", "retry_count = 1"]) {
    const plant = async (sql: TransactionSql) => {
      await dropCheck(sql);
      await sql.unsafe(`update messenger_messages set ${lie}`);
    };
    assert.deepEqual(await planted(plant), [["I5", "1"]], lie);
  }
});

test("I6 · an attempt with a higher fence than its message", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "failed", error: "e" }]);
  assert.deepEqual(await planted((tx) => tx`update messenger.attempts set fence = 2`), [["I6", "1"]]);
});

test("I7 · a processed_at on an unfinished message", async () => {
  await dispatch(project().sql);
  const plant = async (sql: TransactionSql) => {
    await dropCheck(sql);
    await sql`update messenger_messages set processed_at = now()`;
  };
  assert.deepEqual(await planted(plant), [["I7", "1"]]);
});

test("I8 · a lease overdue by more than two minutes while the ticker runs; not while it is stopped", async () => {
  const { sql } = project();
  await dispatchAndClaim(sql);
  await setClock(sql, "200 seconds");
  assert.deepEqual(await broken(sql), []);
  assert.deepEqual(await planted((tx) => tx`update messenger.clock set last_tick_at = messenger.now()`), [["I8", "1"]]);
});

test("I9 · two messages of one ordering key in flight", async () => {
  const { sql } = project();
  await dispatchMany(sql, 2);
  await claim(sql);
  assert.deepEqual(await planted((tx) => tx`update messenger_messages set ordering_key = 'k'`), [["I9", "1"]]);
});

test("I10 · two messages of one occurrence of a schedule", async () => {
  const { sql } = project();
  await dispatchMany(sql, 2, { headers: { "x-schedule": "nightly", "x-scheduled-for": "2030-01-01T00:00:00Z" } });
  assert.deepEqual(await broken(sql), [["I10", "1"]]);
});
