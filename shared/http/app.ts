// The HTTP side of every edge function: request id, errors as JSON, 404 and 405, and one log line per request.
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId, type RequestIdVariables } from "hono/request-id";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { ACCEPTED_CODINGS } from "./content_coding.ts";
import { SymphonyError, toSymphonyError } from "../errors.ts";
import type { JsonObject } from "../json.ts";
import type { Log } from "../log.ts";
import { isTracestate, parseTraceparent } from "../tracing/trace_context.ts";

const RETRY_AFTER = "1"; // seconds

// Without allowHeaders hono allows the headers that the browser requests. A list would be out of date with the next
// release of supabase-js (x-region, x-retry-count) or of a tracing SDK (baggage, sentry-trace, b3, x-datadog-*), and
// one missing name blocks the whole call. It would protect nothing: any origin may call, no cookie is read, and unused
// headers are ignored.
const CORS = {
  origin: "*",
  // No path has PATCH; allowed here, it gets a 405 that the page can read instead of a network error without a reason.
  allowMethods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
  exposeHeaders: ["x-request-id", "retry-after", "allow"],
  maxAge: 3_600, // seconds
};
const REGION_PARAMETER = "forceFunctionRegion";

type RequestEnv = { Variables: RequestIdVariables };
export type EdgeFunction = Hono<RequestEnv>;
export type RequestContext = Context<RequestEnv>;

export interface AppOptions {
  log: Log;
  /** Whether browsers of other origins may call; default: false. Safe, because tokens are headers and not cookies. */
  cors?: boolean;
  /** Whether only failed requests are logged; default: false. For endpoints that are polled every other second. */
  quiet?: boolean;
}

/** An edge function whose routes are relative to `/<name>`, the first part of the paths that it receives. */
export function createApp(name: string, options: AppOptions): EdgeFunction {
  const root = new Hono<RequestEnv>({ strict: false });
  root.use(requestId({ limitLength: 128 }), logLine(name, options), withoutRegion);
  if (options.cors) root.use(cors(CORS));
  root.use(methodNotAllowed({ app: root, onMethodNotAllowed: rejectMethod }));
  root.notFound((c) => reply(c, new SymphonyError("SM_NOT_FOUND", "There is nothing at this path.")));
  root.onError((thrown, c) => {
    const error = toSymphonyError(thrown);
    logFailure(c, error, options.log);
    return reply(c, error);
  });
  return root.basePath(`/${name}`);
}

/** The body of an error reply, also for one element of a batch. */
export function errorBody({ code, message, hint }: SymphonyError, request_id: string) {
  return { code, message, hint, request_id };
}

/** Logs an error that is not the caller's fault, with the request id of its reply. */
export function logFailure(c: RequestContext, error: SymphonyError, log: Log): void {
  if (error.status < 500) return;
  log.error("request failed", { request_id: c.get("requestId"), code: error.code, error: error.cause ?? error });
}

/**
 * The caller's trace headers that are stored with a message. Invalid ones are dropped; `tracestate` is stored only
 * beside a valid `traceparent`, as W3C requires. `baggage` is never stored: applications put private data into it.
 */
export function traceHeaders(c: RequestContext): JsonObject {
  const traceparent = c.req.header("traceparent");
  const tracestate = c.req.header("tracestate");
  const sent = c.req.header("x-request-id");
  return {
    ...(parseTraceparent(traceparent) && { traceparent, ...(isTracestate(tracestate) && { tracestate }) }),
    ...(sent && sent === c.get("requestId") && { "x-request-id": sent }),
  };
}

function reply(c: RequestContext, error: SymphonyError): Response {
  if (error.status === 503) c.header("Retry-After", RETRY_AFTER);
  if (error.status === 415) c.header("Accept-Encoding", ACCEPTED_CODINGS);
  const status = error.status as ContentfulStatusCode; // every status of the table has a body
  return c.json({ error: errorBody(error, c.get("requestId")) }, status);
}

function rejectMethod(c: Context, methods: string[]): Response {
  c.header("Allow", methods.join(", "));
  return reply(c, new SymphonyError("SM_METHOD", `The method ${c.req.method} is not allowed for this path.`));
}

/**
 * supabase-js repeats a region in the query, for the platform's router; endpoints with an exact query would reject it.
 */
const withoutRegion: MiddlewareHandler<RequestEnv> = async (c, next) => {
  const url = new URL(c.req.url);
  if (url.searchParams.has(REGION_PARAMETER)) {
    url.searchParams.delete(REGION_PARAMETER);
    c.req.raw = new Request(url, c.req.raw);
  }
  await next();
};

function logLine(name: string, { log, quiet }: AppOptions): MiddlewareHandler<RequestEnv> {
  return async (c, next) => {
    const start = performance.now();
    await next();
    if (quiet && c.res.ok) return;
    const ms = Math.round(performance.now() - start);
    const { method, path } = c.req;
    log.info("request", { function: name, method, path, status: c.res.status, ms, request_id: c.get("requestId") });
  };
}
