// The edge function for an external ticker: each call runs one tick in the database.
import { authorizeWorker } from "../../shared/http/auth.ts";
import { createApp } from "../../shared/http/app.ts";
import { bootstrap } from "../../shared/bootstrap.ts";
import { type BodyLimit, readJsonBody } from "../../shared/http/body.ts";
import { parseTickRequest } from "../../shared/worker/request.ts";

const BODY: BodyLimit = { bytes: 16 * 1024, code: "SM_PAYLOAD_TOO_LARGE", optional: true };

const { env, db, log, workerSecret } = bootstrap("scheduler", []);

const app = createApp("scheduler", { log });

app.post("/", async (c) => {
  await authorizeWorker(c.req.raw, env, workerSecret);
  const body = await readJsonBody(c.req.raw, BODY);
  return c.json(await db.call("messenger_tick", parseTickRequest(body)));
});

export default { fetch: app.fetch };
