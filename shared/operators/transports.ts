// Transports: listed, created, changed.
import { createRoute, z } from "@hono/zod-openapi";
import type { Database } from "../db.ts";
import type { JsonObject } from "../json.ts";
import {
  bodyOf,
  boundedBody,
  callFor,
  get,
  type LogAction,
  type OperatorApp,
  put,
  rejectInvalid,
  replies,
} from "./app.ts";
import { jsonObject, nameInPath, noQuery, time } from "./fields.ts";

const type = z.enum(["sync", "supabase", "redis", "rabbitmq", "sqs"]);
const interval = z.union([z.string(), z.number()]).nullish();

// Loose: the settings of a broker are its own.
const config = z.looseObject({
  retention: interval.describe("how long finished messages are kept; default: 7 days, 0: not at all"),
  failed_retention: interval.describe("how long resolved dead letters are kept; default: 30 days"),
  idempotency_window: interval.describe("how long an idempotency key is remembered; default: 24 hours"),
  ordering_dead_letter: z.enum(["block", "continue"]).nullish()
    .describe("whether an open dead letter blocks the messages of its ordering key; default: continue"),
}).describe("intervals with a unit, such as 7 days; secrets are stored in Vault or the environment, never here");

const transport = z.object({
  id: z.uuid(),
  name: z.string(),
  type,
  config,
  enabled: z.boolean(),
  created_at: time,
  updated_at: time,
});
export const transportReply = transport.openapi("Transport");
export type Transport = z.output<typeof transportReply>;

export const transportsReply = z.object({ transports: z.array(transportReply) }).openapi("Transports");
export type Transports = z.output<typeof transportsReply>;

const listTransports = createRoute({
  ...get,
  path: "/transports",
  summary: "List the transports with their settings",
  request: { query: noQuery },
  responses: replies(transportsReply, "The transports in order of their names"),
});

const putTransport = createRoute({
  ...put,
  path: "/transports/{name}",
  summary: "Create a transport, or change the given fields of an existing one",
  middleware: boundedBody(false),
  request: {
    params: nameInPath,
    body: bodyOf(z.strictObject({
      type: type.optional(),
      config: jsonObject.optional().describe("replaces the whole config; it names secrets and holds none"),
      enabled: z.boolean().optional(),
    })),
  },
  responses: replies(transportReply, "The transport"),
});

export function addMonitorCalls(app: OperatorApp, db: Database): void {
  app.openapi(
    listTransports,
    async (c) => c.json(await callFor(transportsReply, db, "messenger_list_transports", {}), 200),
  );
}

export function addAdminCalls(app: OperatorApp, db: Database, logAction: LogAction): void {
  app.openapi(putTransport, async (c) => {
    const { name } = c.req.valid("param");
    const { type, config, enabled } = c.req.valid("json");
    const row = await callFor(transportReply, db, "messenger_put_transport", {
      name,
      type,
      config: config as JsonObject, // from a JSON body
      enabled,
    });
    logAction(c, "transport", name, { type, enabled });
    return c.json(row, 200);
  }, rejectInvalid({ type: "SM_TRANSPORT" }));
}
