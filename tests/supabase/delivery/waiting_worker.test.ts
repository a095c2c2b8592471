// A worker that waits in the database through the API: a message reaches it at once, and its end loses none.
import assert from "node:assert/strict";
import { z } from "zod";
import { systemClock } from "../../../shared/clock.ts";
import { connect } from "../../../shared/db.ts";
import { createLog } from "../../../shared/log.ts";
import { createRegistry, defineMessage } from "../../../shared/message.ts";
import { supabaseReceiver } from "../../../shared/transports/supabase.ts";
import { createConsumer } from "../../../shared/worker/consume.ts";
import { eventually } from "../../eventually.ts";
import { empty, test, useProject } from "../../project.ts";
import { callValue, dispatch, messageOf } from "../bus.ts";

const project = useProject({ isolation: "read committed" });
Deno.test.beforeEach(() => empty(project().sql));

/** A worker of `Greeting` that lingers for a minute. */
function startWorker(handled: (id: string) => void) {
  const greeting = defineMessage({
    type: "Greeting",
    payload: z.object({}),
    handle: (_, { envelope }) => handled(envelope.id),
  });
  const db = connect({ url: project().url, key: project().secretKey });
  const registry = createRegistry([greeting]);
  const receiver = supabaseReceiver(db);
  const log = createLog({}, () => {});
  const consumer = createConsumer({ registry, db, log, clock: systemClock, receiver, worker: "edge" });
  const limits = {
    batchSize: 10,
    maxConcurrency: 10,
    pollInterval: 50,
    linger: 60_000,
    timeLimit: 120_000,
    runLimit: 60_000,
    messageLimit: Infinity,
  };
  const { done } = consumer.wake(limits);
  return { done, stop: () => consumer.stop() };
}

/** Waits until a poll waits in the database: it holds a slot. */
const untilWaiting = () =>
  eventually("a poll waits in the database", async () => {
    const free = await project().sql`select from messenger.poll_slots for update skip locked`;
    return free.length === 1;
  });

test("waiting worker · handles a message that is dispatched during its wait", async () => {
  const { sql } = project();
  const { promise: handled, resolve } = Promise.withResolvers<string>();
  const { done, stop } = startWorker(resolve);
  try {
    await untilWaiting();
    const { workers } = await callValue(sql, "messenger_list_workers");
    assert.deepEqual(workers.map(({ worker, awake }: Record<string, unknown>) => [worker, awake]), [["edge", true]]);
    const { id } = await dispatch(sql);
    assert.equal(await handled, id);
    await eventually("it is completed", async () => (await messageOf(sql, id)).status === "completed");
    await untilWaiting();
  } finally {
    stop();
    await done;
  }
});

test("waiting worker · a message dispatched after its end was announced stays or is released", async () => {
  const { sql } = project();
  const { done, stop } = startWorker(() => assert.fail("handled after the end"));
  await untilWaiting();
  stop();
  const { id } = await dispatch(sql);
  const { claimed, released } = await done;
  assert.equal(claimed, released);
  const { status, retry_count, locked_by } = await messageOf(sql, id);
  assert.deepEqual([status, retry_count, locked_by], ["pending", 0, null]);
});
