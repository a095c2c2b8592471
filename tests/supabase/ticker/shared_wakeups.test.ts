// Wake-ups that transactions share: one sends it, the others continue. Nothing sends requests here, so they are counted
// in pg_net's queue.
import assert from "node:assert/strict";
import { empty, session, test, useProject } from "../../project.ts";
import { call, dispatch } from "../bus.ts";
import { limitLockWaits } from "../until_blocked.ts";

const project = useProject();

Deno.test.beforeAll(() => limitLockWaits(project().sql));
Deno.test.beforeEach(async () => {
  const { sql } = project();
  await empty(sql);
  await sql`delete from net.http_request_queue`;
  await call(sql, "messenger_start", { functions_url: "https://example.test/functions/v1" });
  await call(sql, "messenger_stop");
});

const sent = async () => (await project().sql`select from net.http_request_queue`).length;

/** The tick creates the rows by which transactions share a wake-up when it first wakes a worker for a queue. */
const wokenBefore = (...queues: string[]) =>
  project()
    .sql`select messenger.make_wakeup_locks(array_fill('supabase'::text, array[${queues.length}::int]), ${queues},
      messenger.now())`;

test("wake-up · while another transaction sends one for the queue, a dispatch sends none", async () => {
  await using first = session(project());
  const { sql } = project();
  await wokenBefore("default", "another");
  await first`begin`;
  await dispatch(first);
  await dispatch(sql);
  assert.equal(await sent(), 0);
  await dispatch(sql, { queue: "another" });
  assert.equal(await sent(), 1);
  await first`commit`;
  assert.equal(await sent(), 2);
});

test("wake-up · for a queue without a wake-up by a tick, each transaction sends its own and none waits", async () => {
  await using first = session(project());
  const { sql } = project();
  await first`begin`;
  await dispatch(first);
  await dispatch(sql);
  assert.equal(await sent(), 1);
  await first`commit`;
  assert.equal(await sent(), 2);
});

test("wake-up · a lock that any role can take blocks no wake-up", async () => {
  await using anybody = session(project());
  const { sql } = project();
  await wokenBefore("default");
  await anybody`begin`;
  await anybody`set local role anon`;
  await anybody`select pg_advisory_xact_lock(hashtextextended('messenger.wake_worker/supabase/default', 0))`;
  await dispatch(sql);
  assert.equal(await sent(), 1);
  await anybody`rollback`;
});
