// F3, F4: the server process of a transaction is killed in the middle of it, or all server processes are. Committed
// changes survive and uncommitted ones leave no trace.
import assert from "node:assert/strict";
import { connect, type Connection, ConnectionLost } from "../../supabase/local/connection.ts";
import { eventually } from "../eventually.ts";
import { empty, test, useProject } from "../project.ts";
import { claim, dispatch, dispatchAndClaim, messageOf, settle } from "../supabase/bus.ts";

const project = useProject({ durable: true });
Deno.test.beforeEach(() => empty(project().sql));

/** A session that may lose its server; postgres.js's own handling of that would end the process. */
async function openTransaction(): Promise<Connection & { pid: number }> {
  const connection = await connect(project().databaseUrl());
  const [{ pid }] = await connection.query<{ pid: number }>("select pg_backend_pid() as pid");
  await connection.query("begin");
  return Object.assign(connection, { pid });
}

/** kill -9: Postgres ends every other session and recovers. */
async function killBackend(connection: Connection & { pid: number }): Promise<void> {
  const bystander = await connect(project().databaseUrl());
  Deno.kill(connection.pid, "SIGKILL");
  await eventually("every session has ended", () => connection.lost && bystander.lost);
  await respondsAgain();
  await assert.rejects(connection.query("commit"), ConnectionLost);
}

async function respondsAgain(): Promise<void> {
  await eventually("Postgres accepts queries", async () => (await project().sql`select`).count === 1);
}

const send = `select id, duplicate from messenger_dispatch('Greeting', '{"n": 1}', idempotency_key => 'k')`;
const stored = async () => (await project().sql`select id from messenger_messages`).map(({ id }) => id);

test("backend killed · during a dispatch: no message is stored, and its key is free", async () => {
  const connection = await openTransaction();
  await connection.query(send);
  await killBackend(connection);
  assert.deepEqual(await stored(), []);
  const again = await dispatch(project().sql, { payload: { n: 1 }, idempotency_key: "k" });
  assert.equal(again.duplicate, false);
  assert.deepEqual(await stored(), [again.id]);
});

test("backend killed · during a settle: the worker keeps the message, and the repeated outcome counts", async () => {
  const { id, fence } = await dispatchAndClaim(project().sql);
  const result = [{ id, fence, outcome: "completed" }];
  const connection = await openTransaction();
  const [{ outcome }] = await connection.query<{ outcome: string }>(
    "select outcome from messenger_settle($1::text::jsonb)",
    [JSON.stringify(result)],
  );
  assert.equal(outcome, "completed");
  await killBackend(connection);
  const row = await messageOf(project().sql, id);
  assert.deepEqual([row.status, row.fence, row.locked_by], ["processing", "1", "ada"]);
  assert.equal((await settle(project().sql, result))[0].outcome, "completed");
});

test("backend killed · during a claim: the message is due as before", async () => {
  const { id } = await dispatch(project().sql);
  const connection = await openTransaction();
  assert.equal((await connection.query("select id from messenger_claim('ada')")).length, 1);
  await killBackend(connection);
  const [row] = await claim(project().sql, { worker: "bob" });
  assert.deepEqual([row.id, row.fence, row.retry_count, row.solo], [id, "1", 0, false]);
});

test("backend killed · pg_terminate_backend ends one session, a dispatch waiting for its key is stored", async () => {
  const { sql } = project();
  const first = await openTransaction();
  const second = await openTransaction();
  await first.query(send);
  const waiting = second.query<{ id: string; duplicate: boolean }>(send);
  await eventually("the second waits", async () => {
    const [{ blocked }] = await sql`select cardinality(pg_blocking_pids(${second.pid})) > 0 as blocked`;
    return blocked;
  });
  await sql`select pg_terminate_backend(${first.pid})`;
  const [{ id, duplicate }] = await waiting;
  await second.query("commit");
  assert.equal(duplicate, false);
  assert.deepEqual(await stored(), [id]);
  await Promise.all([first.close(), second.close()]);
});

test("backend killed · kill -9 of the postmaster: committed messages and leases are restored, no others", async () => {
  const { id, fence } = await dispatchAndClaim(project().sql);
  const kept = await dispatch(project().sql);
  const connection = await openTransaction();
  await connection.query(send);
  const { databasePid } = project();
  assert.ok(databasePid);
  Deno.kill(databasePid, "SIGKILL");
  await eventually("it is gone", () => project().databasePid === undefined);
  await connection.close();
  await project().startDatabase();
  await respondsAgain();
  assert.deepEqual((await stored()).toSorted(), [id, kept.id].toSorted());
  assert.equal((await settle(project().sql, [{ id, fence, outcome: "completed" }]))[0].outcome, "completed");
  assert.equal((await claim(project().sql))[0].id, kept.id);
});
