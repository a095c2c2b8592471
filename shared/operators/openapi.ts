// The OpenAPI document of monitor and admin, generated from the calls of both.
import { createOperatorApp, type OperatorApp } from "./app.ts";

const INFO = {
  title: "Symphony Messenger: monitor and admin",
  version: "0.2.0",
  description: 'Monitors the message bus and operates it. Errors are `{"error": {code, message, hint, request_id}}`.',
};

/** Returns the OpenAPI 3.1 document of both edge functions. */
export function describeApi(monitor: OperatorApp, admin: OperatorApp) {
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
    description:
      "The access token of a user whose app_metadata.symphony_role is operator; for monitor, viewer is enough.",
  });
  return both.getOpenAPI31Document({ openapi: "3.1.0", info: INFO, servers: [{ url: "/functions/v1" }] });
}
