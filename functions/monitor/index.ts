// The watchers' door: what the bus does and how it is, read only.
import { createAdmin } from "../../shared/admin.ts";
import { createDoor } from "../../shared/http/app.ts";
import { openIsolate } from "../../shared/bootstrap.ts";
import { createMonitor } from "../../shared/monitor.ts";
import { describeDoors } from "../../shared/operators/openapi.ts";
import { only } from "../../shared/operators/app.ts";

const { env, db, log } = openIsolate("monitor", []);

const door = createDoor("monitor", { log, cors: true, quiet: true });

// It holds no data, so it needs no key: tools that make clients from it have none.
const description = describeDoors(createMonitor(db), createAdmin(db, log));
door.get("/openapi.json", (c) => c.json(description));
door.route("/", createMonitor(db, only("viewer", env)));

export default { fetch: door.fetch };
