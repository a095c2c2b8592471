// The edge function monitor: the read-only calls of all resources.
import type { MiddlewareHandler } from "hono";
import type { Database } from "../db.ts";
import { createOperatorApp, type OperatorApp, type OperatorEnv } from "./app.ts";
import * as deadLetters from "./dead_letters.ts";
import * as health from "./health.ts";
import * as messages from "./messages.ts";
import * as metrics from "./metrics.ts";
import * as queues from "./queues.ts";
import * as schedules from "./schedules.ts";
import * as transports from "./transports.ts";

const RESOURCES = [health, metrics, queues, messages, deadLetters, schedules, transports];

/** Creates the app. `guard` decides who may call it; without one, only its description is of use. */
export function createMonitor(db: Database, guard?: MiddlewareHandler<OperatorEnv>): OperatorApp {
  const app = createOperatorApp(guard);
  for (const { addMonitorCalls } of RESOURCES) addMonitorCalls(app, db);
  return app;
}
