// The sync transport when a claim or a settlement fails. The message is stored, so workers can handle it.
import assert from "node:assert/strict";
import { z } from "zod";
import { SymphonyError } from "../../../shared/errors.ts";
import { defineMessage } from "../../../shared/message.ts";
import type { Delivery, Settled } from "../../../shared/delivery.ts";
import type { NewMessage, Sent } from "../../../shared/sender.ts";
import { syncSender } from "../../../shared/transports/sync.ts";
import { MemoryReceiver } from "../worker/memory_receiver.ts";
import { scriptedDatabase, testHandlerRuntime } from "../worker/test_runtime.ts";

const away = () => new SymphonyError("SM_UNAVAILABLE", "away");
const STORED: Sent = {
  id: "message-1",
  duplicate: false,
  status: "pending",
  transport: "sync",
  queue: "q",
  available_at: "",
};

interface Scene {
  /** The claim of the stored message (default: it succeeds). */
  claim?: () => Delivery[];
  /** The settlements in turn: an error to throw, or the result to report. */
  settlements?: (Error | string)[];
  handle?: () => unknown;
}

/** Sends one message of a type that the transport runs itself. */
async function send({ claim, settlements = ["completed"], handle = () => ({ ok: true }) }: Scene) {
  const type = defineMessage({ type: "Note", payload: z.object({}), timeout: 45_000, handle });
  const runtime = testHandlerRuntime([type]);
  const receiver = new MemoryReceiver();
  const delivery = receiver.add("Note");
  const { db, calls } = scriptedDatabase(claim ?? (() => [delivery]));
  const settled: string[] = [];
  receiver.settle = async ([{ id, outcome }]): Promise<Settled[]> => {
    settled.push(outcome);
    const reply = settlements[settled.length - 1];
    if (reply instanceof Error) throw reply;
    return await Promise.resolve([{ id, outcome: reply, available_at: "2030-01-01T00:00:00Z" }]);
  };
  const held: NewMessage[] = [];
  const store = {
    send: (messages: NewMessage[]) => {
      held.push(...messages);
      return Promise.resolve([{ ...STORED }]);
    },
  };
  const sender = syncSender(store, { ...runtime, db, receiver, worker: "inline" });
  const [sent] = await runtime.clock.until(sender.send([{ type: "Note", payload: {} }], true));
  if (sent instanceof SymphonyError) throw sent;
  return { sent, held, calls, settled };
}

Deno.test("sync transport · workers do not claim the message for 30 s; the lease outlasts the timeout", async () => {
  const { held, calls } = await send({});
  assert.equal(held[0].delay, "30000 milliseconds");
  assert.deepEqual(calls, [{
    name: "messenger_claim_one",
    args: { id: "message-1", worker: "inline", lease: "75000 milliseconds" },
  }]);
});

Deno.test("sync transport · a claim that fails, or finds the message claimed, leaves it to the workers", async () => {
  const failing = () => {
    throw away();
  };
  for (const claim of [failing, () => []]) {
    const { sent, settled } = await send({ claim });
    assert.deepEqual([sent, settled], [STORED, []]);
  }
});

Deno.test("sync transport · a settlement whose reply is lost is repeated, and 'already' is a success", async () => {
  const completed = await send({ settlements: [away(), away(), "already"] });
  assert.deepEqual([completed.sent.status, completed.sent.result], ["completed", { ok: true }]);
  assert.equal(completed.settled.length, 3);
});

Deno.test("sync transport · a settlement that fails four times leaves the message until its lease ends", async () => {
  const { sent, settled } = await send({ settlements: [away(), away(), away(), away(), "completed"] });
  assert.deepEqual([sent.status, "result" in sent, settled.length], ["processing", false, 4]);
});

Deno.test("sync transport · a failed handler is reported as the database decided: retried or dead", async () => {
  const handle = () => Promise.reject(new Error("no"));
  const retried = await send({ handle, settlements: ["retry"] });
  assert.deepEqual([retried.sent.status, retried.sent.available_at], ["pending", "2030-01-01T00:00:00Z"]);
  const dead = await send({ handle, settlements: ["dead"] });
  assert.deepEqual([dead.sent.status, "result" in dead.sent], ["failed", false]);
});
