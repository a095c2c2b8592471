// Traces from the real edge functions to a real collector: a dispatch, its deliveries, and the links between them.
import assert from "node:assert/strict";
import { type CollectedSpan, openCollector } from "../collector.ts";
import { rootWith } from "../own_packs.ts";
import { testLocally, useTarget } from "../target.ts";

const root = await rootWith({
  "packs/index.ts": `
    import { z } from "zod";
    import { Snooze } from "../shared/errors.ts";
    import { defineMessage } from "../shared/message.ts";

    const payload = z.object({ secret: z.string().optional(), failures: z.int().optional() });
    export const messageTypes = [
      defineMessage({
        type: "Order",
        payload,
        retry: { maxRetries: 5, delay: 0 },
        dispatchableBy: "user",
        handle({ failures = 0, secret }, ctx) {
          if (ctx.envelope.retryCount < failures) {
            throw new TypeError("with Bearer abc.def.ghi " + secret + "x".repeat(500));
          }
          return ctx.traceparent;
        },
      }),
      defineMessage({
        type: "Nap",
        payload,
        handle() {
          throw new Snooze(3_600_000);
        },
      }),
      defineMessage({
        type: "Pages",
        payload,
        retry: { maxRetries: 0 },
        handleBatch(items) {
          for (const item of items) {
            if (item.payload.failures) item.fail(new RangeError("no such page"));
            else item.complete(items.length);
          }
        },
      }),
    ];
    export const middleware = [];
    `,
});
const collector = openCollector();
const { target, project } = useTarget({
  root,
  env: {
    SYMPHONY_WORKER_LINGER: "200",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url + "/",
    OTEL_EXPORTER_OTLP_HEADERS: "x-team=acme%2C%20inc,x-key=k=1",
    OTEL_SERVICE_NAME: "shop",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test,service.name=other",
  },
});

const PARENT = "00f067aa0ba902b7";
const newTrace = () => crypto.randomUUID().replaceAll("-", "");
const requested = (trace: string, flags = "01") => ({ traceparent: `00-${trace}-${PARENT}-${flags}` });
const noop = { message: { type: "Order", payload: {} } };
const spansOf = (spans: CollectedSpan[]) => spans.map(({ name, kind }) => `${name} ${kind}`);

async function work(): Promise<void> {
  const { status, body } = await target().call("worker?wait=1", { json: {} });
  assert.equal(status, 200, JSON.stringify(body));
}

testLocally("traces · a dispatch is a child of its caller, the delivery a child of the dispatch", async () => {
  const trace = newTrace();
  const { body } = await target().call("dispatch", { json: noop, headers: requested(trace) });
  const [{ headers }] = await project().sql`select headers from messenger_messages where id = ${
    String(body.messageId)
  }`;
  await work();
  const [dispatch, process] = await collector.trace(trace, 2);
  assert.deepEqual(spansOf([dispatch, process]), ["dispatch Order 4", "process Order 5"]);
  assert.deepEqual([dispatch.parentSpanId, dispatch.flags, process.flags], [PARENT, 0x301, 0x301]);
  assert.equal(headers.traceparent, `00-${trace}-${dispatch.spanId}-01`);
  assert.equal(process.parentSpanId, dispatch.spanId);
  assert.deepEqual(dispatch.attributes, {
    "messaging.system": "symphony",
    "messaging.operation.name": "dispatch",
    "messaging.operation.type": "send",
    "messaging.destination.name": "default",
    "messaging.message.id": body.messageId,
    "symphony.message_type": "Order",
    "symphony.transport": "supabase",
    "symphony.duplicate": false,
  });
  assert.deepEqual(process.attributes, {
    "messaging.system": "symphony",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": "default",
    "messaging.message.id": body.messageId,
    "symphony.message_type": "Order",
    "symphony.retry_count": "0",
    "symphony.max_retries": "5",
    "symphony.fence": "1",
    "symphony.outcome": "completed",
  });
  assert.deepEqual([dispatch.status, process.status, process.events], [undefined, undefined, undefined]);
  for (const { startTimeUnixNano, endTimeUnixNano } of [dispatch, process]) {
    assert.ok(startTimeUnixNano <= endTimeUnixNano);
    assert.ok(Math.abs(Number(endTimeUnixNano) / 1e6 - Date.now()) < 60_000);
  }
  const [result] = await project().sql`select result from messenger_messages where id = ${String(body.messageId)}`;
  assert.equal(result.result, `00-${trace}-${process.spanId}-01`);
});

testLocally("traces · have the name and environment of their service, and the configured headers", () => {
  const apps = new Map(collector.resources.map((resource) => [resource["faas.name"], resource]));
  assert.deepEqual([...apps.keys()].sort(), ["dispatch", "worker"]);
  const { "service.instance.id": instance, ...worker } = apps.get("worker") ?? {};
  assert.match(String(instance), /^edge-local-/);
  assert.deepEqual(worker, {
    "service.name": "shop",
    "deployment.environment.name": "test",
    "faas.name": "worker",
    "cloud.region": "local",
  });
  for (const headers of collector.headers) {
    assert.deepEqual([headers.get("x-team"), headers.get("x-key")], ["acme, inc", "k=1"]);
  }
  return Promise.resolve();
});

testLocally(
  "traces · each retry has a span with its error, without payload, secret or long text",
  async () => {
    const trace = newTrace();
    const message = { type: "Order", payload: { failures: 2, secret: "hunter2-".repeat(40) } };
    await target().call("dispatch", { json: { message }, headers: requested(trace) });
    await work();
    const [dispatch, ...deliveries] = await collector.trace(trace, 4);
    assert.deepEqual(deliveries.map(({ attributes }) => attributes["symphony.retry_count"]), ["0", "1", "2"]);
    assert.deepEqual(deliveries.map(({ attributes }) => attributes["symphony.outcome"]), [
      "failed",
      "failed",
      "completed",
    ]);
    assert.deepEqual(new Set(deliveries.map(({ parentSpanId }) => parentSpanId)), new Set([dispatch.spanId]));
    assert.equal(new Set(deliveries.map(({ spanId }) => spanId)).size, 3);
    for (const { attributes, status, events } of deliveries.slice(0, 2)) {
      assert.equal(attributes["error.type"], "TypeError");
      assert.equal(status?.message.length, 200);
      assert.match(status?.message ?? "", /^with Bearer \[redacted\]/);
      assert.deepEqual(events?.map(({ name, attributes }) => [name, attributes]), [
        ["exception", { "exception.type": "TypeError", "exception.message": status?.message }],
      ]);
    }
    assert.deepEqual(deliveries[2].status, undefined);
    assert.ok(
      !collector.texts.some((text) => text.includes("abc.def") || text.includes("xxxxx")),
      "no secret, no tail",
    );
  },
);

testLocally("traces · messages that are handled together keep their own parents and outcomes", async () => {
  const [good, bad] = [newTrace(), newTrace()];
  const of = (trace: string, payload: unknown) => ({
    message: { type: "Pages", payload },
    options: { headers: requested(trace) },
  });
  const messages = [of(good, {}), of(bad, { failures: 1 })];
  assert.equal((await target().call("dispatch/batch", { json: { messages } })).status, 201);
  await work();
  for (const [trace, outcome] of [[good, "completed"], [bad, "failed"]]) {
    const [dispatch, process] = await collector.trace(trace, 2);
    assert.deepEqual([dispatch.parentSpanId, process.parentSpanId], [PARENT, dispatch.spanId]);
    assert.deepEqual([process.name, process.attributes["symphony.outcome"]], ["process Pages", outcome]);
    assert.equal(process.attributes["error.type"], outcome === "failed" ? "RangeError" : undefined);
  }
});

testLocally("traces · a message from SQL without a trace starts one, which its retries continue", async () => {
  const [{ id }] = await project().sql`select id from messenger_dispatch('Order', '{"failures": 1}')`;
  await work();
  const spans = await collector.trace(id.replaceAll("-", ""), 2);
  assert.deepEqual(spansOf(spans), ["process Order 5", "process Order 5"]);
  assert.deepEqual(spans.map(({ parentSpanId, flags }) => [parentSpanId, flags]), [[undefined, 0x101], [
    undefined,
    0x101,
  ]]);
});

testLocally("traces · a message from SQL with the header joins its trace; a snooze is no error", async () => {
  const trace = newTrace();
  await project().sql`select messenger_dispatch('Nap', headers => ${project().sql.json(requested(trace))})`;
  await work();
  const [nap] = await collector.trace(trace, 1);
  assert.deepEqual([nap.parentSpanId, nap.attributes["symphony.outcome"], nap.status], [PARENT, "snoozed", undefined]);
});

testLocally(
  "traces · a user's message has them, too, and a rejected one ends its dispatch with the code",
  async () => {
    const { token } = await target().newUser();
    const [sent, rejected] = [newTrace(), newTrace()];
    assert.equal(
      (await target().call("dispatch", { json: noop, as: { token }, headers: requested(sent) })).status,
      201,
    );
    const unknown = { message: { type: "N".repeat(4_000), payload: {} } };
    assert.equal(
      (await target().call("dispatch", { json: unknown, as: { token }, headers: requested(rejected) })).status,
      403,
    );
    await work();
    const [dispatch, process] = await collector.trace(sent, 2);
    assert.deepEqual([dispatch.parentSpanId, process.parentSpanId], [PARENT, dispatch.spanId]);
    const [span] = await collector.trace(rejected, 1);
    assert.deepEqual([span.attributes["error.type"], span.name.length], ["SM_TYPE_FORBIDDEN", 128]);
  },
);

testLocally("traces · a handler inside the dispatching call is a child of the dispatch that waits for it", async () => {
  const trace = newTrace();
  const { body } = await target().call("dispatch", {
    json: { ...noop, options: { transport: "sync" } },
    headers: requested(trace),
  });
  const [dispatch, process] = await collector.trace(trace, 2);
  assert.equal(process.parentSpanId, dispatch.spanId);
  assert.ok(process.endTimeUnixNano <= dispatch.endTimeUnixNano, "the dispatch ends last");
  assert.equal(body.result, `00-${trace}-${process.spanId}-01`);
});

testLocally("traces · for a caller that does not sample, the context is passed on and no span is sent", async () => {
  const [unsampled, after] = [newTrace(), newTrace()];
  const { body } = await target().call("dispatch", { json: noop, headers: requested(unsampled, "00") });
  await target().call("dispatch", { json: noop, headers: requested(after) });
  await work();
  await collector.trace(after, 2);
  assert.deepEqual(collector.spans.filter(({ traceId }) => traceId === unsampled), []);
  const [{ result }] = await project().sql`select result from messenger_messages where id = ${String(body.messageId)}`;
  assert.match(result, new RegExp(`^00-${unsampled}-[0-9a-f]{16}-00$`));
});

testLocally("traces · every request follows the protocol", () => {
  assert.deepEqual(collector.wrong, []);
  return Promise.resolve();
});
