// The client: typed sends, which share calls while another call is in flight.
import assert from "node:assert/strict";
import { z } from "zod";
import { createSymphony } from "../../shared/client.ts";
import type { Args, Database, Returns } from "../../shared/db.ts";
import { SymphonyError } from "../../shared/errors.ts";
import { defineMessage } from "../../shared/message.ts";
import type { NewMessage } from "../../shared/sender.ts";
import { noDatabase } from "./worker/test_runtime.ts";

type Rows = Returns<"messenger_dispatch_batch">;

const note = defineMessage({ type: "Note", payload: z.object({ text: z.string() }), handle: () => {} });

/** A database whose messenger_dispatch_batch returns on request. */
function lineOf(reply: (messages: NewMessage[], call: number) => Promise<Rows> | Rows) {
  const calls: { messages: NewMessage[]; atomic?: boolean }[] = [];
  const db = {
    ...noDatabase,
    async call(name: string, args: unknown) {
      assert.equal(name, "messenger_dispatch_batch");
      const { messages, atomic } = args as Args<"messenger_dispatch_batch">; // the name was asserted
      calls.push({ messages: messages as NewMessage[], atomic }); // built by our own sender
      return await reply(messages as NewMessage[], calls.length);
    },
  } as Database; // the only function that the client calls
  return { symphony: createSymphony(db), calls };
}

function stored(messages: NewMessage[]): Rows {
  return messages.map(({ payload }, index) => ({
    ord: index + 1,
    id: `id-of-${payload.text}`,
    duplicate: false,
    status: "pending",
    transport: "supabase",
    queue: "default",
    available_at: "2030-01-01T00:00:00Z",
    error_code: "",
    error: "",
  }));
}

Deno.test("client · a message is sent at once, during a call together with those that arrive meanwhile", async () => {
  const first = Promise.withResolvers<void>();
  const { symphony, calls } = lineOf(async (messages, call) => {
    if (call === 1) await first.promise;
    return stored(messages);
  });
  const sends = ["a", "b", "c", "d"].map((text) => symphony.dispatch(note, { text }));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(calls.length, 1);
  first.resolve();
  const ids = (await Promise.all(sends)).map(({ id }) => id);
  assert.deepEqual(ids, ["id-of-a", "id-of-b", "id-of-c", "id-of-d"]);
  assert.deepEqual(calls.map(({ messages }) => messages.length), [1, 3]);
  assert.ok(calls.every(({ atomic }) => atomic === false));
});

Deno.test("client · results in another order are returned to their own callers", async () => {
  const { symphony } = lineOf((messages) => stored(messages).reverse());
  const sent = await Promise.all(["x", "y", "z"].map((text) => symphony.dispatch(note, { text })));
  assert.deepEqual(sent.map(({ id }) => id), ["id-of-x", "id-of-y", "id-of-z"]);
});

Deno.test("client · a rejected element fails its own caller only", async () => {
  const { symphony } = lineOf((messages) =>
    stored(messages).map((row, index) =>
      messages[index].payload.text === "bad" ? { ...row, error_code: "SM_PRIORITY", error: "no" } : row
    )
  );
  const settled = await Promise.allSettled(["good", "bad", "fine"].map((text) => symphony.dispatch(note, { text })));
  assert.deepEqual(settled.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
  const [, rejected] = settled;
  assert.ok(
    rejected.status === "rejected" && rejected.reason instanceof SymphonyError &&
      rejected.reason.code === "SM_PRIORITY",
  );
});

Deno.test("client · if the database is unavailable every caller receives the error, nothing is repeated", async () => {
  const { symphony, calls } = lineOf(() => Promise.reject(new SymphonyError("SM_UNAVAILABLE", "away")));
  const settled = await Promise.allSettled(["a", "b", "c"].map((text) => symphony.dispatch(note, { text })));
  assert.ok(settled.every((one) => one.status === "rejected" && one.reason.code === "SM_UNAVAILABLE"));
  assert.equal(calls.reduce((sum, { messages }) => sum + messages.length, 0), 3);
});

Deno.test("client · a call that is rejected as a whole is split, so that other messages are not affected", async () => {
  const { symphony } = lineOf((messages) => {
    if (messages.some(({ payload }) => payload.text === "poison")) throw new SymphonyError("SM_JSON", "no");
    return stored(messages);
  });
  const settled = await Promise.allSettled(
    ["first", "good", "poison", "fine"].map((text) => symphony.dispatch(note, { text })),
  );
  assert.deepEqual(settled.map(({ status }) => status), ["fulfilled", "fulfilled", "rejected", "fulfilled"]);
});

Deno.test("client · a call carries at most 1000 messages and about 4 MB", async () => {
  const { symphony, calls } = lineOf(stored);
  await Promise.all(Array.from({ length: 2_500 }, (_, n) => symphony.dispatch(note, { text: String(n) })));
  assert.ok(Math.max(...calls.map(({ messages }) => messages.length)) <= 1_000);
  calls.length = 0;
  await Promise.all(Array.from({ length: 40 }, () => symphony.dispatch(note, { text: "x".repeat(250_000) })));
  assert.ok(Math.max(...calls.map(({ messages }) => JSON.stringify(messages).length)) < 4.5e6);
});

Deno.test("client · a payload that does not fit its schema is rejected before it is sent, with its path", async () => {
  const { symphony, calls } = lineOf(stored);
  const wrong = { text: 5 } as unknown as { text: string }; // a value that plain JavaScript could pass
  await assert.rejects(
    symphony.dispatch(note, wrong),
    (error) => error instanceof SymphonyError && error.code === "SM_PAYLOAD" && /text/.test(error.message),
  );
  await assert.rejects(symphony.dispatch(note, { text: "\0" }), { code: "SM_NUL" });
  await assert.rejects(symphony.dispatch(note, { text: "x".repeat(300_000) }), { code: "SM_PAYLOAD_TOO_LARGE" });
  assert.equal(calls.length, 0);
});

Deno.test("client · an option that Postgres could not read is rejected before it is sent, by name", async () => {
  const { symphony, calls } = lineOf(stored);
  const options: [options: Record<string, unknown>, code: string, sentence: RegExp][] = [
    [{ headers: { a: { b: "\0" } } }, "SM_NUL", /^options\.headers\.a\.b contains the NUL/],
    [{ idempotencyKey: "\ud800" }, "SM_JSON", /^options\.idempotencyKey contains half of a surrogate pair/],
    [{ scheduledAt: "tomorrow" }, "SM_AVAILABLE_AT", /^options\.scheduledAt must be an ISO 8601 date/],
    [{ delay: 1.5 }, "SM_DELAY", /^options\.delay must be a whole number/],
    [{ delay: 1e15 }, "SM_DELAY", /^options\.delay must be at most/],
    [{ metadata: () => {}, priority: "high" }, "SM_PRIORITY", /^options\.priority must be a number/],
    [{ prio: 5 }, "SM_UNKNOWN_FIELD", /options\.prio/],
    [{ metadata: { n: 1n } }, "SM_JSON", /^The dispatch cannot be written as JSON/],
  ];
  for (const [wrong, code, message] of options) {
    await assert.rejects(symphony.dispatch(note, { text: "a" }, wrong as never), { code, message }); // plain JavaScript
  }
  await symphony.dispatch(note, { text: "a" }, {
    scheduledAt: new Date(0) as never,
    metadata: { at: new Date(0) } as never,
  });
  const [{ available_at, metadata }] = calls.flatMap(({ messages }) => messages);
  assert.deepEqual([available_at, metadata], ["1970-01-01T00:00:00.000Z", { at: "1970-01-01T00:00:00.000Z" }]);
  for (const act of ["pauseSchedule", "resumeSchedule", "unschedule"] as const) {
    await assert.rejects(symphony[act]("a\0"), { code: "SM_NUL", message: /^name contains the NUL/ });
    await assert.rejects(symphony[act](5 as never), { code: "SM_SCHEDULE", message: /^name must be a string/ });
  }
  await assert.rejects(symphony.preview({ interval: 60_000 }, { from: "now" }), {
    code: "SM_SCHEDULE",
    message: /^from must/,
  });
  await assert.rejects(symphony.schedule(note, { interval: 60_000, name: "a\0" }), {
    code: "SM_NUL",
    message: /^name/,
  });
});

Deno.test("client · options have their SQL names in the call, and milliseconds are intervals", async () => {
  const { symphony, calls } = lineOf(stored);
  await symphony.dispatch(note, { text: "a" }, {
    delay: 1_500,
    idempotencyKey: "k",
    idempotencyWindow: 60_000,
    maxRetries: 0,
    priority: 9,
  });
  const sent = Object.fromEntries(Object.entries(calls[0].messages[0]).filter(([, value]) => value !== undefined));
  assert.deepEqual(sent, {
    type: "Note",
    payload: { text: "a" },
    delay: "1500 milliseconds",
    idempotency_key: "k",
    idempotency_window: "60000 milliseconds",
    max_retries: 0,
    priority: 9,
  });
});

Deno.test("client · a batch is atomic in the database by default", async () => {
  const { symphony, calls } = lineOf(stored);
  const dispatches = [{ messageType: note, payload: { text: "a" } }];
  await symphony.dispatchBatch(dispatches);
  await symphony.dispatchBatch(dispatches, { atomic: true });
  await symphony.dispatchBatch(dispatches, { atomic: false });
  assert.deepEqual(calls.map(({ atomic }) => atomic), [true, true, false]);
});

Deno.test("client · an atomic batch is rejected as a whole with the index, any other in part", async () => {
  const { symphony, calls } = lineOf(stored);
  const dispatches = ["a", "x".repeat(300_000), "c"].map((text) => ({ messageType: note, payload: { text } }));
  await assert.rejects(
    symphony.dispatchBatch(dispatches),
    (error) => error instanceof SymphonyError && /^message 2: /.test(error.message),
  );
  assert.equal(calls.length, 0);
  const results = await symphony.dispatchBatch(dispatches, { atomic: false });
  assert.deepEqual(calls.map(({ messages, atomic }) => [messages.length, atomic]), [[2, false]]);
  assert.deepEqual(results.map((result) => result instanceof SymphonyError ? result.code : result.id), [
    "id-of-a",
    "SM_PAYLOAD_TOO_LARGE",
    "id-of-c",
  ]);
});
