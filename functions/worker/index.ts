// The edge function that runs handlers: a wake-up starts a run, which ends with an empty queue or at its time limit.
import { messageTypes, middleware } from "../../packs/index.ts";
import { authorizeWorker } from "../../shared/http/auth.ts";
import { keepAlive } from "../../shared/background.ts";
import { createConsumer } from "../../shared/worker/consume.ts";
import { createApp } from "../../shared/http/app.ts";
import { bootstrap } from "../../shared/bootstrap.ts";
import { type BodyLimit, readJsonBody } from "../../shared/http/body.ts";
import { parseWorkerRequest } from "../../shared/worker/request.ts";

const BODY: BodyLimit = { bytes: 16 * 1024, code: "SM_PAYLOAD_TOO_LARGE", optional: true };

const IDLE_POLLS = 600; // about 1.5 ms of CPU each, together half of a hosted isolate's limit

const isolate = bootstrap("worker", messageTypes, middleware);
const { env, log, workerSecret } = isolate;
const consumer = createConsumer({
  ...isolate,
  lease: env.worker.lease,
  idlePolls: IDLE_POLLS,
  ready: isolate.register,
});
addEventListener("beforeunload", () => consumer.stop());

const app = createApp("worker", { log });

app.post("/", async (c) => {
  await authorizeWorker(c.req.raw, env, workerSecret);
  const { limits, selection } = parseWorkerRequest(await readJsonBody(c.req.raw, BODY), env.worker);
  const run = consumer.wake(limits, selection);
  if (c.req.query("wait") === "1") return c.json({ success: true, runId: run.id, stats: await run.done });
  keepAlive(run.done);
  return c.json({ success: true, runId: run.id }, 202);
});

export default { fetch: app.fetch };
