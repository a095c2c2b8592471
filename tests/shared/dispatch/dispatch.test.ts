// The dispatcher: the order of its calls, the defaults and headers it adds, the batches it rejects. The database is a
// script.
import assert from "node:assert/strict";
import { z } from "zod";
import { createDispatcher, type DispatcherOptions } from "../../../shared/dispatch/dispatch.ts";
import { SymphonyError } from "../../../shared/errors.ts";
import { defineMessage } from "../../../shared/message.ts";
import { MemoryReceiver } from "../worker/memory_receiver.ts";
import { scriptedDatabase, testHandlerRuntime } from "../worker/test_runtime.ts";

const note = defineMessage({ type: "Note", payload: z.object({}).loose(), handle: () => {} });
const NO_DEFAULTS = { transport: undefined, queue: undefined, priority: undefined, maxRetries: undefined };

/** A dispatcher with code for the type Note, and three transports; the type of pigeon is not configured. */
function dispatching({ defaults = NO_DEFAULTS, ready = () => Promise.resolve() }: Partial<DispatcherOptions> = {}) {
  const { db, calls } = scriptedDatabase((_name, { messages }) =>
    (messages as unknown[]).map((_, index) => ({ ord: index + 1, id: `id-${index + 1}`, error_code: "" }))
  );
  const types = new Map([["supabase", "supabase"], ["sync", "sync"], ["pigeon", "sqs"]]);
  const dispatcher = createDispatcher({
    ...testHandlerRuntime([note]),
    db,
    defaults,
    ready,
    receiver: new MemoryReceiver(),
    worker: "test",
    transportTypes: { typeOf: (name) => Promise.resolve(types.get(name)) },
  });
  const stored = () => calls.flatMap(({ args }) => args.messages as Record<string, unknown>[]);
  return { dispatcher, calls, stored };
}

const request = (type: string, options = {}) => ({ message: { type, payload: {} }, options });

Deno.test("dispatch · nothing is stored before the message types are registered", async () => {
  const registered = Promise.withResolvers<void>();
  const { dispatcher, calls } = dispatching({ ready: () => registered.promise });
  const sent = dispatcher.dispatch(request("Note"), {});
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(calls.length, 0);
  registered.resolve();
  assert.equal((await sent).id, "id-1");
  assert.equal(calls.length, 1);
});

Deno.test("dispatch · a registration that fails stores nothing", async () => {
  const { dispatcher, calls } = dispatching({
    ready: () => Promise.reject(new SymphonyError("SM_UNAVAILABLE", "away")),
  });
  await assert.rejects(dispatcher.dispatch(request("Note"), {}), { code: "SM_UNAVAILABLE" });
  assert.equal(calls.length, 0);
});

Deno.test("dispatch · types without code get the environment's defaults for omitted options", async () => {
  const defaults = { transport: "supabase", queue: "letters", priority: 7, maxRetries: 2 };
  const { dispatcher, stored } = dispatching({ defaults });
  const given = { transport: "supabase", queue: "own", priority: 1, maxRetries: 0 };
  for (const [type, options] of [["Other", {}], ["Other", given], ["Note", {}]] as const) {
    await dispatcher.dispatch(request(type, options), {});
  }
  const routes = stored().map((
    { transport, queue, priority, max_retries },
  ) => [transport, queue, priority, max_retries]);
  assert.deepEqual(routes, [
    ["supabase", "letters", 7, 2],
    ["supabase", "own", 1, 0],
    [undefined, undefined, undefined, undefined], // the type's own route is in the database
  ]);
});

Deno.test("dispatch · headers of the request take precedence over those of the call", async () => {
  const { dispatcher, stored } = dispatching();
  const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  await dispatcher.dispatch(request("Note"), { traceparent });
  await dispatcher.dispatch(request("Note", { headers: { traceparent: "own", a: 1 } }), { traceparent });
  assert.deepEqual(stored().map(({ headers }) => headers), [{ traceparent }, { traceparent: "own", a: 1 }]);
});

Deno.test("dispatch · an atomic batch over two types of transport is rejected, any other is sent to both", async () => {
  const messages = ["supabase", "sync"].map((transport) => request("Other", { transport }));
  const { dispatcher, calls } = dispatching();
  await assert.rejects(dispatcher.dispatchBatch(messages, true, {}), {
    code: "SM_TRANSPORT",
    hint: /set atomic to false/,
  });
  assert.equal(calls.length, 0);
  await dispatcher.dispatchBatch(messages, false, {});
  assert.deepEqual(calls.map(({ args }) => [(args.messages as unknown[]).length, args.atomic]), [[1, false], [
    1,
    false,
  ]]);
});

Deno.test("dispatch · an unconfigured type of transport is rejected, the database checks unknown names", async () => {
  const { dispatcher, stored } = dispatching();
  await assert.rejects(dispatcher.dispatch(request("Note", { transport: "pigeon" }), {}), {
    code: "SM_TRANSPORT",
    message: "The transport pigeon has the type sqs, which is not configured here.",
  });
  assert.equal(stored().length, 0);
  await dispatcher.dispatch(request("Note", { transport: "unknown" }), {});
  assert.deepEqual(stored().map(({ transport }) => transport), ["unknown"]);
});
