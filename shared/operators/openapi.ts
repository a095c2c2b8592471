// The document of the operators' API, made from the calls of both edge functions.
import type { OpenAPIHono } from "@hono/zod-openapi";
import { createOperatorApp, type OperatorEnv } from "./app.ts";

const INFO = {
  title: "Symphony Messenger: monitor and admin",
  version: "0.2.0",
  description:
    'See what the message bus does, and steer it. Failures are `{"error": {code, message, hint, request_id}}`.',
};

/** OpenAPI 3.1 of the monitor and admin edge functions. */
export function describeApi(monitor: OpenAPIHono<OperatorEnv>, admin: OpenAPIHono<OperatorEnv>) {
  const both = createOperatorApp();
  both.route("/monitor", monitor);
  both.route("/admin", admin);
  both.openAPIRegistry.registerComponent("securitySchemes", "secretKey", {
    type: "apiKey",
    in: "header",
    name: "apikey",
    description: "A secret key of the project.",
  });
  both.openAPIRegistry.registerComponent("securitySchemes", "operator", {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description: "The access token of a user whose app_metadata.symphony_role is operator, or viewer for monitor.",
  });
  return both.getOpenAPI31Document({ openapi: "3.1.0", info: INFO, servers: [{ url: "/functions/v1" }] });
}
