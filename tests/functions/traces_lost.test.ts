// Traces whose collector is slow, broken or gone: the spans are lost and noted, the messages are not touched.
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
    // Wins over the general one, and is taken as it is.
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces?key=${KEY}`,
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${KEY}`,
    OTEL_EXPORTER_OTLP_TIMEOUT: "500",
  },
  log: (line: string) => void lines.push(line),
});

/** A message through both edge functions. */
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

/** The next calls start isolates that have noted nothing yet. */
async function newIsolates(): Promise<void> {
  for (const app of ["dispatch", "worker"]) await project().functions.kill(app);
}

testLocally("traces lost · to a collector that answers 500, one note a minute from each isolate", async () => {
  let requests = 0;
  collector.instead = () => {
    requests++;
    return new Response(`no, ${KEY}`, { status: 500 });
  };
  await sendAndWork();
  await eventually(
    "both edge functions have noted it",
    () => notes("The collector replied with status 500.").length === 2,
  );
  const before = requests;
  await sendAndWork();
  await eventually("both edge functions have tried again", () => requests === before + 2);
  assert.equal(notes("The collector replied with status 500.").length, 2);
});

testLocally("traces lost · to one that never answers, after OTEL_EXPORTER_OTLP_TIMEOUT", async () => {
  await newIsolates();
  const reply = Promise.withResolvers<Response>();
  collector.instead = () => reply.promise;
  await sendAndWork();
  await eventually("both have noted it", () => notes("The collector did not reply within 500 ms.").length === 2);
  reply.resolve(new Response());
});

testLocally("traces lost · to one that sends elsewhere: the headers do not follow", async () => {
  await newIsolates();
  let followed = false;
  collector.instead = ({ url }) => {
    followed ||= url.includes("elsewhere");
    return Response.redirect(`${collector.url}/elsewhere`, 307);
  };
  await sendAndWork();
  await eventually("both have noted it", () => notes("The collector replied with status 307.").length === 2);
  assert.ok(!followed);
});

testLocally("traces lost · and found again when the collector is back", async () => {
  collector.instead = undefined;
  await sendAndWork();
  const spans = await eventually("both spans", () => collector.spans.length >= 2 && collector.spans);
  assert.deepEqual(spans.map(({ name }) => name).sort(), ["dispatch ExampleQuick", "process ExampleQuick"]);
  assert.equal(collector.headers[0].get("authorization"), `Bearer ${KEY}`);
  assert.deepEqual(collector.wrong, []);
});

testLocally("traces lost · to one that is gone", async () => {
  await newIsolates();
  await collector.close();
  await sendAndWork();
  await eventually("both have noted it", () => notes("The collector cannot be reached.").length === 2);
});

testLocally("traces lost · no line of the log holds the collector's key, none tells of anything else", () => {
  assert.deepEqual(lines.filter((line) => line.includes(KEY) || line.includes('"level":"error"')), []);
  const reasons = lines.filter((line) => line.includes('"spans lost"'));
  assert.equal(reasons.length, 8, reasons.join("\n"));
  return Promise.resolve();
});
