// The edge function for monitoring: figures, health, messages and schedules, read only.
import { bootstrap } from "../../shared/bootstrap.ts";
import { createApp } from "../../shared/http/app.ts";
import { createAdmin } from "../../shared/operators/admin.ts";
import { only } from "../../shared/operators/app.ts";
import { createMonitor } from "../../shared/operators/monitor.ts";
import { describeApi } from "../../shared/operators/openapi.ts";

const { env, db, log } = bootstrap("monitor", []);

const app = createApp("monitor", { log, cors: true, quiet: true });

// The document needs no key: it contains no data, and tools that generate clients from it have no key.
const description = describeApi(createMonitor(db), createAdmin(db, log));
app.get("/openapi.json", (c) => c.json(description));
app.route("/", createMonitor(db, only("viewer", env)));

export default { fetch: app.fetch };
