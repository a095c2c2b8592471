// The flow of one message through the whole system, checked at each step; an idle system makes no calls.
import assert from "node:assert/strict";
import { eventually } from "./eventually.ts";
import { session } from "./project.ts";
import { testLocally, useTarget } from "./target.ts";

const { target, project } = useTarget({ clock: true, env: { SYMPHONY_WORKER_LINGER: "300" } });

const calls = (app: string) => project().functions.invocations(app);

async function rowOf(id: string) {
  const [row] = await project().sql`select * from messenger_messages where id = ${id}`;
  return row;
}

async function untilIdle(): Promise<void> {
  await eventually("the worker is idle and no message is unfinished", async () => {
    const [{ busy }] = await project().sql`
      select exists (select from messenger.workers
          where greatest(polled_at + interval '1 second', active_until) > messenger.now())
        or exists (select from messenger_messages where processed_at is null) as busy`;
    return !busy;
  });
}

async function ticksPass(count: number): Promise<void> {
  const ticks = async () => Number((await project().sql`select ticks from messenger.clock`)[0].ticks);
  const start = await ticks();
  await eventually(`${count} ticks pass`, async () => await ticks() >= start + count);
}

testLocally("flow · one message from POST to result, every step", async () => {
  await untilIdle();
  const wakeups = project().wakeups.sent;
  const workerCalls = calls("worker");

  const sent = await target().call("dispatch", {
    json: { message: { type: "ExampleQuick", payload: { n: 1 } }, options: { priority: 7 } },
  });
  const id = String(sent.body.messageId);
  assert.deepEqual([sent.status, sent.body.status], [201, "pending"]);

  const stored = await rowOf(id);
  assert.deepEqual([stored.message_type, stored.priority, stored.body], ["ExampleQuick", 7, { n: 1 }]);

  await eventually("the wake-up is sent", () => project().wakeups.sent > wakeups);
  await eventually("the worker is called", () => calls("worker") > workerCalls);
  await eventually("pg_net stores the worker's reply, which precedes the work", async () => {
    const replies = await project().sql`select status_code, content from net._http_response order by id desc limit 1`;
    const [{ status_code, content }] = replies;
    return status_code === 202 && JSON.parse(content).success === true;
  });
  const done = await eventually("the handler's result is stored", async () => {
    const row = await rowOf(id);
    return row.status === "completed" && row;
  });
  assert.deepEqual([done.result.ok, done.fence, done.retry_count], [true, "1", 0]);
  assert.deepEqual([done.locked_by, done.locked_at, done.lock_expires_at, done.last_error], [null, null, null, null]);
  assert.ok(done.processed_at >= done.created_at);
  const [worker] = await project().sql`select worker from messenger.workers order by polled_at desc limit 1`;
  assert.match(worker.worker, /^edge-local-/);

  const { body } = await target().call(`dispatch/${id}`);
  assert.deepEqual([body.status, body.result], ["completed", done.result]);
});

testLocally(
  "flow · a message dispatched in a transaction waits for its commit and sends its wake-up then",
  async () => {
    await project().sql`create table if not exists tour_orders (id int primary key)`;
    await untilIdle();
    const workerCalls = calls("worker");
    await using own = session(project());
    const id = await own.begin(async (sql) => {
      await sql`insert into tour_orders values (1)`;
      const [{ id }] = await sql`select id from messenger_dispatch('ExampleQuick', '{"order": 1}')`;
      await ticksPass(2);
      assert.equal(await rowOf(id), undefined, "seen before its commit");
      assert.equal(calls("worker"), workerCalls, "woken before its commit");
      return String(id);
    });
    await eventually("it is handled after the commit", async () => (await rowOf(id)).status === "completed");
    assert.ok(calls("worker") > workerCalls);
  },
);

testLocally("flow · a transaction that rolls back leaves no message", async () => {
  await untilIdle();
  const [wakeups, workerCalls] = [project().wakeups.sent, calls("worker")];
  await using own = session(project());
  let id = "";
  await assert.rejects(
    own.begin(async (sql) => {
      await sql`insert into tour_orders values (2)`;
      id = (await sql`select id from messenger_dispatch('ExampleQuick', '{"order": 2}')`)[0].id;
      throw new Error("changed my mind");
    }),
    /changed my mind/,
  );
  assert.equal(await rowOf(id), undefined);
  assert.equal((await project().sql`select from tour_orders where id = 2`).length, 0);
  await ticksPass(2);
  assert.deepEqual([project().wakeups.sent, calls("worker")], [wakeups, workerCalls], "it rang nobody");
});

testLocally("flow · an idle system makes no calls, however often the ticker ticks", async () => {
  await untilIdle();
  const before = { worker: calls("worker"), dispatch: calls("dispatch"), wakeups: project().wakeups.sent };
  await ticksPass(5);
  assert.deepEqual({ worker: calls("worker"), dispatch: calls("dispatch"), wakeups: project().wakeups.sent }, before);
  const [{ queued }] = await project().sql`select count(*)::int as queued from net.http_request_queue`;
  assert.equal(queued, 0);
});

testLocally("flow · a commit wakes the worker without the ticker", async () => {
  await project().sql`select messenger_stop()`;
  await untilIdle();
  await ticksEnd();
  const [{ id }] = await project().sql`select id from messenger_dispatch('ExampleQuick')`;
  await eventually("it is handled", async () => (await rowOf(id)).status === "completed", 10_000);
});

async function ticksEnd(): Promise<void> {
  await eventually("the ticker's backend has ended", async () => {
    const ticking = await project().sql`
      select from pg_stat_activity where query like '%tick_or_note_error%' and pid <> pg_backend_pid()`;
    return ticking.length === 0;
  });
}
