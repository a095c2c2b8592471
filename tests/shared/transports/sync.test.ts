// The sync transport: messages that it does not run itself are stored like any other; the others run in the call.
import assert from "node:assert/strict";
import { z } from "zod";
import { systemClock } from "../../../shared/clock.ts";
import { SymphonyError } from "../../../shared/errors.ts";
import { createLog } from "../../../shared/log.ts";
import { createRegistry, defineMessage, type Envelope } from "../../../shared/message.ts";
import type { NewMessage, Sent } from "../../../shared/sender.ts";
import { supabaseSender } from "../../../shared/transports/supabase.ts";
import { syncSender } from "../../../shared/transports/sync.ts";
import { test, useProject } from "../../project.ts";
import { exerciseTransport } from "./conformance.ts";
import { openDatabase } from "./database_transport.ts";

const project = useProject({ testClock: true });
const handled: Envelope[] = [];

const inline = defineMessage({
  type: "InlineNote",
  payload: z.object({ fail: z.boolean().optional() }).loose(),
  handle({ fail }, { envelope }) {
    handled.push(envelope);
    if (fail) throw new Error("on request");
    return { handled: true };
  },
});

function open() {
  const { db, shared } = openDatabase(project());
  const options = {
    registry: createRegistry([inline]),
    db,
    log: createLog({}, () => {}),
    clock: systemClock,
    receiver: shared.receiver,
    worker: "inline",
  };
  return { name: "sync", sender: syncSender(supabaseSender(db), options), ...shared };
}

exerciseTransport("sync transport", open);

async function send(message: Partial<NewMessage>): Promise<Sent> {
  const [sent] = await open().sender.send([{ type: "InlineNote", payload: {}, transport: "sync", ...message }], true);
  return sent instanceof SymphonyError ? assert.fail(sent) : sent;
}

const timesHandled = (id: string) => handled.filter((envelope) => envelope.id === id).length;
const rowOf = async (id: string) => (await project().sql`select * from messenger_messages where id = ${id}`)[0];

test("sync transport · a type with a handler is handled inside the call that sends it", async () => {
  const sent = await send({ payload: { a: 1 }, headers: { b: "2" }, priority: 8 });
  assert.deepEqual([sent.status, sent.result, timesHandled(sent.id)], ["completed", { handled: true }, 1]);
  const envelope = handled.find(({ id }) => id === sent.id);
  assert.deepEqual([envelope?.headers, envelope?.priority, envelope?.retryCount], [{ b: "2" }, 8, 0]);
  const row = await rowOf(sent.id);
  assert.deepEqual([row.status, row.result, row.fence], ["completed", { handled: true }, "1"]);
});

test("sync transport · a duplicate returns the first message, without another run", async () => {
  const message = { idempotency_key: crypto.randomUUID() };
  const [first, second] = [await send(message), await send(message)];
  assert.deepEqual([second.id, second.duplicate, second.status], [first.id, true, "completed"]);
  assert.equal(timesHandled(first.id), 1);
});

test("sync transport · a duplicate of a message that waits for its retry is not handled early", async () => {
  const message = { payload: { fail: true }, idempotency_key: crypto.randomUUID() };
  const [first, second] = [await send(message), await send(message)];
  assert.deepEqual([second.id, second.duplicate, second.status], [first.id, true, "pending"]);
  assert.equal(timesHandled(first.id), 1);
  await project().sql`delete from messenger_messages where id = ${first.id}`;
});

test("sync transport · no worker receives a message while it runs here; if it fails, one does", async () => {
  const { receiver, pass } = open();
  const sent = await send({ payload: { fail: true } });
  assert.deepEqual([sent.status, "result" in sent], ["pending", false]);
  const request = { worker: "w", batch: 10, lease: 60_000, types: ["InlineNote"] };
  await pass(10_000);
  const { claimed } = await receiver.exchange([], request);
  assert.deepEqual(claimed.map(({ id, retry_count }) => [id, retry_count]), [[sent.id, 1]]);
});

test("sync transport · delayed, ordered and expiring messages are only stored", async () => {
  const later = [{ delay: "1 hour" }, { available_at: "2100-01-01T00:00:00Z" }, { expires_at: "2100-01-01T00:00:00Z" }];
  for (const message of later) {
    const sent = await send(message);
    assert.deepEqual([sent.status, timesHandled(sent.id)], ["pending", 0], JSON.stringify(message));
  }
});
