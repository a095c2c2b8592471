// One delivery: how what a handler does becomes an outcome.
import assert from "node:assert/strict";
import { z } from "zod";
import { fromPostgrest } from "../../../shared/database_error.ts";
import { CancelRequested, RetryAfter, Snooze, StaleLease, Unrecoverable } from "../../../shared/errors.ts";
import { execute } from "../../../shared/worker/execute.ts";
import { InvalidPayload as OwnInvalidPayload } from "../../../shared/worker/failure.ts";
import { defineMessage, type HandlerContext } from "../../../shared/message.ts";
import type { Outcome } from "../../../shared/delivery.ts";
import { MemoryReceiver } from "./memory_receiver.ts";
import { testHandlerRuntime } from "./test_runtime.ts";

type Failed = Extract<Outcome, { outcome: "failed" }>;
type Handle = (payload: { n: number }, ctx: HandlerContext) => unknown;

function start(handle: Handle, body: Record<string, unknown> = { n: 1 }, middleware = {}) {
  const test = defineMessage({ type: "Test", payload: z.object({ n: z.number() }), timeout: 1_000, handle });
  const runtime = { ...testHandlerRuntime([test]), ...middleware };
  const progress: unknown[] = [];
  const delivery = new MemoryReceiver().add("Test", body as never, { fence: 7, retry_count: 2 }); // any body a caller may have stored
  const execution = execute(delivery, runtime, (value) => progress.push(value));
  return { runtime, execution, progress, result: () => runtime.clock.until(execution.result) };
}

async function failure(handle: Handle, body?: Record<string, unknown>): Promise<Failed> {
  const outcome = await start(handle, body).result();
  assert.equal(outcome?.outcome, "failed");
  return outcome as Failed; // asserted in the line above
}

Deno.test("execute · what a handler returns is the result, and nothing is null", async () => {
  const { result } = start(({ n }) => ({ twice: n * 2 }));
  assert.deepEqual(await result(), {
    id: "message-1",
    fence: 7,
    outcome: "completed",
    result: { twice: 2 },
    duration_ms: 0,
  });
  const nothing = await start(() => {}).result();
  assert.ok(nothing?.outcome === "completed" && nothing.result === null);
});

Deno.test("execute · the handler sees its envelope, its fence and the parsed payload", async () => {
  const { result } = start(
    (payload, { envelope, fence }) => ({ payload, type: envelope.type, retryCount: envelope.retryCount, fence }),
    {
      n: 3,
      unknown: true,
    },
  );
  const outcome = await result();
  assert.ok(outcome?.outcome === "completed");
  assert.deepEqual(outcome.result, { payload: { n: 3 }, type: "Test", retryCount: 2, fence: 7 });
});

Deno.test("execute · a payload that no longer fits its type is never retried and never handled", async () => {
  let handled = false;
  const outcome = await failure(() => handled = true, { n: "three" });
  assert.equal(handled, false);
  assert.equal(outcome.retryable, false);
  assert.equal(outcome.error_class, "InvalidPayload");
  assert.match(outcome.error, /n: /);
});

Deno.test("execute · no error of a handler's own passes for a payload that does not fit", async () => {
  class InvalidPayload extends Unrecoverable {
    override readonly name = "InvalidPayload";
  }
  const named = Object.assign(new Error("mine"), { name: "InvalidPayload" });
  const errors: [thrown: unknown, retryable: boolean][] = [
    [named, true],
    [new InvalidPayload("mine"), false],
    [new OwnInvalidPayload("mine"), false],
    [Object.assign(new RetryAfter(5), { name: "InvalidPayload" }), true],
  ];
  for (const [thrown, retryable] of errors) {
    const outcome = await failure(() => Promise.reject(thrown));
    assert.deepEqual([outcome.error_class, outcome.retryable], ["HandlerInvalidPayload", retryable]);
    const broken = await start(() => 1, undefined, { middleware: [() => Promise.reject(thrown)] }).result();
    assert.ok(broken?.outcome === "failed" && broken.error_class === "HandlerInvalidPayload");
  }
  const invented = { id: "message-1", fence: 7, outcome: "failed", error: "mine", error_class: "InvalidPayload" };
  const middleware = [() => Promise.resolve({ ...invented, retryable: false })];
  const outcome = await start(() => 1, undefined, { middleware }).result();
  assert.ok(outcome?.outcome === "failed" && outcome.error_class === "HandlerInvalidPayload");
});

Deno.test("execute · middleware sees an invalid payload, and one that it retries has another class", async () => {
  const seen: unknown[] = [];
  const around = (change: Partial<Failed>) => async (_ctx: unknown, next: () => Promise<Outcome | null>) => {
    const outcome = await next();
    seen.push(outcome?.outcome === "failed" && outcome.error_class);
    return { ...outcome, ...change };
  };
  const resultWith = async (change: Partial<Failed>) => {
    const outcome = await start(() => 1, { n: "three" }, { middleware: [around(change)] }).result();
    return outcome?.outcome === "failed" && [outcome.error_class, outcome.retryable];
  };
  assert.deepEqual(await resultWith({}), ["InvalidPayload", false]);
  assert.deepEqual(await resultWith({ retryable: true }), ["HandlerInvalidPayload", true]);
  assert.deepEqual(seen, ["InvalidPayload", "InvalidPayload"]);
});

Deno.test("execute · the envelope says who sent the message, and metadata cannot", async () => {
  const senderOf = async (headers: Record<string, string>) => {
    const test = defineMessage({ type: "Test", payload: z.object({}), handle: (_, { envelope }) => envelope.sender });
    const metadata = { "x-symphony-user": "somebody", sender: { kind: "user", id: "somebody" } };
    const runtime = testHandlerRuntime([test]);
    const delivery = new MemoryReceiver().add("Test", {}, { headers, metadata });
    const outcome = await runtime.clock.until(execute(delivery, runtime, () => {}).result);
    return outcome?.outcome === "completed" && outcome.result;
  };
  const ada = crypto.randomUUID();
  assert.deepEqual(await senderOf({}), { kind: "service" });
  assert.deepEqual(await senderOf({ "x-symphony-user": ada, traceparent: "t" }), { kind: "user", id: ada });
});

Deno.test("execute · a thrown error is a retry, with its class and its trace", async () => {
  const outcome = await failure(() => {
    throw new RangeError("too far");
  });
  assert.deepEqual([outcome.error, outcome.error_class, outcome.retryable, outcome.delay_ms], [
    "too far",
    "RangeError",
    true,
    undefined,
  ]);
  assert.match(outcome.error_trace ?? "", /execute\.test\.ts/);
});

Deno.test("execute · the trace of an error tells its causes, even if they go round in a circle", async () => {
  const outcome = await failure(() => {
    const inner = new Error("no such host, Bearer abc.def");
    const outer = new TypeError("fetch failed", { cause: new Error("refused", { cause: inner }) });
    inner.cause = outer;
    throw outer;
  });
  assert.equal(outcome.error, "fetch failed");
  const causes = (outcome.error_trace ?? "").split("\nCaused by: ").map((stack) => stack.split("\n")[0]);
  assert.deepEqual(causes.slice(0, 3), [
    "TypeError: fetch failed",
    "Error: refused",
    "Error: no such host, Bearer [redacted]",
  ]);
  assert.equal(causes.length, 6);
});

Deno.test("execute · the trace of a rejected call has the database's own code and sentence", async () => {
  const rejected = {
    code: "23503",
    message: "violates foreign key constraint, Bearer abc.def",
    details: "Key (id)=(7)",
  };
  const outcome = await failure(() => Promise.reject(fromPostgrest(rejected, 409, "deployment")));
  assert.equal(outcome.error_class, "SM_INTERNAL");
  assert.match(outcome.error_trace ?? "", /\nCaused by: 23503: violates foreign key constraint, Bearer \[redacted\]$/);
});

Deno.test("execute · signals of the handler decide what comes next", async () => {
  const dead = await failure(() => Promise.reject(new Unrecoverable("never")));
  assert.deepEqual([dead.retryable, dead.error], [false, "never"]);
  const later = await failure(() => Promise.reject(new RetryAfter(1_500)));
  assert.deepEqual([later.retryable, later.delay_ms], [true, 1_500]);
  const snoozed = await start(() => Promise.reject(new Snooze(250))).result();
  assert.ok(snoozed?.outcome === "snoozed" && snoozed.delay_ms === 250);
});

Deno.test("execute · a delay is at most ten years, and one that is negative or not a number is 0", async () => {
  const tenYears = 10 * 365 * 86_400_000;
  for (const [ms, expected] of [[Infinity, tenYears], [NaN, 0], [-1, 0], [0.5, 1]]) {
    assert.equal((await failure(() => Promise.reject(new RetryAfter(ms)))).delay_ms, expected, `RetryAfter(${ms})`);
    const snoozed = await start(() => Promise.reject(new Snooze(ms))).result();
    assert.ok(snoozed?.outcome === "snoozed" && snoozed.delay_ms === expected, `Snooze(${ms})`);
  }
});

Deno.test("execute · error texts lose NUL, secrets, half characters and what exceeds 8 KB", async () => {
  const outcome = await failure(() => {
    throw new Error(`a\0b \ud800 Bearer abc.def ${"\u00e9".repeat(1_000_000)}`);
  });
  assert.ok(outcome.error.startsWith("a\u2400b \ufffd Bearer [redacted] \u00e9"), outcome.error.slice(0, 60));
  for (const text of [outcome.error, outcome.error_trace ?? ""]) {
    assert.ok(new TextEncoder().encode(text).length <= 8_192);
    assert.doesNotMatch(text, /\0/);
  }
});

Deno.test("execute · thrown values that are no errors still fail the delivery", async () => {
  assert.equal((await failure(() => Promise.reject("just text"))).error, "just text");
  assert.equal((await failure(() => Promise.reject({ status: 500 }))).error, '{"status":500}');
  assert.equal((await failure(() => Promise.reject(undefined))).error, "undefined");
});

Deno.test("execute · a finished handler whose result cannot be stored is completed with a marker, and logged", async () => {
  const { result, runtime } = start(() => ({ n: 1n }));
  const outcome = await result();
  assert.ok(outcome?.outcome === "completed", JSON.stringify(outcome));
  assert.match(String((outcome.result as Record<string, unknown>).symphony_dropped), /BigInt/);
  assert.ok(runtime.lines.some((line) => line.includes("result dropped")), runtime.lines.join(""));
});

Deno.test("execute · a result that middleware has made unstorable is a marker, too", async () => {
  const middleware = [
    async (_ctx: unknown, next: () => Promise<Outcome | null>) => ({ ...await next(), result: { n: 1n } }) as never,
  ];
  const outcome = await start(() => 1, undefined, { middleware }).result();
  assert.ok(outcome?.outcome === "completed");
  assert.match(String((outcome.result as Record<string, unknown>).symphony_dropped), /BigInt/);
});

Deno.test("execute · a handler past its timeout fails, even if it ignores its signal", async () => {
  let reason: unknown;
  const { result, runtime } = start((_payload, { signal }) => {
    signal.addEventListener("abort", () => reason = signal.reason);
    return new Promise(() => {});
  });
  const outcome = await result();
  assert.ok(outcome?.outcome === "failed");
  assert.deepEqual([outcome.error_class, outcome.retryable, runtime.clock.now()], ["Timeout", true, 1_000]);
  assert.equal(outcome.duration_ms, 1_000);
  assert.ok(reason instanceof Error && reason.name === "Timeout");
});

Deno.test("execute · a lost lease aborts the handler and leaves nothing to record", async () => {
  const { execution, result } = start((_payload, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
  );
  execution.abort(new StaleLease());
  assert.equal(await result(), null);
  const deaf = start(() => new Promise(() => {}));
  deaf.execution.abort(new StaleLease());
  assert.equal(await deaf.result(), null);
});

Deno.test("execute · a handler that is asked to cancel may still finish", async () => {
  const { execution, result, runtime } = start(async (_payload, { signal }) => {
    await runtime.clock.sleep(10);
    return { requested: signal.reason instanceof CancelRequested };
  });
  execution.abort(new CancelRequested());
  const outcome = await result();
  assert.ok(outcome?.outcome === "completed");
  assert.deepEqual(outcome.result, { requested: true });
});

Deno.test("execute · progress is handed on, and progress that cannot be stored fails the handler", async () => {
  const { result, progress } = start((_payload, ctx) => ctx.progress({ percent: 50 }));
  await result();
  assert.deepEqual(progress, [{ percent: 50 }]);
  assert.equal((await failure((_payload, ctx) => ctx.progress("\0"))).error_class, "SM_NUL");
});

Deno.test("execute · middleware sees the outcome and may replace it; one that throws fails the delivery", async () => {
  const replaced = start(() => 1, undefined, {
    middleware: [
      async (_ctx: unknown, next: () => Promise<Outcome | null>) => ({ ...await next(), result: "replaced" }),
    ],
  });
  const outcome = await replaced.result();
  assert.ok(outcome?.outcome === "completed" && outcome.result === "replaced");
  const broken = await start(() => 1, undefined, { middleware: [() => Promise.reject(new Error("broken"))] }).result();
  assert.ok(broken?.outcome === "failed" && broken.error === "broken");
});
