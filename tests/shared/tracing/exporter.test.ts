// The way of spans to the collector: batches, limits, and few log lines about lost ones.
import assert from "node:assert/strict";
import { createLog } from "../../../shared/log.ts";
import { Span, type SpanData } from "../../../shared/tracing/span.ts";
import { SpanExporter } from "../../../shared/tracing/exporter.ts";
import { newTrace } from "../../../shared/tracing/trace_context.ts";
import { keptAlive } from "../edge_runtime.ts";
import { VirtualClock } from "../virtual_clock.ts";

/** An exporter whose batches are passed to `answer`. */
function exporting(reply: () => Promise<void> = () => Promise.resolve()) {
  const clock = new VirtualClock();
  const batches: { at: number; size: number }[] = [];
  const notes: Record<string, unknown>[] = [];
  const exporter = new SpanExporter({
    clock,
    log: createLog({}, (line) => notes.push(JSON.parse(line))),
    send(spans: readonly SpanData[]) {
      batches.push({ at: clock.now(), size: spans.length });
      return reply();
    },
  });
  const record = (count: number) => {
    for (let n = 0; n < count; n++) {
      new Span(exporter, { name: "process Test", kind: "consumer", context: newTrace(), attributes: {} }).end({});
    }
  };
  return { exporter, clock, batches, notes, record };
}

const fail = () => Promise.reject(new Error("The collector replied with status 500."));

Deno.test("spans · wait a second for others, then are sent together", async () => {
  const { clock, batches, record } = exporting();
  record(2);
  await clock.pass(999);
  record(1);
  assert.deepEqual(batches, []);
  await clock.pass(10);
  assert.deepEqual(batches, [{ at: 1_000, size: 3 }]);
  record(1);
  await clock.pass(2_000);
  assert.deepEqual(batches[1], { at: 2_009, size: 1 });
});

Deno.test("spans · a full batch does not wait", async () => {
  const { clock, batches, record } = exporting();
  record(1_100);
  await clock.pass(1);
  assert.deepEqual(batches.map(({ at, size }) => [at < 2, size]), [[true, 512], [true, 512]]);
  await clock.pass(1_000);
  assert.equal(batches[2].size, 76);
});

Deno.test("spans · of an isolate that ends are sent at once, and so are later ones", async () => {
  const { exporter, clock, batches, record } = exporting();
  record(1);
  exporter.hurry();
  await clock.pass(1);
  record(1);
  await clock.pass(1);
  assert.deepEqual(batches, [{ at: 0, size: 1 }, { at: 1, size: 1 }]);
});

Deno.test("spans · keep the isolate alive until the collector has them", async () => {
  const reply = Promise.withResolvers<void>();
  const { clock, batches, record } = exporting(() => reply.promise);
  const [sending, ...more] = await keptAlive(() => record(2));
  assert.equal(more.length, 0, "one promise for both spans");
  let isSent = false;
  sending.then(() => isSent = true);
  await clock.pass(1_001);
  assert.deepEqual([batches.length, isSent], [1, false]);
  reply.resolve();
  await sending;
});

Deno.test("spans · a collector that hangs receives one request, and the waiting spans are bounded", async () => {
  const reply = Promise.withResolvers<void>();
  const { clock, batches, notes, record } = exporting(() => reply.promise);
  record(512);
  await clock.pass(1);
  record(3_000);
  await clock.pass(60_001);
  record(1);
  assert.deepEqual(batches.map(({ size }) => size), [512]);
  assert.deepEqual(notes.map(({ lost, reason }) => [lost, reason]), [
    [1, "There were more spans than could be sent."],
    [952, "There were more spans than could be sent."],
  ]);
  reply.resolve();
  await clock.pass(1);
  assert.deepEqual(batches.map(({ size }) => size), [512, 512, 512, 512, 512]);
});

Deno.test("spans · a failed batch drops the waiting ones, and is logged at once, then once per minute", async () => {
  const { clock, batches, notes, record } = exporting(fail);
  record(600);
  await clock.pass(1);
  assert.deepEqual(batches.map(({ size }) => size), [512]);
  for (let second = 0; second < 70; second++) {
    record(1);
    await clock.pass(1_000);
  }
  assert.deepEqual(notes.map(({ level, lost }) => [level, lost]), [["warn", 600], ["warn", 60]]);
});

Deno.test("spans · without a sampled parent or without a collector are not recorded", async () => {
  const { exporter, clock, batches } = exporting();
  const given = { name: "process Test", kind: "consumer" as const, attributes: {} };
  new Span(exporter, { ...given, context: { ...newTrace(), flags: "02" } }).end({});
  new Span(undefined, { ...given, context: newTrace() }).end({});
  await clock.pass(5_000);
  assert.deepEqual(batches, []);
});
