// The door of an outside clock: one call is one tick of the database's own.
import { authorizeWorker } from "../../shared/auth.ts";
import { createDoor } from "../../shared/door.ts";
import { openIsolate } from "../../shared/isolate.ts";
import { type BodyLimit, readJson } from "../../shared/json.ts";
import { parseTick } from "../../shared/tick.ts";

const BODY: BodyLimit = { bytes: 16 * 1024, code: "SM_PAYLOAD_TOO_LARGE", optional: true };

const { env, db, log, workerSecret } = openIsolate("scheduler", []);

const door = createDoor("scheduler", { log });

door.post("/", async (c) => {
  await authorizeWorker(c.req.raw, env, workerSecret);
  const body = await readJson(c.req.raw, BODY);
  return c.json(await db.call("messenger_tick", parseTick(body)));
});

export default { fetch: door.fetch };
