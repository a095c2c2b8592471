// The edge function for operators: retries and discards dead letters, cancels messages, pauses queues and schedules.
import { bootstrap } from "../../shared/bootstrap.ts";
import { createApp } from "../../shared/http/app.ts";
import { createAdmin } from "../../shared/operators/admin.ts";
import { only } from "../../shared/operators/app.ts";

const { env, db, log } = bootstrap("admin", []);

const app = createApp("admin", { log, cors: true });

app.route("/", createAdmin(db, log, only("operator", env)));

export default { fetch: app.fetch };
