// What all edge functions share: request id, errors as JSON, 404 and 405, and one log line a request.
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

// Without allowHeaders hono allows the headers that the browser asks for. A list would be out of date with the next
// release of supabase-js (x-region, x-retry-count) or of a tracing SDK (baggage, sentry-trace, b3, x-datadog-*), and
// one missing name blocks the whole call. Nor would it protect anything: any origin may call, no cookie is read, and
// headers that an edge function has no use for are ignored.
const CORS = {
  origin: "*",
  // PATCH, which no path has, gets a 405 that the page can read instead of a network error without a reason.
  allowMethods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
  exposeHeaders: ["x-request-id", "retry-after", "allow"],
  maxAge: 3_600, // seconds
};
const REGION_PARAMETER = "forceFunctionRegion";

type AppEnv = { Variables: RequestIdVariables };
export type App = Hono<AppEnv>;
export type AppContext = Context<AppEnv>;

export interface AppOptions {
  log: Log;
  /** Whether browsers of other origins may call: tokens travel in headers, so no cookie is at stake. */
  cors?: boolean;
  /** Whether requests that succeed go without a log line: whoever watches asks every other second. */
  quiet?: boolean;
}

/** An app whose routes are relative to `/<name>`, as edge functions see their path. */
export function createApp(name: string, options: AppOptions): App {
  const root = new Hono<AppEnv>({ strict: false });
  root.use(requestId({ limitLength: 128 }), logLine(name, options), withoutRegion);
  if (options.cors) root.use(cors(CORS));
  root.use(methodNotAllowed({ app: root, onMethodNotAllowed: rejectMethod }));
  root.notFound((c) => reply(c, new SymphonyError("SM_NOT_FOUND", "There is nothing at this path.")));
  root.onError((thrown, c) => {
    const error = toSymphonyError(thrown);
    noteFailure(c, error, options.log);
    return reply(c, error);
  });
  return root.basePath(`/${name}`);
}

/** The body of an error reply, also for one element of a batch. */
export function errorBody({ code, message, hint }: SymphonyError, request_id: string) {
  return { code, message, hint, request_id };
}

/** Logs what was not the caller's mistake, under the request id that its reply carries. */
export function noteFailure(c: AppContext, error: SymphonyError, log: Log): void {
  if (error.status < 500) return;
  log.error("request failed", { request_id: c.get("requestId"), code: error.code, error: error.cause ?? error });
}

/**
 * The caller's trace headers that are stored with a message. A garbled one is dropped; `tracestate` is stored beside a
 * valid `traceparent` only, as W3C demands. `baggage` is never stored: applications put private data into it.
 */
export function traceOf(c: AppContext): JsonObject {
  const traceparent = c.req.header("traceparent");
  const tracestate = c.req.header("tracestate");
  const sent = c.req.header("x-request-id");
  return {
    ...(parseTraceparent(traceparent) && { traceparent, ...(isTracestate(tracestate) && { tracestate }) }),
    ...(sent && sent === c.get("requestId") && { "x-request-id": sent }),
  };
}

function reply(c: AppContext, error: SymphonyError): Response {
  if (error.status === 503) c.header("Retry-After", RETRY_AFTER);
  if (error.status === 415) c.header("Accept-Encoding", ACCEPTED_CODINGS);
  const status = error.status as ContentfulStatusCode; // every status of the table has a body
  return c.json({ error: errorBody(error, c.get("requestId")) }, status);
}

function rejectMethod(c: Context, methods: string[]): Response {
  c.header("Allow", methods.join(", "));
  return reply(c, new SymphonyError("SM_METHOD", `The method ${c.req.method} is not for this path.`));
}

/** supabase-js repeats a region in the query, for the platform's router; queries that are exact would reject it. */
const withoutRegion: MiddlewareHandler<AppEnv> = async (c, next) => {
  const url = new URL(c.req.url);
  if (url.searchParams.has(REGION_PARAMETER)) {
    url.searchParams.delete(REGION_PARAMETER);
    c.req.raw = new Request(url, c.req.raw);
  }
  await next();
};

function logLine(name: string, { log, quiet }: AppOptions): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const start = performance.now();
    await next();
    if (quiet && c.res.ok) return;
    const ms = Math.round(performance.now() - start);
    const { method, path } = c.req;
    log.info("request", { function: name, method, path, status: c.res.status, ms, request_id: c.get("requestId") });
  };
}
