// Serves the page on loopback, and forwards its calls to the project's edge functions monitor and admin. It adds the
// secret key, which never leaves this process.
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import type { Access } from "./access.ts";
import type { Bundle } from "./bundle.ts";
import type { Project } from "./project.ts";

const HEADERS = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
};

const FORWARDED = ["content-type", "x-request-id"];

const API = /^\/(monitor|admin)\//;

/**
 * Creates the loopback server.
 * @param access the browsers that are signed in
 * @param hosts its own host names with the port; any other name was rebound to this address
 */
export async function createServer(
  project: Project,
  page: Bundle,
  access: Access,
  hosts: () => string[],
): Promise<Hono> {
  const read = (file: string) => Deno.readTextFile(new URL(file, import.meta.url));
  const [html, icon, signedOut] = await Promise.all(["index.html", "icon.svg", "signed_out.html"].map(read));
  const app = new Hono();

  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value);
  });
  app.use(onlyOwnPage(hosts));
  app.use(onlySignedIn(access, signedOut));
  app.get("/", (c) => c.html(html));
  app.get("/icon.svg", (c) => c.body(icon, 200, { "content-type": "image/svg+xml" }));
  app.get("/app.css", (c) => c.body(page.style, 200, { "content-type": "text/css; charset=utf-8" }));
  app.get("/app.js", (c) => c.body(page.script, 200, { "content-type": "text/javascript; charset=utf-8" }));
  app.on(["GET", "POST", "PUT", "DELETE"], ["/monitor/*", "/admin/*"], async (c) => {
    // A script of another origin can set it only after a preflight request, which is never granted.
    if (!c.req.header("x-symphony-dashboard")) {
      return errorReply("SM_FIELD_FORBIDDEN", 403, "Only the dashboard's page may make this call.");
    }
    const { pathname, search } = new URL(c.req.url);
    // Once decoded, "/monitor/%2e%2e/dispatch" is the path of another edge function.
    if (!API.test(pathname)) return errorReply("SM_NOT_FOUND", 404, "There is nothing at this path.");
    const type = c.req.header("content-type");
    try {
      const reply = await fetch(`${project.url}/functions/v1${pathname}${search}`, {
        method: c.req.method,
        headers: { apikey: project.secretKey, ...(type && { "content-type": type }) },
        body: c.req.method === "GET"
          ? undefined
          : await c.req.arrayBuffer().then((body) => body.byteLength ? body : undefined),
        redirect: "manual",
        signal: AbortSignal.timeout(15_000),
      });
      const headers = new Headers();
      for (const name of FORWARDED) if (reply.headers.has(name)) headers.set(name, reply.headers.get(name) ?? "");
      return new Response(reply.body, { status: reply.status, headers });
    } catch (error) {
      const late = error instanceof DOMException && error.name === "TimeoutError";
      const message = late
        ? "The project did not respond within 15 seconds."
        : `The project at ${project.url} cannot be reached.`;
      return errorReply(
        "SM_UNAVAILABLE",
        503,
        message,
        "Check that the project is running. For a local project: npm start",
      );
    }
  });
  return app;
}

function onlyOwnPage(hosts: () => string[]): MiddlewareHandler {
  return async (c, next) => {
    const site = c.req.header("sec-fetch-site");
    const origin = c.req.header("origin");
    const isOwnPage = hosts().includes(c.req.header("host") ?? "") &&
      (origin === undefined || origin === `http://${c.req.header("host")}`) &&
      (site === undefined || site === "same-origin" || site === "none" ||
        (c.req.path === "/" && c.req.method === "GET"));
    if (!isOwnPage) {
      return errorReply("SM_FIELD_FORBIDDEN", 403, "The dashboard serves only its own page, on loopback.");
    }
    await next();
  };
}

/** Requires a session's cookie, and exchanges the token of the printed address for one. */
function onlySignedIn(access: Access, signedOut: string): MiddlewareHandler {
  return async (c, next) => {
    const token = c.req.method === "GET" && c.req.path === "/" ? c.req.query("token") : undefined;
    const cookie = cookieName(c);
    if (access.isSignedIn(getCookie(c, cookie))) {
      // A browser that is signed in does not use the token, so the address stays valid for another browser.
      return token === undefined ? await next() : c.redirect("/", 303);
    }
    const session = token === undefined ? undefined : access.signIn(token);
    if (session !== undefined) {
      setCookie(c, cookie, session, { httpOnly: true, sameSite: "Strict", path: "/" });
      return c.redirect("/", 303);
    }
    if (API.test(c.req.path)) return errorReply("SM_UNAUTHENTICATED", 401, "This browser is not signed in.");
    return c.html(signedOut, 401);
  };
}

/** Browsers ignore the port of a cookie: with one name, the dashboards of two projects would sign each other out. */
function cookieName(c: Context): string {
  return `symphony_dashboard_${new URL(c.req.url).port}`;
}

function errorReply(
  code: string,
  status: number,
  message: string,
  hint = "Open the last address that npm run dashboard printed.",
): Response {
  return Response.json({ error: { code, message, hint, request_id: "" } }, { status });
}
