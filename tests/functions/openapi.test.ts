// The OpenAPI document of monitor and admin: it lists exactly their calls, and is valid OpenAPI 3.1.
import assert from "node:assert/strict";
import type { Database } from "../../shared/db.ts";
import { createLog } from "../../shared/log.ts";
import { createAdmin } from "../../shared/operators/admin.ts";
import { createOperatorApp, type OperatorApp } from "../../shared/operators/app.ts";
import { createMonitor } from "../../shared/operators/monitor.ts";
import { describeApi } from "../../shared/operators/openapi.ts";
import { test } from "../project.ts";
import { useTarget } from "../target.ts";

const { target } = useTarget();

const CALLS = [
  "DELETE /admin/failed/{id}",
  "DELETE /admin/schedules/{name}",
  "GET /monitor/audit",
  "GET /monitor/failed",
  "GET /monitor/failed/{id}",
  "GET /monitor/health",
  "GET /monitor/messages",
  "GET /monitor/messages/{id}",
  "GET /monitor/messages/{id}/explain",
  "GET /monitor/metrics",
  "GET /monitor/metrics.prom",
  "GET /monitor/queues",
  "GET /monitor/schedules",
  "GET /monitor/schedules/preview",
  "GET /monitor/status",
  "GET /monitor/transports",
  "GET /monitor/workers",
  "POST /admin/failed/discard",
  "POST /admin/failed/retry",
  "POST /admin/failed/{id}/retry",
  "POST /admin/messages/{id}/cancel",
  "POST /admin/queues/{transport}/{queue}/pause",
  "POST /admin/queues/{transport}/{queue}/resume",
  "POST /admin/schedules/{name}/pause",
  "POST /admin/schedules/{name}/resume",
  "PUT /admin/flags/{name}",
  "PUT /admin/schedules/{name}",
  "PUT /admin/transports/{name}",
];
const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

interface Operation {
  summary?: string;
  operationId?: string;
  parameters?: { name: string; in: string; required?: boolean; schema?: unknown }[];
  responses?: Record<string, { description?: string; content?: Record<string, { schema?: unknown }> }>;
  security?: Record<string, string[]>[];
}
interface Document {
  openapi: string;
  info: { title?: string; version?: string };
  servers: { url: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: Record<string, Record<string, unknown>>;
}

async function fetchDocument(): Promise<Document> {
  const { status, body } = await target().call("monitor/openapi.json", { as: "nobody" });
  assert.equal(status, 200);
  return body as unknown as Document; // the tests check it
}

const operationsOf = (document: Document) =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation }))
  );
const callsOf = (document: Document) =>
  operationsOf(document).map(({ path, method }) => `${method.toUpperCase()} ${path}`).sort();

/** The faults of a document, as sentences. */
function faultsOf(document: Document): string[] {
  const faults: string[] = [];
  const expect = (sound: unknown, fault: string) => {
    if (!sound) faults.push(fault);
  };
  expect(/^3\.1\.\d+$/.test(document.openapi), "openapi is not 3.1");
  expect(document.info?.title && document.info.version, "info lacks title or version");
  for (const { path, method, operation } of operationsOf(document)) {
    const at = `${method} ${path}`;
    expect(path.startsWith("/"), `${at}: the path is relative`);
    expect(METHODS.includes(method), `${at}: not a method`);
    expect(operation.summary, `${at}: no summary`);
    const statuses = Object.keys(operation.responses ?? {});
    expect(statuses.some((status) => /^2\d\d$/.test(status)), `${at}: no response for success`);
    expect(statuses.includes("default"), `${at}: no response for errors`);
    expect(statuses.every((status) => /^([1-5]\d\d|default)$/.test(status)), `${at}: an odd status`);
    for (const [status, response] of Object.entries(operation.responses ?? {})) {
      expect(response.description, `${at} ${status}: no description`);
      expect(Object.values(response.content ?? {}).every(({ schema }) => schema), `${at} ${status}: no schema`);
    }
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
    const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
    expect(named.join() === inPath.map(({ name }) => name).sort().join(), `${at}: parameters differ from the path's`);
    expect(inPath.every(({ required }) => required === true), `${at}: a path's parameter is optional`);
    for (const { name, in: place, schema } of operation.parameters ?? []) {
      expect(schema && ["path", "query"].includes(place), `${at}: the parameter ${name}`);
    }
    expect(operation.security?.length, `${at}: no security`);
    for (const scheme of (operation.security ?? []).flatMap((each) => Object.keys(each))) {
      expect(document.components.securitySchemes?.[scheme], `${at}: no security scheme ${scheme}`);
    }
  }
  for (const ref of refsOf(document)) expect(resolve(document, ref), `${ref} leads nowhere`);
  for (const [kind, all] of Object.entries(document.components)) {
    for (const name of Object.keys(all)) expect(/^[a-zA-Z0-9._-]+$/.test(name), `${kind}.${name}: an odd name`);
  }
  return faults;
}

function refsOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "$ref" && typeof inner === "string" ? [inner] : refsOf(inner)
  );
}

function resolve(document: Document, ref: string): unknown {
  if (!ref.startsWith("#/")) return undefined;
  return ref.slice(2).split("/").reduce<unknown>(
    (at, key) =>
      typeof at === "object" && at !== null
        ? Object.entries(at).find(([name]) => name === key.replaceAll("~1", "/").replaceAll("~0", "~"))?.[1]
        : undefined,
    document,
  );
}

const db = {} as Database; // routes are only listed here, and no call is made
const apps = (): [monitor: OperatorApp, admin: OperatorApp] => [
  createMonitor(db),
  createAdmin(db, createLog({}, () => {})),
];
/** All routes of an app, also those without a description. */
const routesOf = (name: string, app: OperatorApp) =>
  app.routes.filter(({ method }) => method !== "ALL").map(({ method, path }) =>
    `${method} /${name}${path.replace(/:(\w+)(\{[^}]*\})?/g, "{$1}")}`
  );
const liveCalls = ([monitor, admin]: ReturnType<typeof apps>) =>
  [...new Set([...routesOf("monitor", monitor), ...routesOf("admin", admin)])].sort();

test("openapi · lists exactly the calls of both edge functions", async () => {
  assert.deepEqual(callsOf(await fetchDocument()), CALLS);
});

test("openapi · every route of the edge functions is in the document, and the other way round", async () => {
  assert.deepEqual(liveCalls(apps()), CALLS);
  assert.deepEqual(callsOf(await fetchDocument()), liveCalls(apps()));
});

test("openapi · every listed path exists in the edge functions", async () => {
  for (const { path, method } of operationsOf(await fetchDocument())) {
    const filled = path.slice(1).replace(/\{\w+\}/g, "none");
    // A caller without credentials gets 401 at any path; a wrong method gets 405 only at a path that exists.
    assert.equal((await target().call(filled, { method: method.toUpperCase(), as: "nobody" })).status, 401, path);
    const other = await target().call(filled, { method: "PATCH" });
    assert.equal(other.status, 405, path);
    assert.ok(other.headers.get("allow")?.split(", ").includes(method.toUpperCase()), path);
  }
});

test("openapi · is valid", async () => {
  const document = await fetchDocument();
  assert.deepEqual(faultsOf(document), []);
  assert.deepEqual(Object.keys(document.components.securitySchemes).sort(), ["operator", "secretKey"]);
  assert.deepEqual(document.servers.map(({ url }) => url), ["/functions/v1"]);
  assert.ok(refsOf(document).length > 20, "the replies are named components");
});

Deno.test("openapi · every file with calls is in the registry of its edge function", async () => {
  const folder = new URL("../../shared/operators/", import.meta.url);
  for (const [name, registration] of [["monitor", "addMonitorCalls"], ["admin", "addAdminCalls"]]) {
    const registry = await Deno.readTextFile(new URL(`${name}.ts`, folder));
    for await (const { name: file } of Deno.readDir(folder)) {
      const text = await Deno.readTextFile(new URL(file, folder));
      if (!text.includes(`export function ${registration}(`)) continue;
      const imported = registry.match(new RegExp(`import \\* as (\\w+) from "\\./${file}"`))?.[1];
      const listed = registry.match(/RESOURCES = \[([^\]]*)\]/)?.[1].split(",").map((each) => each.trim());
      assert.ok(imported && listed?.includes(imported), `${file} is not in ${name}.ts`);
    }
  }
});

Deno.test("openapi · a route without description is noticed", () => {
  const [monitor, admin] = apps();
  monitor.get("/hidden", (c) => c.text("hidden"));
  const described = callsOf(describeApi(monitor, admin) as unknown as Document); // read as above
  assert.deepEqual(liveCalls([monitor, admin]).filter((call) => !described.includes(call)), ["GET /monitor/hidden"]);
});

Deno.test("openapi · an edge function that lacks a call is noticed", () => {
  const [, admin] = apps();
  const described = callsOf(describeApi(createOperatorApp(), admin) as unknown as Document); // read as above
  assert.deepEqual(CALLS.filter((call) => !described.includes(call)), CALLS.filter((call) => call.includes("monitor")));
});

const PLANTED: [what: string, plant: (document: Document) => void, fault: RegExp][] = [
  ["an older version", (document) => document.openapi = "3.0.3", /not 3\.1/],
  ["a call without summary", ({ paths }) => delete paths["/monitor/status"].get.summary, /no summary/],
  ["a call without responses", ({ paths }) => delete paths["/monitor/status"].get.responses, /no response for success/],
  ["a reference that leads nowhere", ({ components }) => delete components.schemas.Status, /Status leads nowhere/],
  ["a scheme that is not there", ({ components }) => delete components.securitySchemes.operator, /scheme operator/],
  [
    "a parameter that is not described",
    ({ paths }) => paths["/monitor/messages/{id}"].get.parameters = [],
    /parameters differ/,
  ],
];
for (const [what, plant, fault] of PLANTED) {
  test(`openapi · ${what} is noticed`, async () => {
    const document = await fetchDocument();
    plant(document);
    assert.match(faultsOf(document).join("\n"), fault);
  });
}
