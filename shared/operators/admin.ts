// The edge function admin: the actions on all resources. Each is one SQL function and one line in the log.
import type { MiddlewareHandler } from "hono";
import type { Database } from "../db.ts";
import type { Log } from "../log.ts";
import { createOperatorApp, type LogAction, type OperatorApp, type OperatorEnv } from "./app.ts";
import * as deadLetters from "./dead_letters.ts";
import * as flags from "./flags.ts";
import * as messages from "./messages.ts";
import * as queues from "./queues.ts";
import * as schedules from "./schedules.ts";
import * as transports from "./transports.ts";

const RESOURCES = [queues, messages, deadLetters, schedules, transports, flags];

/** Creates the app. `guard` decides who may call it; without one, only its description is of use. */
export function createAdmin(db: Database, log: Log, guard?: MiddlewareHandler<OperatorEnv>): OperatorApp {
  const app = createOperatorApp(guard);
  const logAction: LogAction = (c, action, target, outcome) =>
    log.info("operator", { actor: c.get("actor"), action, target, outcome });
  for (const { addAdminCalls } of RESOURCES) addAdminCalls(app, db, logAction);
  return app;
}
