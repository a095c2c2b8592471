// What the descriptions of the operators' calls have in common, and how a request that does not fit them is rejected.
import { OpenAPIHono, type z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import type { Keys } from "../http/auth.ts";
import { type ErrorCode, SymphonyError } from "../errors.ts";
import { type BodyLimit, readJsonBody } from "../http/body.ts";
import { error } from "../operator_replies.ts";
import { authorizeOperator, type OperatorRole } from "./authorize.ts";
import { validationError } from "../parse.ts";

export type OperatorEnv = { Variables: { actor: string } };

/** How a caller may show who it is, by the names the document gives them. */
export const SECURITY: Record<string, string[]>[] = [{ secretKey: [] }, { operator: [] }];

const CODES: Record<string, ErrorCode> = {
  limit: "SM_BATCH",
  offset: "SM_BATCH",
  max: "SM_BATCH",
  perSecond: "SM_BATCH",
  count: "SM_BATCH",
  minutes: "SM_BATCH",
  percent: "SM_BATCH",
  payload: "SM_PAYLOAD_NOT_OBJECT",
  type: "SM_TYPE",
  config: "SM_TRANSPORT",
  cron: "SM_CRON",
  interval: "SM_INTERVAL",
  timezone: "SM_TIMEZONE",
};
// In a query these narrow a list.
const FILTERS = Object.fromEntries(
  [
    "id",
    "status",
    "type",
    "transport",
    "queue",
    "errorClass",
    "idempotencyKey",
    "orderingKey",
    "createdBy",
    "from",
    "to",
  ]
    .concat("resolved", "enabled", "name", "cursor").map((name) => [name, "SM_FILTER" as const]),
);

/** An app for described calls, whose errors are those of all edge functions. `guard` stands before every path, those that are not there too. */
export function createOperatorApp(guard?: MiddlewareHandler<OperatorEnv>): OpenAPIHono<OperatorEnv> {
  const app = new OpenAPIHono<OperatorEnv>({ strict: false, defaultHook: rejectInvalid({}) });
  if (guard) app.use("*", guard);
  app.use("*", storableAddress);
  return app;
}

/** Names in paths and filters in queries reach the database as texts, which cannot hold NUL. */
const storableAddress: MiddlewareHandler<OperatorEnv> = async (c, next) => {
  if (c.req.url.includes("%00")) {
    const [name] = Object.entries(c.req.queries()).find(([, values]) => values.some((text) => text.includes("\0"))) ??
      [];
    throw new SymphonyError("SM_NUL", `${name ?? "The path"} contains the NUL character \\u0000.`);
  }
  await next();
};

/** Lets operators of this role pass, and remembers who they are. */
export function only(least: OperatorRole, keys: Keys): MiddlewareHandler<OperatorEnv> {
  return async (c, next) => {
    c.set("actor", await authorizeOperator(c.req.raw, keys, least));
    await next();
  };
}

/** Rejects what does not fit its schema; `codes` are the errors of a body's fields where they differ from the usual. */
export function rejectInvalid(codes: Record<string, ErrorCode>) {
  return (result: { target: string; success: boolean; error?: { issues: readonly z.core.$ZodIssue[] } }): undefined => {
    if (!result.error) return undefined;
    if (result.target === "param") throw new SymphonyError("SM_NOT_FOUND", "There is nothing of this name.");
    const { issues } = result.error;
    const usual = result.target === "query" ? FILTERS : {};
    throw validationError(issues, { ...CODES, ...usual, ...codes });
  };
}

/** The replies of a call: what it answers, and the errors all have. */
export function replies<S extends z.ZodType>(schema: S, description: string) {
  return {
    200: { description, content: { "application/json": { schema } } },
    default: { description: "An error", content: { "application/json": { schema: error } } },
  };
}

/** The request body of a call. */
export function bodyOf<S extends z.ZodType>(schema: S, required = true) {
  return { required, content: { "application/json": { schema } } };
}

const BODY: BodyLimit = { bytes: 512 * 1024, code: "SM_PAYLOAD_TOO_LARGE", envelope: 2 };

/** Reads a body within the limits of all edge functions, and replaces it by the JSON that was decoded and checked. */
export function boundedBody(optional: boolean): MiddlewareHandler {
  return async (c, next) => {
    const body = JSON.stringify(await readJsonBody(c.req.raw, { ...BODY, optional }));
    const { method, url } = c.req;
    c.req.raw = new Request(url, { method, body, headers: { "content-type": "application/json" } });
    await next();
  };
}
