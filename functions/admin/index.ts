// The operators' edge function: dead letters retried, messages cancelled, queues and schedules paused.
import { createAdmin } from "../../shared/admin.ts";
import { createApp } from "../../shared/http/app.ts";
import { bootstrap } from "../../shared/bootstrap.ts";
import { only } from "../../shared/operators/app.ts";

const { env, db, log } = bootstrap("admin", []);

const app = createApp("admin", { log, cors: true });

app.route("/", createAdmin(db, log, only("operator", env)));

export default { fetch: app.fetch };
