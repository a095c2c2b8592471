// The watchers' edge function: what the bus does and how it is, read only.
import { createAdmin } from "../../shared/admin.ts";
import { createApp } from "../../shared/http/app.ts";
import { bootstrap } from "../../shared/bootstrap.ts";
import { createMonitor } from "../../shared/monitor.ts";
import { describeApi } from "../../shared/operators/openapi.ts";
import { only } from "../../shared/operators/app.ts";

const { env, db, log } = bootstrap("monitor", []);

const app = createApp("monitor", { log, cors: true, quiet: true });

// It holds no data, so it needs no key: tools that make clients from it have none.
const description = describeApi(createMonitor(db), createAdmin(db, log));
app.get("/openapi.json", (c) => c.json(description));
app.route("/", createMonitor(db, only("viewer", env)));

export default { fetch: app.fetch };
