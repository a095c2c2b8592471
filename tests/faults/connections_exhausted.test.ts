// F18: Postgres has no free connection. Edge functions return 503 with Retry-After, nothing is half done, and the same
// key works afterwards.
import assert from "node:assert/strict";
import { connect } from "../../supabase/local/connection.ts";
import { eventually } from "../eventually.ts";
import { session, test, useProject } from "../project.ts";
import { Harness } from "./harness.ts";

const harness: Harness = new Harness(() => project());
const project = useProject({ functions: true, log: harness.log, env: { SYMPHONY_WORKER_LINGER: "0" } });

async function post(app: string, body: unknown) {
  const { url, secretKey } = project();
  const response = await fetch(`${url}/functions/v1/${app}`, {
    method: "POST",
    headers: { "content-type": "application/json", apikey: secretKey },
    body: JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

test("connections exhausted · a dispatch receives 503, its repetition is stored once; the worker resumes", async () => {
  await using admin = session(project(), "supabase_admin");
  const first = await harness.produce({ type: "ExampleQuick", payload: {} });
  const taken = (await Promise.allSettled(Array.from({ length: 110 }, () => connect(project().databaseUrl()))))
    .flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
  const request = { message: { type: "ExampleQuick", payload: {} }, options: { idempotencyKey: "k" } };
  try {
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'authenticator'`;
    // Connections that become free in the meantime are taken, too.
    for (;;) {
      const more = await connect(project().databaseUrl()).catch(() => undefined);
      if (!more) break;
      taken.push(more);
    }
    const rejected = await post("dispatch", request);
    assert.deepEqual([rejected.status, rejected.body.error.code], [503, "SM_UNAVAILABLE"]);
    assert.ok(Number(rejected.headers.get("retry-after")) > 0);
    const run = await post("worker?wait=1", {});
    assert.deepEqual([run.status, run.body.error.code], [503, "SM_UNAVAILABLE"]);
  } finally {
    await Promise.all(taken.map((connection) => connection.close()));
  }
  const accepted = await eventually("a connection is free", async () => {
    const reply = await post("dispatch", request);
    return reply.status !== 503 && reply;
  });
  assert.deepEqual([accepted.status, accepted.body.duplicate], [201, false]);
  harness.acknowledged.add(accepted.body.messageId);
  await post("worker?wait=1", {});
  const figures = await harness.judge("connections exhausted");
  harness.assertSound(figures);
  assert.ok(harness.acknowledged.has(first));
});
