// Middleware: its order, its possible changes, and tracing, which is a middleware.
import assert from "node:assert/strict";
import { z } from "zod";
import { execute } from "../../shared/worker/execute.ts";
import { defineMessage, type HandlerContext } from "../../shared/message.ts";
import type { Middleware } from "../../shared/middleware.ts";
import { MemoryReceiver } from "./worker/memory_receiver.ts";
import { testHandlerRuntime } from "./worker/test_runtime.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = `00-${TRACE}-00f067aa0ba902b7-00`;

/** Runs one delivery; returns its outcome and its log lines. */
async function deliver(
  handle: (ctx: HandlerContext) => unknown,
  { headers = {}, middleware = [] }: { headers?: Record<string, string>; middleware?: Middleware[] } = {},
) {
  const type = defineMessage({ type: "Test", payload: z.object({}), handle: (_payload, ctx) => handle(ctx) });
  const runtime = testHandlerRuntime([type]);
  const delivery = new MemoryReceiver().add("Test", {}, { headers });
  const { result } = execute(delivery, { ...runtime, middleware }, () => {});
  return { outcome: await runtime.clock.until(result), lines: runtime.lines.map((line) => JSON.parse(line)) };
}

Deno.test("middleware · the first is the outermost, and each receives the outcome of the inner ones", async () => {
  const steps: string[] = [];
  const step = (name: string): Middleware => async (_ctx, next) => {
    steps.push(`${name} before`);
    const outcome = await next();
    assert.ok(outcome?.outcome === "completed");
    steps.push(`${name} sees ${outcome.result}`);
    return { ...outcome, result: name };
  };
  const { outcome } = await deliver(() => "handler", { middleware: [step("outer"), step("inner")] });
  assert.deepEqual(steps, ["outer before", "inner before", "inner sees handler", "outer sees inner"]);
  assert.ok(outcome?.outcome === "completed" && outcome.result === "outer");
});

Deno.test("middleware · may change the context before the handler receives it", async () => {
  const { lines } = await deliver(({ log }) => log.info("from the handler"), {
    middleware: [(ctx, next) => {
      ctx.log = ctx.log.with({ tenant: "acme" });
      return next();
    }],
  });
  assert.deepEqual(lines.map(({ message, tenant }) => [message, tenant]), [["from the handler", "acme"], [
    "handled",
    "acme",
  ]]);
});

Deno.test("middleware · may return an outcome without the handler", async () => {
  let ran = false;
  const { outcome } = await deliver(() => ran = true, {
    middleware: [({ envelope: { id }, fence }) => Promise.resolve({ id, fence, outcome: "snoozed", delay_ms: 5 })],
  });
  assert.deepEqual([outcome?.outcome, ran], ["snoozed", false]);
});

Deno.test("tracing · a delivery is a child span of the message's traceparent, in logs and context", async () => {
  let traceparent = "";
  const { lines } = await deliver((ctx) => {
    traceparent = ctx.traceparent;
    ctx.log.info("from the handler");
  }, { headers: { traceparent: PARENT } });
  const [, span] = traceparent.match(new RegExp(`^00-${TRACE}-([0-9a-f]{16})-00$`)) ?? assert.fail(traceparent);
  assert.notEqual(span, "00f067aa0ba902b7");
  assert.deepEqual(lines.map(({ message, trace_id, span_id }) => [message, trace_id, span_id]), [
    ["from the handler", TRACE, span],
    ["handled", TRACE, span],
  ]);
});

Deno.test("tracing · without a valid parent a trace starts; each delivery has its own span", async () => {
  const seen = new Set<string>();
  const headers: Record<string, string>[] = [
    {},
    { traceparent: "garbled" },
    { traceparent: PARENT.toUpperCase() },
    { traceparent: PARENT.replace("00-", "ff-") },
    { traceparent: PARENT.replace(TRACE, "0".repeat(32)) },
    { traceparent: PARENT.replace("00f067aa0ba902b7", "0".repeat(16)) },
  ];
  for (const given of headers) {
    await deliver(({ traceparent }) => {
      assert.match(traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
      assert.ok(!traceparent.includes(TRACE));
      seen.add(traceparent);
    }, { headers: given });
  }
  assert.equal(seen.size, headers.length);
});
