// Real replies of monitor and admin against the schemas of their OpenAPI document, both ways: a reply has no field that
// its schema lacks, and every field of a schema has a value in some reply.
import assert from "node:assert/strict";
import { z } from "@hono/zod-openapi";
import type { Sql } from "postgres";
import type { Database } from "../../shared/db.ts";
import { createLog } from "../../shared/log.ts";
import { createAdmin } from "../../shared/operators/admin.ts";
import type { OperatorApp } from "../../shared/operators/app.ts";
import { createMonitor } from "../../shared/operators/monitor.ts";
import { setScene } from "../dashboard/scene.ts";
import { call, claim, deadLetterOf, dispatch, dispatchAndClaim, settle } from "../supabase/bus.ts";
import { type Call, testLocally, useTarget } from "../target.ts";

const { target, project } = useTarget();
const USER = crypto.randomUUID();
const LONGEST_SEARCH = 20_000; // rows per call

interface Scene {
  deadLetters: string[];
  waiting: string[];
  running: string;
  finished: string;
  retried: string;
  discarded: string;
}

/** tests/dashboard/scene.ts has most of it; this adds what sets the remaining fields. */
async function setWholeScene(sql: Sql): Promise<Scene> {
  await setScene(sql, `${target().url}/functions/v1`);
  const dead = [];
  for (let n = 0; n < 12; n++) {
    const { id, fence } = await dispatchAndClaim(sql, {
      type: "Doomed",
      queue: "doomed",
      idempotency_key: `doomed-${n}`,
    });
    await settle(sql, [{
      id,
      fence,
      outcome: "failed",
      error: "no route to host",
      error_class: "Unreachable",
      error_trace: "at handle (doomed.ts:1)",
      retryable: false,
      duration_ms: 30,
    }]);
    dead.push((await deadLetterOf(sql, id)).id);
  }
  await sql`update messenger_failed_messages set created_by = ${USER} where id = ${dead[0]}`;

  const finished = await dispatchAndClaim(sql, { type: "Report", queue: "monthly", ordering_key: "customer-8" });
  await settle(sql, [{ id: finished.id, fence: finished.fence, outcome: "completed", result: { pages: 3 } }]);
  const retried = await dispatchAndClaim(sql, { type: "Flaky", queue: "flaky" });
  await settle(sql, [{
    id: retried.id,
    fence: retried.fence,
    outcome: "failed",
    error: "connection reset",
    error_class: "Reset",
    error_trace: "at handle (flaky.ts:1)",
    delay_ms: 3_600_000,
    duration_ms: 20,
  }]);
  const waiting = [];
  for (let n = 0; n < 2; n++) {
    waiting.push(await dispatch(sql, { type: "Later", queue: "later", delay: "1 hour", expires_at: "2100-01-01" }));
  }
  const running = await dispatchAndClaim(sql, {
    type: "Import",
    queue: "import",
    ordering_key: "a",
    idempotency_key: "import-1",
  }, {
    worker: "container-1",
    transport: "supabase",
    queues: ["import"],
    types: ["Import"],
  });
  await sql`update messenger_messages set created_by = ${USER}, progress = '{"rows": 7}' where id = ${running.id}`;
  await call(sql, "messenger_cancel", { id: running.id });

  // A retry at a rate that was stopped, because six of eight failed again.
  await call(sql, "messenger_retry_failed", { ids: dead.slice(4), per_second: 1_000 });
  await sql`select pg_sleep(0.02)`; // the last of them is due after 7 ms
  await sql`update messenger_messages set available_at = messenger.now() + interval '1 hour'
    where id in (select message_id from messenger.replayed limit 2)`;
  const again = await claim(sql, { queues: ["doomed"], batch: 8 });
  await settle(
    sql,
    again.map(({ id, fence }) => ({ id, fence, outcome: "failed", error: "no route to host", retryable: false })),
  );
  await call(sql, "messenger_tick");
  await call(sql, "messenger_discard_failed", { ids: [dead[3]] });

  await call(sql, "messenger_pause", { transport: "supabase", queue: "later" });
  await call(sql, "messenger_resume", { transport: "supabase", queue: "later" });
  await call(sql, "messenger_schedule", { name: "once", type: "Digest", schedule: { at: "2030-01-31T09:00:00Z" } });
  await call(sql, "messenger_schedule", {
    name: "often",
    type: "Digest",
    schedule: { interval: 1_000, startAt: "2026-01-01T00:00:00Z" },
    options: { max_runs: 9, starts_at: "2026-01-01T00:00:00Z", ends_at: "2100-01-01T00:00:00Z" },
  });
  await sql`update messenger_schedules set next_run_at = messenger.now() - interval '1 second' where name = 'often'`;
  await call(sql, "messenger_tick");
  await sql`update messenger_schedules set last_error = 'broken' where name = 'often'`;
  await sql`update messenger.clock set last_error = 'broken', last_error_at = messenger.now()`;
  await sql`update messenger_transports set config =
    '{"retention": "7 days", "failed_retention": "60 days", "idempotency_window": "1 day",
      "ordering_dead_letter": "block"}'
    where name = 'supabase'`;

  // A search without a match visits so many rows and stops; older ones, so that the other rows are found first.
  await sql`insert into messenger_messages (id, message_type, status, created_at, processed_at)
    select (messenger.id_prefix(at) || to_char(n, 'FM8000000000000000'))::uuid, 'Bulk', 'completed', at, at
    from generate_series(1, ${LONGEST_SEARCH}::int) n, (select messenger.now() - interval '1 day' as at) d`;
  await sql`insert into messenger_failed_messages (message_id, transport_name, queue_name, message_type, body,
      retry_count, max_retries, created_at, failed_at, resolved_at, resolution)
    select gen_random_uuid(), 'supabase', 'bulk', 'Bulk', '{}', 1, 0, at, at, at, 'discarded'
    from generate_series(1, ${LONGEST_SEARCH}::int), (select messenger.now() - interval '1 day' as at) d`;
  return {
    deadLetters: dead,
    waiting: waiting.map(({ id }) => id),
    running: running.id,
    finished: finished.id,
    retried: retried.id,
    discarded: (await sql`select message_id from messenger_failed_messages where id = ${dead[3]}`)[0].message_id,
  };
}

const json = (json: unknown): Call => ({ method: "POST", json });

/** The requests of the test by route, in the order in which they are made. */
const requestsOf = (
  { deadLetters, waiting, running, finished, retried, discarded }: Scene,
): Record<string, [string, Call?][]> => ({
  "get /status": [["status"]],
  "get /health": [["health"]],
  "get /workers": [["workers"]],
  "get /audit": [["audit"]],
  "get /metrics": [["metrics?minutes=60"]],
  "get /queues": [["queues"]],
  "get /transports": [["transports"]],
  "get /messages": ["Import", "Later", "Doomed", "Report", "EmailMessage", "Missing"]
    .map((type) => [`messages?limit=1&type=${type}`]),
  "get /messages/{id}": [...waiting, running, finished, retried, discarded].map((id) => [`messages/${id}`]),
  "get /messages/{id}/explain": [...waiting, running, finished].map((id) => [`messages/${id}/explain`]),
  "get /failed": [["failed?limit=2"], ["failed?resolved=true&type=Doomed"], ["failed?resolved=true&type=Missing"]],
  "get /failed/{id}": [0, 3].map((n) => [`failed/${deadLetters[n]}`]),
  "get /schedules": [["schedules"], ["schedules?limit=1"]],
  "get /schedules/preview": [[
    "schedules/preview?cron=30%202%20*%20*%20*&timezone=Europe/Berlin&from=2027-03-27T12:00:00Z&dstGap=skip",
  ]],
  "post /failed/{id}/retry": [[`failed/${deadLetters[0]}/retry`, { method: "POST" }]],
  "post /failed/retry": [["failed/retry", json({ ids: [deadLetters[1], crypto.randomUUID()] })]],
  "delete /failed/{id}": [[`failed/${deadLetters[2]}`, { method: "DELETE" }]],
  "post /failed/discard": [["failed/discard", json({ filter: { type: "Invoice" } })]],
  "post /messages/{id}/cancel": [waiting[1], waiting[1], running].map((id) => [
    `messages/${id}/cancel`,
    { method: "POST" },
  ]),
  "put /schedules/{name}": [
    ["schedules/often", {
      method: "PUT",
      json: {
        type: "Digest",
        interval: 60_000,
        startAt: "2026-01-01T00:00:00Z",
        maxRuns: 9,
        startsAt: "2026-01-01T00:00:00Z",
        endsAt: "2100-01-01T00:00:00Z",
      },
    }],
    ["schedules/new", { method: "PUT", json: { type: "Digest", cron: "@daily" } }],
    ["schedules/once-more", {
      method: "PUT",
      json: { type: "Digest", at: "2030-01-31T09:00:00Z" },
    }],
  ],
  "post /schedules/{name}/pause": [["schedules/new/pause", { method: "POST" }]],
  "post /schedules/{name}/resume": [["schedules/new/resume", { method: "POST" }]],
  "delete /schedules/{name}": [["schedules/new", { method: "DELETE" }]],
  "post /queues/{transport}/{queue}/pause": [["queues/supabase/later/pause", { method: "POST" }]],
  "post /queues/{transport}/{queue}/resume": [["queues/supabase/later/resume", { method: "POST" }]],
  "put /transports/{name}": [["transports/supabase", { method: "PUT", json: { enabled: true } }]],
  "put /flags/{name}": [["flags/emails", { method: "PUT", json: { percent: 25 } }]],
});

/** Fields that have no value in this scene, with the reason. */
const WITHOUT_VALUE: Record<string, string> = {
  "put /schedules/{name}: last_error": "a schedule that was just saved has not failed",
};

interface Route {
  name: string;
  schema: z.ZodType;
}

/** The described routes of an app, each with the schema of its reply in JSON. */
function routesOf(app: OperatorApp): Route[] {
  return app.openAPIRegistry.definitions.flatMap((definition) => {
    if (definition.type !== "route") return [];
    const { method, path, responses } = definition.route;
    const response = responses["200"];
    const media = response && "content" in response ? response.content?.["application/json"] : undefined;
    const schema = media && "schema" in media ? media.schema : undefined;
    return schema instanceof z.ZodType ? [{ name: `${method} ${path}`, schema }] : [];
  });
}

/** The paths of all fields of a schema. */
function fieldsOf(schema: z.ZodType, path = ""): string[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) {
    return fieldsOf(schema.unwrap() as z.ZodType, path); // of a schema from this test's own import of zod
  }
  if (schema instanceof z.ZodArray) return fieldsOf(schema.element as z.ZodType, `${path}[]`); // as above
  if (schema instanceof z.ZodRecord) return fieldsOf(schema.valueType as z.ZodType, `${path}{}`); // as above
  if (!(schema instanceof z.ZodObject)) return [];
  return Object.entries(schema.shape as Record<string, z.ZodType>).flatMap(([name, field]) => { // as above
    const at = path ? `${path}.${name}` : name;
    return [at, ...fieldsOf(field, at)];
  });
}

/** The paths of those fields that have a value in a reply. */
function valuesOf(schema: z.ZodType, value: unknown, path = ""): string[] {
  if (value === null || value === undefined) return [];
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) {
    return valuesOf(schema.unwrap() as z.ZodType, value, path); // as above
  }
  if (schema instanceof z.ZodArray) {
    return (value as unknown[]).flatMap((each) => valuesOf(schema.element as z.ZodType, each, `${path}[]`)); // parsed
  }
  if (schema instanceof z.ZodRecord) {
    return Object.values(value).flatMap((each) => valuesOf(schema.valueType as z.ZodType, each, `${path}{}`)); // parsed
  }
  if (!(schema instanceof z.ZodObject)) return [];
  const fields = value as Record<string, unknown>; // parsed
  return Object.entries(schema.shape as Record<string, z.ZodType>).flatMap(([name, field]) => {
    const at = path ? `${path}.${name}` : name;
    return fields[name] === null || fields[name] === undefined ? [] : [at, ...valuesOf(field, fields[name], at)];
  });
}

testLocally(
  "replies · every reply fits its schema exactly, and every field of a schema has a value in one",
  async () => {
    const requests = requestsOf(await setWholeScene(project().sql));
    const db = {} as Database; // only described here
    const routes = [...routesOf(createMonitor(db)), ...routesOf(createAdmin(db, createLog({}, () => {})))];
    assert.deepEqual(
      Object.keys(requests).sort(),
      routes.map(({ name }) => name).sort(),
      "the calls with a JSON reply",
    );

    const withoutValue: string[] = [];
    for (const [name, calls] of Object.entries(requests)) {
      const { schema } = routes.find((route) => route.name === name) ?? assert.fail(name);
      const edgeFunction = name.startsWith("get ") ? "monitor" : "admin";
      const values = new Set<string>();
      for (const [path, request] of calls) {
        const { status, body } = await target().call(`${edgeFunction}/${path}`, request);
        assert.ok(status === 200 || name === "get /health" && status === 503, `${name}: ${JSON.stringify(body)}`);
        // Parsing removes unknown fields.
        assert.deepEqual(schema.parse(body), body, path);
        for (const field of valuesOf(schema, body)) values.add(field);
      }
      withoutValue.push(...fieldsOf(schema).filter((field) => !values.has(field)).map((field) => `${name}: ${field}`));
    }
    assert.deepEqual(withoutValue.sort(), Object.keys(WITHOUT_VALUE).sort());
  },
);
