// The operators' door: dead letters retried, messages cancelled, queues and schedules paused.
import { createAdmin } from "../../shared/admin.ts";
import { createDoor } from "../../shared/http/app.ts";
import { openIsolate } from "../../shared/bootstrap.ts";
import { only } from "../../shared/operators/app.ts";

const { env, db, log } = openIsolate("admin", []);

const door = createDoor("admin", { log, cors: true });

door.route("/", createAdmin(db, log, only("operator", env)));

export default { fetch: door.fetch };
