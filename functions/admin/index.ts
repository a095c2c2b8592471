// The operators' door: dead letters retried, messages cancelled, queues and schedules paused.
import { createAdmin } from "../../shared/admin.ts";
import { createDoor } from "../../shared/door.ts";
import { openIsolate } from "../../shared/isolate.ts";
import { only } from "../../shared/operator_routes.ts";

const { env, db, log } = openIsolate("admin", []);

const door = createDoor("admin", { log, cors: true });

door.route("/", createAdmin(db, log, only("operator", env)));

export default { fetch: door.fetch };
