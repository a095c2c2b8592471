// Traces with a collector that is slow, broken or gone: spans are lost and logged, messages are not affected.
import assert from "node:assert/strict";
import { openCollector } from "../collector.ts";
import { eventually } from "../eventually.ts";
import { testLocally, useTarget } from "../target.ts";

const KEY = "collector-key-0123456789";
const collector = openCollector();
const lines: string[] = [];
const { target, project } = useTarget({
  env: {
    SYMPHONY_WORKER_LINGER: "0",
    // Takes precedence over the general variable, and is used unchanged.
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces?key=${KEY}`,
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${KEY}`,
    OTEL_EXPORTER_OTLP_TIMEOUT: "500",
  },
  log: (line: string) => void lines.push(line),
});

/** Sends a message through both edge functions. */
async function sendAndWork(): Promise<void> {
  const message = { type: "ExampleQuick", payload: {} };
  const sent = await target().call("dispatch", { json: { message } });
  assert.equal(sent.status, 201, JSON.stringify(sent.body));
  const worked = await target().call("worker?wait=1", { json: {} });
  assert.deepEqual([worked.status, (worked.body.stats as { completed: number }).completed], [200, 1]);
  const [{ status }] = await project().sql`select status from messenger_messages where id = ${
    String(sent.body.messageId)
  }`;
  assert.equal(status, "completed");
}

function notes(reason: string): Record<string, unknown>[] {
  return lines.filter((line) => line.includes('"spans lost"')).map((line) => JSON.parse(line.slice(line.indexOf("{"))))
    .filter((note) => note.reason === reason);
}

/** Makes the next calls start isolates that have logged nothing yet. */
async function newIsolates(): Promise<void> {
  for (const app of ["dispatch", "worker"]) await project().functions.kill(app);
}

testLocally("traces lost · if the collector returns 500, each isolate logs one line per minute", async () => {
  let requests = 0;
  collector.instead = () => {
    requests++;
    return new Response(`no, ${KEY}`, { status: 500 });
  };
  await sendAndWork();
  await eventually(
    "both edge functions have logged it",
    () => notes("The collector replied with status 500.").length === 2,
  );
  const before = requests;
  await sendAndWork();
  await eventually("both edge functions have tried again", () => requests === before + 2);
  assert.equal(notes("The collector replied with status 500.").length, 2);
});

testLocally("traces lost · if the collector does not reply, after OTEL_EXPORTER_OTLP_TIMEOUT", async () => {
  await newIsolates();
  const reply = Promise.withResolvers<Response>();
  collector.instead = () => reply.promise;
  await sendAndWork();
  await eventually("both have logged it", () => notes("The collector did not reply within 500 ms.").length === 2);
  reply.resolve(new Response());
});

testLocally("traces lost · if the collector redirects: the headers are not sent on", async () => {
  await newIsolates();
  let followed = false;
  collector.instead = ({ url }) => {
    followed ||= url.includes("elsewhere");
    return Response.redirect(`${collector.url}/elsewhere`, 307);
  };
  await sendAndWork();
  await eventually("both have logged it", () => notes("The collector replied with status 307.").length === 2);
  assert.ok(!followed);
});

testLocally("traces lost · and sent again when the collector is back", async () => {
  collector.instead = undefined;
  await sendAndWork();
  const spans = await eventually("both spans", () => collector.spans.length >= 2 && collector.spans);
  assert.deepEqual(spans.map(({ name }) => name).sort(), ["dispatch ExampleQuick", "process ExampleQuick"]);
  assert.equal(collector.headers[0].get("authorization"), `Bearer ${KEY}`);
  assert.deepEqual(collector.wrong, []);
});

testLocally("traces lost · if the collector is gone", async () => {
  await newIsolates();
  await collector.close();
  await sendAndWork();
  await eventually("both have logged it", () => notes("The collector cannot be reached.").length === 2);
});

testLocally("traces lost · no log line contains the collector's key, and none has another cause", () => {
  assert.deepEqual(lines.filter((line) => line.includes(KEY) || line.includes('"level":"error"')), []);
  const reasons = lines.filter((line) => line.includes('"spans lost"'));
  assert.equal(reasons.length, 8, reasons.join("\n"));
  return Promise.resolve();
});
