// Feature flags: set to a percentage of their subjects.
import { createRoute, z } from "@hono/zod-openapi";
import type { Database } from "../db.ts";
import { bodyOf, boundedBody, callFor, type LogAction, type OperatorApp, put, replies } from "./app.ts";
import { count, nameInPath, time } from "./fields.ts";

export const flagReply = z.object({
  name: z.string(),
  percent: count.max(100).describe("the share of subjects for which the flag is on"),
  updated_by: z.string().nullable().describe("a user's id, or the name of a key"),
  updated_at: time,
}).openapi("Flag");

const putFlag = createRoute({
  ...put,
  path: "/flags/{name}",
  summary: "Set a flag to a percentage of its subjects; a higher percentage only adds subjects",
  middleware: boundedBody(false),
  request: {
    params: nameInPath,
    body: bodyOf(z.union([
      z.strictObject({ percent: z.int().min(0).max(100) }),
      z.strictObject({ enabled: z.boolean() }),
    ], { error: 'expected {"percent": a whole number from 0 to 100} or {"enabled": true or false}' })),
  },
  responses: replies(flagReply, "The flag"),
});

export function addAdminCalls(app: OperatorApp, db: Database, logAction: LogAction): void {
  app.openapi(putFlag, async (c) => {
    const { name } = c.req.valid("param");
    const body = c.req.valid("json");
    const percent = "percent" in body ? body.percent : body.enabled ? 100 : 0;
    const row = await callFor(flagReply, db, "messenger_set_flag", { name, percent, updated_by: c.get("actor") });
    logAction(c, "flag", name, percent);
    return c.json(row, 200);
  });
}
