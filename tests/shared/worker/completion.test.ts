// ctx.completeWith: its results for the handler, and the recorded outcome; the database is a script.
import assert from "node:assert/strict";
import { z } from "zod";
import { fromPostgrest } from "../../../shared/database_error.ts";
import type { Database } from "../../../shared/db.ts";
import { FunctionFailed, StaleLease, SymphonyError } from "../../../shared/errors.ts";
import { execute } from "../../../shared/worker/execute.ts";
import { defineMessage, type HandlerContext } from "../../../shared/message.ts";
import { bench, LIMITS } from "./consumer_setup.ts";
import { MemoryReceiver } from "./memory_receiver.ts";
import { noDatabase, testHandlerRuntime } from "./test_runtime.ts";

type Reply = Error | { outcome: string; result?: unknown } | (() => Promise<unknown>);

const LOST_REPLY = fromPostgrest({ message: "TypeError: fetch failed" }, 0, "deployment");
const STALE = new SymphonyError("SM_STALE_LEASE", "another worker has it");
const raised = (code: string) =>
  fromPostgrest({ code, message: "out of stock", hint: "order some" }, 500, "deployment");

/** A worker with one message and this handler; the database uses its replies in turn. */
function scene(replies: Reply[], handle: (ctx: HandlerContext) => unknown) {
  const calls: unknown[] = [];
  const db = {
    ...noDatabase,
    call: async (name: string, args: unknown) => {
      calls.push([name, args]);
      const reply = replies.shift();
      if (reply instanceof Error) throw reply;
      return typeof reply === "function" ? await reply() : reply;
    },
  } as Database; // one script for every function
  const worker = bench({ handle, db });
  worker.receiver.add("Work", {}, { fence: 7 });
  return { ...worker, calls, stats: () => worker.clock.until(worker.consumer.wake({ ...LIMITS, linger: 0 }).done) };
}

Deno.test("completeWith · calls with the delivery's id and fence, and returns the function's result", async () => {
  let reply: unknown;
  const { stats, calls, receiver } = scene([{ outcome: "completed", result: { paid: true } }], async (ctx) => {
    reply = await ctx.completeWith("shop.pay", { order: 7 });
  });
  const { completed, stale } = await stats();
  assert.deepEqual(calls, [["messenger_complete_with", {
    id: "message-1",
    fence: 7,
    function_name: "shop.pay",
    args: { order: 7 },
  }]]);
  assert.deepEqual(reply, { outcome: "completed", result: { paid: true } });
  assert.deepEqual([completed, stale, receiver.settled], [1, 0, []], "completed, and not settled again");
});

Deno.test("completeWith · whatever the handler returns, throws or snoozes afterwards is not recorded", async () => {
  const endings = [
    () => "late result",
    () => Promise.reject(new Error("late failure")),
    (ctx: HandlerContext) => ctx.progress(() => {}),
    () => 1n,
  ];
  for (const ending of endings) {
    const { stats, receiver } = scene([{ outcome: "completed" }], async (ctx) => {
      await ctx.completeWith("pay");
      return await ending(ctx);
    });
    assert.deepEqual([(await stats()).completed, receiver.settled], [1, []]);
  }
});

Deno.test("completeWith · a call whose reply is lost is repeated, and 'already' is a success", async () => {
  let reply: unknown;
  const { stats, calls, receiver } = scene([LOST_REPLY, LOST_REPLY, { outcome: "already" }], async (ctx) => {
    reply = await ctx.completeWith("pay");
  });
  assert.equal((await stats()).completed, 1);
  assert.deepEqual([calls.length, reply, receiver.settled], [3, { outcome: "already" }, []]);
});

Deno.test("completeWith · a database that stays unavailable fails the handler, to be retried by policy", async () => {
  const { stats, calls, receiver } = scene(Array(9).fill(LOST_REPLY), (ctx) => ctx.completeWith("pay"));
  assert.equal((await stats()).retried, 1);
  assert.equal(calls.length, 5);
  const [result] = receiver.settled;
  assert.ok(result.outcome === "failed" && result.retryable && result.error_class === "SM_UNAVAILABLE");
});

Deno.test("completeWith · a call during which the database shuts down is repeated, whatever the SQLSTATE", async () => {
  for (const code of ["08006", "40001", "40P01", "53300", "57P01", "57P03", "58030"]) {
    const { stats, calls, receiver } = scene(
      [raised(code), { outcome: "completed" }],
      (ctx) => ctx.completeWith("pay"),
    );
    assert.deepEqual([(await stats()).completed, calls.length, receiver.settled], [1, 2, []], code);
  }
});

Deno.test("completeWith · a call that fails after its signal aborted is not repeated", async () => {
  let calls = 0;
  const db = { ...noDatabase, call: () => (calls++, Promise.reject(LOST_REPLY)) } as Database; // every function fails
  const type = defineMessage({ type: "Work", payload: z.object({}), handle: (_, ctx) => ctx.completeWith("pay") });
  const runtime = testHandlerRuntime([type]);
  const { result, abort } = execute(new MemoryReceiver().add("Work"), { ...runtime, db }, () => {});
  const aborting = runtime.clock.sleep(1).then(() => abort(new Error("cancelled"))); // in the first pause
  const outcome = await runtime.clock.until(result);
  await aborting;
  assert.deepEqual([outcome?.outcome, calls], ["failed", 2]); // the abort ends the pause; the second call is the last
});

Deno.test("completeWith · an error of the function is thrown once, with its code, and retried by policy", async () => {
  // 42P01 and 42883 look like a missing installation, 57014 like a busy database; here they are the function's.
  for (const code of ["XS001", "23505", "42P01", "42883", "57014", "22P02"]) {
    let thrown: unknown;
    const { stats, calls, receiver } = scene([raised(code)], async (ctx) => {
      await ctx.completeWith("pay").catch((error) => {
        thrown = error;
        throw error;
      });
    });
    await stats();
    assert.ok(thrown instanceof FunctionFailed);
    assert.deepEqual([thrown.code, thrown.message, calls.length], [code, "out of stock", 1]);
    const [result] = receiver.settled;
    assert.ok(result.outcome === "failed" && result.retryable);
    assert.deepEqual([result.error, result.error_class], ["out of stock", code]);
  }
});

Deno.test("completeWith · a function that raises PT422 fails the message without a retry", async () => {
  const { stats, receiver } = scene([raised("PT422")], (ctx) => ctx.completeWith("pay"));
  await stats();
  const [result] = receiver.settled;
  assert.ok(result.outcome === "failed" && !result.retryable && result.error_class === "PT422");
});

Deno.test("completeWith · a handler that catches the failure may decide otherwise", async () => {
  const { stats, receiver } = scene(
    [raised("XS001"), { outcome: "completed" }],
    (ctx) => ctx.completeWith("pay").catch(() => ctx.completeWith("refund")),
  );
  assert.deepEqual([(await stats()).completed, receiver.settled], [1, []]);
  const other = scene([raised("XS001")], (ctx) => ctx.completeWith("pay").catch(() => "out of stock"));
  await other.stats();
  const [result] = other.receiver.settled;
  assert.ok(result.outcome === "completed" && result.result === "out of stock");
});

Deno.test("completeWith · a lost lease leaves no outcome, even if the handler catches the error", async () => {
  for (const swallow of [true, false]) {
    const { stats, receiver, reasons } = scene([STALE], async (ctx) => {
      const thrown = await ctx.completeWith("pay").catch((error) => error);
      assert.ok(thrown instanceof StaleLease);
      if (!swallow) throw thrown;
    });
    const { stale, completed } = await stats();
    assert.deepEqual([stale, completed, receiver.settled], [1, 0, []]);
    assert.ok(reasons.get("message-1") instanceof StaleLease);
  }
});

Deno.test("completeWith · an error of the bus keeps its code", async () => {
  const { stats, receiver } = scene([new SymphonyError("SM_NOT_FOUND", "no function")], (ctx) => ctx.completeWith("x"));
  await stats();
  const [result] = receiver.settled;
  assert.ok(result.outcome === "failed" && result.error_class === "SM_NOT_FOUND");
});

Deno.test("completeWith · a call that the handler does not await still decides", async () => {
  const done = scene([{ outcome: "completed" }], (ctx) => void ctx.completeWith("pay"));
  assert.deepEqual([(await done.stats()).completed, done.receiver.settled], [1, []]);
  const failed = scene([
    async () => {
      await failed.clock.sleep(50);
      throw raised("XS001");
    },
  ], (ctx) => void ctx.completeWith("pay"));
  await failed.stats();
  assert.equal(failed.receiver.settled[0].outcome, "failed");
});

Deno.test("completeWith · a failing call that is not awaited causes no unhandled rejection", async () => {
  const unhandled: unknown[] = [];
  const note = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unhandled.push(event.reason);
  };
  addEventListener("unhandledrejection", note);
  try {
    const worker = scene([raised("XS001")], async (ctx) => {
      ctx.completeWith("pay");
      await worker.clock.sleep(1_000);
      await new Promise((resolve) => setTimeout(resolve)); // an unhandled rejection would have been reported by now
      return "done";
    });
    await worker.stats();
    const [result] = worker.receiver.settled;
    assert.ok(result.outcome === "completed" && result.result === "done");
    assert.deepEqual(unhandled, []);
  } finally {
    removeEventListener("unhandledrejection", note);
  }
});

Deno.test("completeWith · concurrent heartbeats that find the message deleted do not disturb the handler", async () => {
  let aborted = true;
  const worker = scene([
    async () => {
      await worker.clock.sleep(25_000); // a heartbeat is sent every 20 s
      return { outcome: "completed" };
    },
  ], async (ctx) => {
    await ctx.completeWith("pay");
    await worker.clock.sleep(50_000);
    aborted = ctx.signal.aborted;
  });
  worker.receiver.beat = () => ({ outcome: "stale" });
  const { completed, stale } = await worker.stats();
  assert.deepEqual([completed, stale, aborted, worker.receiver.settled], [1, 0, false, []]);
  assert.ok(worker.receiver.beats.length >= 2);
});

Deno.test("completeWith · middleware receives the completion and cannot revoke it", async () => {
  const seen: unknown[] = [];
  const type = defineMessage({ type: "Work", payload: z.object({}), handle: (_, ctx) => ctx.completeWith("pay") });
  const db = { ...noDatabase, call: () => Promise.resolve({ outcome: "completed", result: 1 }) } as Database;
  const runtime = testHandlerRuntime([type]);
  const { result } = execute(new MemoryReceiver().add("Work"), {
    ...runtime,
    db,
    middleware: [async (_ctx, next) => {
      seen.push(await next());
      throw new Error("too late");
    }],
  }, () => {});
  const recorded = { id: "message-1", fence: 1, outcome: "completed", result: 1, recorded: true };
  assert.deepEqual([await runtime.clock.until(result), seen], [recorded, [recorded]]);
});
