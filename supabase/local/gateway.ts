// The HTTP gateway: the data API, the edge functions and the published keys, under the paths of a hosted project.
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { ApiError, toApiError } from "./api_error.ts";
import type { Catalog } from "./catalog.ts";
import type { Pool } from "./connection.ts";
import { bearerOf, type Identifier } from "./identity.ts";
import type { Keys } from "./keys.ts";
import type { Runner } from "./runner.ts";
import { callWithBody, callWithQuery } from "./rpc.ts";
import { readRows } from "./rows.ts";
import type { Reply } from "./session.ts";

const LARGEST_BODY = 20 * 1024 * 1024;
const SINGLE = "application/vnd.pgrst.object+json";

export interface GatewayParts {
  /** Connections with the role authenticator. */
  pool: Pool;
  catalog: Catalog;
  identifier: Identifier;
  keys: Keys;
  runner?: Runner;
}

export function createGateway({ pool, catalog, identifier, keys, runner }: GatewayParts): Hono {
  const app = new Hono();
  app.onError((error) => toApiError(error, "anon").toResponse());
  app.notFound(() => new ApiError(404, "PGRST125", "Invalid path specified in request URL").toResponse());

  app.use(
    "/rest/v1/*",
    cors({ origin: "*", exposeHeaders: ["Content-Range"] }),
    bodyLimit({ maxSize: LARGEST_BODY, onError: () => new ApiError(413, "413", "Payload too large").toResponse() }),
  );

  app.post("/rest/v1/rpc/:name", async (c) => {
    const caller = await identifier.identify(c.req.raw);
    const call = await callWithBody(pool, catalog, caller, c.req.raw, c.req.param("name"));
    return call.routine.returns === "void" ? c.body(null, 204) : replyJson(c.req.raw, call.reply, call.routine.set);
  });

  app.get("/rest/v1/rpc/:name", async (c) => {
    const caller = await identifier.identify(c.req.raw);
    const call = await callWithQuery(pool, catalog, caller, c.req.raw, c.req.param("name"));
    return call.routine.returns === "void" ? c.body(null, 204) : replyJson(c.req.raw, call.reply, call.routine.set);
  });

  app.get("/rest/v1/:table", async (c) => {
    const caller = await identifier.identify(c.req.raw);
    return replyJson(c.req.raw, await readRows(pool, catalog, caller, c.req.raw, c.req.param("table")), true);
  });

  app.on(["POST", "PUT", "PATCH", "DELETE"], "/rest/v1/:table", () => {
    const message = "The local stand-in reads tables and calls functions; it does not write tables over HTTP.";
    return new ApiError(501, "LOCAL_NOT_IMPLEMENTED", message).toResponse();
  });

  app.get("/auth/v1/.well-known/jwks.json", (c) => c.json(keys.publicJwks));

  app.all("/functions/v1/:name/*", (c) => toFunction(c.req.raw, c.req.param("name")));
  app.all("/functions/v1/:name", (c) => toFunction(c.req.raw, c.req.param("name")));

  async function toFunction(request: Request, name: string): Promise<Response> {
    const config = runner?.config(name);
    if (!runner || !config) return errorResponse(404, "NOT_FOUND", "Requested function was not found");
    if (config.verifyJwt && request.method !== "OPTIONS") {
      const token = bearerOf(request);
      if (!token) return errorResponse(401, "UNAUTHORIZED_NO_AUTH_HEADER", "Missing authorization header");
      try {
        await identifier.verify(token);
      } catch {
        return errorResponse(401, "UNAUTHORIZED_INVALID_JWT_FORMAT", "Invalid JWT");
      }
    }
    return await runner.handle(name, request);
  }

  return app;
}

function replyJson(request: Request, { body, rows, total }: Reply, set: boolean): Response {
  const single = request.headers.get("accept")?.includes(SINGLE) ?? false;
  if (single && set) {
    if (rows !== 1) {
      throw new ApiError(
        406,
        "PGRST116",
        "Cannot coerce the result to a single JSON object",
        `The result contains ${rows} rows`,
      );
    }
    // The array of one row, without its brackets.
    return new Response(body?.slice(1, -1), { headers: { "content-type": `${SINGLE}; charset=utf-8` } });
  }
  const first = Number(new URL(request.url).searchParams.get("offset") ?? 0);
  const range = rows === 0 ? "*" : `${first}-${first + rows - 1}`;
  const hasTotal = typeof total === "number";
  return new Response(body, {
    status: hasTotal && rows < total ? 206 : 200,
    headers: {
      "content-type": "application/json; charset=utf-8",
      "content-range": `${range}/${hasTotal ? total : "*"}`,
    },
  });
}

function errorResponse(status: number, code: string, message: string): Response {
  return Response.json({ code, message }, { status });
}
