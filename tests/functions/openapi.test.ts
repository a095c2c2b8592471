// The document of the operators' API: every call of the two doors, and nothing else, in a form that tools can read.
import assert from "node:assert/strict";
import { createAdmin } from "../../shared/admin.ts";
import type { Database } from "../../shared/db.ts";
import type { Log } from "../../shared/log.ts";
import { createMonitor } from "../../shared/monitor.ts";
import { describeDoors } from "../../shared/openapi.ts";
import pack from "../../package.json" with { type: "json" };

const nothing = {} as Database & Log; // describing calls asks no database and logs nothing
const monitor = createMonitor(nothing);
const admin = createAdmin(nothing, nothing);
const description = JSON.parse(JSON.stringify(describeDoors(monitor, admin)));

const CALLS = [
  "delete /admin/failed/{id}",
  "delete /admin/schedules/{name}",
  "get /monitor/audit",
  "get /monitor/failed",
  "get /monitor/failed/{id}",
  "get /monitor/health",
  "get /monitor/messages",
  "get /monitor/messages/{id}",
  "get /monitor/messages/{id}/explain",
  "get /monitor/metrics",
  "get /monitor/metrics.prom",
  "get /monitor/queues",
  "get /monitor/schedules",
  "get /monitor/schedules/preview",
  "get /monitor/status",
  "get /monitor/transports",
  "get /monitor/workers",
  "post /admin/failed/discard",
  "post /admin/failed/retry",
  "post /admin/failed/{id}/retry",
  "post /admin/messages/{id}/cancel",
  "post /admin/queues/{transport}/{queue}/pause",
  "post /admin/queues/{transport}/{queue}/resume",
  "post /admin/schedules/{name}/pause",
  "post /admin/schedules/{name}/resume",
  "put /admin/flags/{name}",
  "put /admin/schedules/{name}",
  "put /admin/transports/{name}",
];

interface Operation {
  summary?: string;
  security?: unknown[];
  responses?: Record<string, { description?: string }>;
  parameters?: { name: string; in: string }[];
}
const operations = Object.entries<Record<string, Operation>>(description.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ call: `${method} ${path}`, path, operation }))
);

Deno.test("openapi · lists the calls of both doors, and no others", () => {
  assert.deepEqual(operations.map(({ call }) => call).sort(), CALLS);
});

Deno.test("openapi · every route that answers is described", () => {
  const served = [["monitor", monitor], ["admin", admin]] as const;
  const routes = served.flatMap(([door, app]) =>
    app.routes.filter(({ method }) => method !== "ALL").map(({ method, path }) =>
      `${method.toLowerCase()} /${door}${path.replace(/:(\w+)/g, "{$1}")}`
    )
  );
  assert.deepEqual([...new Set(routes)].sort(), CALLS);
});

Deno.test("openapi · each call has a summary, a way to show who calls, and its replies; each path parameter is described", () => {
  for (const { call, path, operation } of operations) {
    assert.ok(operation.summary && operation.security?.length === 2, call);
    assert.ok(operation.responses?.["200"]?.description, call);
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const described = operation.parameters?.filter((parameter) => parameter.in === "path").map(({ name }) => name) ??
      [];
    assert.deepEqual(described.sort(), named.sort(), call);
  }
  assert.deepEqual(Object.keys(description.components.securitySchemes).sort(), ["operator", "secretKey"]);
});

Deno.test("openapi · every reference leads somewhere, every schema has a type, a choice or a reference", () => {
  let references = 0;
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if ("$ref" in value && typeof value.$ref === "string") {
      references++;
      const target = value.$ref.split("/").slice(1).reduce<Record<string, unknown> | undefined>(
        (at, part) => at?.[part] as Record<string, unknown> | undefined,
        description,
      ); // walking a JSON document
      assert.ok(target, value.$ref);
    }
    Object.values(value).forEach(visit);
  };
  visit(description);
  assert.ok(references > 20, `${references} references`);
});

Deno.test("openapi · its version is the package's", () => {
  assert.deepEqual([description.openapi, description.info.version], ["3.1.0", pack.version]);
});
