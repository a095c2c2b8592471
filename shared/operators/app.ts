// The app of an edge function for operators, and the parts that its routes share. Requests that do not fit their schema
// are rejected.
import { OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import type { Args, Database, FunctionName } from "../db.ts";
import { type ErrorCode, SymphonyError } from "../errors.ts";
import type { Keys } from "../http/auth.ts";
import { type BodyLimit, readJsonBody } from "../http/body.ts";
import type { JsonObject } from "../json.ts";
import { validationError } from "../parse.ts";
import { authorizeOperator, type OperatorRole } from "./authorize.ts";

export type OperatorEnv = { Variables: { actor: string } };
export type OperatorApp = OpenAPIHono<OperatorEnv>;

/** Writes the log line of an action: caller, action and object, and never a payload. */
export type LogAction = (c: Context<OperatorEnv>, action: string, target: unknown, outcome?: unknown) => void;

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
// Fields of a query that narrow a list.
const FILTERS: Record<string, ErrorCode> = Object.fromEntries(
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
    "resolved",
    "enabled",
    "name",
    "cursor",
  ].map((name) => [name, "SM_FILTER"]),
);

/** Creates an app for described calls. `guard` runs before every path, also before paths that do not exist. */
export function createOperatorApp(guard?: MiddlewareHandler<OperatorEnv>): OperatorApp {
  const app = new OpenAPIHono<OperatorEnv>({ strict: false, defaultHook: rejectInvalid({}) });
  if (guard) app.use("*", guard);
  app.use("*", rejectNul);
  return app;
}

/** Names in paths and filters in queries are sent to the database as texts, which cannot contain NUL. */
const rejectNul: MiddlewareHandler<OperatorEnv> = async (c, next) => {
  if (c.req.url.includes("%00")) {
    const [name] = Object.entries(c.req.queries()).find(([, values]) => values.some((text) => text.includes("\0"))) ??
      [];
    throw new SymphonyError("SM_NUL", `${name ?? "The path"} contains the NUL character \\u0000.`);
  }
  await next();
};

/** Requires a role, and stores the caller as the actor. */
export function only(least: OperatorRole, keys: Keys): MiddlewareHandler<OperatorEnv> {
  return async (c, next) => {
    c.set("actor", await authorizeOperator(c.req.raw, keys, least));
    await next();
  };
}

/** Rejects a request that does not fit its schema. `codes` has the error codes of fields that differ from CODES. */
export function rejectInvalid(codes: Record<string, ErrorCode>) {
  return (result: { target: string; success: boolean; error?: { issues: readonly z.core.$ZodIssue[] } }): undefined => {
    if (!result.error) return undefined;
    if (result.target === "param") throw new SymphonyError("SM_NOT_FOUND", "There is nothing of this name.");
    const { issues } = result.error;
    const usual = result.target === "query" ? FILTERS : {};
    throw validationError(issues, { ...CODES, ...usual, ...codes });
  };
}

/** The two ways in which a caller proves its identity, by their names in the OpenAPI document. */
const security: Record<string, string[]>[] = [{ secretKey: [] }, { operator: [] }];
const monitor = { tags: ["monitor"], security };
const admin = { tags: ["admin"], security };
/** The beginning of each route of monitor. */
export const get = { ...monitor, method: "get" as const };
/** The beginnings of the routes of admin. */
export const post = { ...admin, method: "post" as const };
export const put = { ...admin, method: "put" as const };
export const remove = { ...admin, method: "delete" as const };

const errorReply = z.object({
  error: z.object({
    code: z.string().describe("an SM_ code"),
    message: z.string(),
    hint: z.string().describe("the next step"),
    request_id: z.string(),
  }),
}).openapi("ErrorReply");
export const errors = {
  default: { description: "An error", content: { "application/json": { schema: errorReply } } },
};

/** The responses of a call: its reply, and the errors that all calls have. */
export function replies<S extends z.ZodType>(schema: S, description: string) {
  return { 200: { description, content: { "application/json": { schema } } }, ...errors };
}

/** The reply of an action that returns nothing else. */
export const done = z.object({ success: z.literal(true) });

/** The request body of a call. */
export function bodyOf<S extends z.ZodType>(schema: S, required = true) {
  return { required, content: { "application/json": { schema } } };
}

const BODY: BodyLimit = { bytes: 512 * 1024, code: "SM_PAYLOAD_TOO_LARGE", envelope: 2 };

/** Reads a body within the limits of all edge functions, and replaces it with the JSON that was decoded and checked. */
export function boundedBody(optional: boolean): MiddlewareHandler {
  return async (c, next) => {
    const body = JSON.stringify(await readJsonBody(c.req.raw, { ...BODY, optional }));
    const { method, url } = c.req;
    c.req.raw = new Request(url, { method, body, headers: { "content-type": "application/json" } });
    await next();
  };
}

/**
 * Calls an SQL function that returns JSON, typed by the schema of the reply. The JSON is not parsed: the function
 * belongs to the same release, and tests/functions/replies.test.ts compares real replies with their schemas.
 */
export async function callFor<S extends z.ZodType, F extends FunctionName>(
  _schema: S,
  db: Database,
  name: F,
  args: Args<F>,
): Promise<z.output<S>> {
  return await db.call(name, args) as z.output<S>; // see above
}

/** Arguments of an SQL function that lists rows in pages. */
interface ListArgs {
  filter: JsonObject;
  cursor?: string;
  max: number;
  skip?: number;
}

/** Calls an SQL function that lists rows in pages. Its reply is typed as that of `callFor`, and not parsed either. */
export async function callList<List>(db: Database, name: FunctionName, args: ListArgs): Promise<List> {
  return await db.call(name, args) as List; // see above
}
