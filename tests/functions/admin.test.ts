// The admin edge function: each call does its one thing, seen in the database, and a line in the log says who did it.
import assert from "node:assert/strict";
import type { z } from "zod";
import * as reply from "../../shared/operator_replies.ts";
import { empty, test } from "../project.ts";
import { call, deadLetterOf, dispatch, dispatchAndClaim, messageOf, settle } from "../supabase/bus.ts";
import { assertRejected, type Call, testLocally, useTarget } from "../target.ts";

const logged: string[] = [];
const { target, project } = useTarget({ log: (line) => logged.push(line) });

async function act<S extends z.ZodType>(
  path: string,
  schema: S,
  call: Call = { method: "POST" },
): Promise<z.output<S>> {
  const response = await target().call(`admin/${path}`, call);
  assert.equal(response.status, 200, JSON.stringify(response.body));
  return schema.parse(response.body);
}

async function storeDeadLetter(error = "e", fields: Record<string, unknown> = {}) {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, fields);
  await settle(sql, [{ id, fence, outcome: "failed", error, error_class: error, retryable: false }]);
  return await deadLetterOf(sql, id);
}

Deno.test.beforeEach(() => empty(project().sql));

testLocally("admin · a dead letter is retried, with another payload if one is given", async () => {
  const { sql } = project();
  const deadLetter = await storeDeadLetter();
  const response = await act(`failed/${deadLetter.id}/retry`, reply.retried, { json: { payload: { to: "Ada" } } });
  assert.deepEqual(response, {
    success: true,
    outcome: "retried",
    id: deadLetter.id,
    messageId: deadLetter.message_id,
  });
  const { status, body } = await messageOf(sql, deadLetter.message_id);
  assert.deepEqual([status, body], ["pending", { to: "Ada" }]);
  assertRejected(await target().call(`admin/failed/${deadLetter.id}/retry`, { method: "POST" }), 409, "SM_CONFLICT");
  assertRejected(
    await target().call(`admin/failed/${crypto.randomUUID()}/retry`, { method: "POST" }),
    404,
    "SM_NOT_FOUND",
  );
});

testLocally("admin · many dead letters are retried by filter or by ids", async () => {
  await storeDeadLetter("Timeout");
  await storeDeadLetter("Timeout");
  const other = await storeDeadLetter("Other");
  const timeouts = await act("failed/retry", reply.retriedMany, { json: { filter: { errorClass: "Timeout" } } });
  assert.deepEqual([timeouts.retried, timeouts.results.length], [2, 2]);
  const rest = await act("failed/retry", reply.retriedMany, { json: { ids: [other.id], perSecond: 10 } });
  assert.equal(rest.retried, 1);
});

testLocally("admin · dead letters are discarded, one or many", async () => {
  const { sql } = project();
  const one = await storeDeadLetter();
  await storeDeadLetter();
  assert.equal((await act(`failed/${one.id}`, reply.discarded, { method: "DELETE" })).discarded, 1);
  assertRejected(await target().call(`admin/failed/${one.id}`, { method: "DELETE" }), 404, "SM_NOT_FOUND");
  assert.equal((await act("failed/discard", reply.discarded, { json: { filter: {} } })).discarded, 1);
  const [{ open }] = await sql`select count(*)::int as open from messenger_failed_messages where resolved_at is null`;
  assert.equal(open, 0);
});

testLocally("admin · a message is cancelled, one that runs is asked to stop", async () => {
  const { sql } = project();
  const waiting = await dispatch(sql, { delay: "1 hour" });
  assert.equal((await act(`messages/${waiting.id}/cancel`, reply.cancelled)).outcome, "cancelled");
  assert.equal((await act(`messages/${waiting.id}/cancel`, reply.cancelled)).outcome, "finished");
  const running = await dispatchAndClaim(sql);
  assert.equal((await act(`messages/${running.id}/cancel`, reply.cancelled)).outcome, "requested");
  assertRejected(
    await target().call(`admin/messages/${crypto.randomUUID()}/cancel`, { method: "POST" }),
    404,
    "SM_NOT_FOUND",
  );
});

testLocally("admin · a schedule is made, changed, paused, resumed and removed", async () => {
  const { sql } = project();
  const made = await act("schedules/daily%20digest", reply.oneSchedule, {
    method: "PUT",
    json: { type: "Digest", payload: { to: "Ada" }, cron: "0 9 * * *", timezone: "Europe/Berlin", maxRuns: 3 },
  });
  assert.deepEqual([made.name, made.timezone, made.max_runs], ["daily digest", "Europe/Berlin", 3]);
  const changed = await act("schedules/daily%20digest", reply.oneSchedule, {
    method: "PUT",
    json: { type: "Digest", interval: 60_000 },
  });
  assert.deepEqual([changed.schedule_type, changed.schedule_config.interval], ["interval", 60_000]);
  assert.equal((await act("schedules/daily%20digest/pause", reply.switched)).enabled, false);
  const resumed = await act("schedules/daily%20digest/resume", reply.switched);
  assert.ok(resumed.enabled && resumed.nextRunAt);
  await act("schedules/daily%20digest", reply.removed, { method: "DELETE" });
  assert.equal((await sql`select from messenger_schedules`).length, 0);
  for (const [method, path] of [["DELETE", ""], ["POST", "/pause"], ["POST", "/resume"]]) {
    assertRejected(await target().call(`admin/schedules/none${path}`, { method }), 404, "SM_NOT_FOUND");
  }
});

testLocally("admin · a queue is paused and resumed", async () => {
  const { sql } = project();
  await dispatch(sql);
  assert.deepEqual(await act("queues/supabase/default/pause", reply.paused), { success: true, paused: true });
  assert.equal((await call(sql, "messenger_claim", { worker: "ada" })).length, 0);
  assert.deepEqual(await act("queues/supabase/default/resume", reply.paused), { success: true, paused: false });
  assert.equal((await call(sql, "messenger_claim", { worker: "ada" })).length, 1);
});

testLocally("admin · a transport is made and changed", async () => {
  const config = { retention: "1 day" };
  const made = await act("transports/mail", reply.oneTransport, { method: "PUT", json: { config } });
  assert.deepEqual([made.name, made.type, made.config, made.enabled], ["mail", "supabase", config, true]);
  const off = await act("transports/mail", reply.oneTransport, { method: "PUT", json: { enabled: false } });
  assert.deepEqual([off.config, off.enabled], [config, false]);
});

testLocally("admin · a flag is set by percentage, or on and off", async () => {
  const set = await act("flags/emails", reply.flag, { method: "PUT", json: { percent: 25 } });
  assert.deepEqual([set.name, set.percent, set.updated_by], ["emails", 25, "service"]);
  assert.equal((await act("flags/emails", reply.flag, { method: "PUT", json: { enabled: true } })).percent, 100);
});

testLocally("admin · the log says who did what, and holds no payload", async () => {
  const id = crypto.randomUUID();
  const token = await project().signUser({ sub: id, app_metadata: { symphony_role: "operator" } });
  const deadLetter = await storeDeadLetter();
  await act(`failed/${deadLetter.id}/retry`, reply.retried, { as: { token }, json: { payload: { secret: "hush" } } });
  const line = logged.find((text) => text.includes('"operator"') && text.includes(deadLetter.id)) ??
    assert.fail("no line");
  assert.ok(line.includes(id) && line.includes('"retry"') && !line.includes("hush"), line);
});

const ID = "0190a000-0000-7000-8000-000000000000";
const REFUSED: [what: string, path: string, call: Call, status: number, code: string][] = [
  ["an id that is none", "failed/5/retry", { method: "POST" }, 404, "SM_NOT_FOUND"],
  ["a payload that is no object", `failed/${ID}/retry`, { json: { payload: [1] } }, 400, "SM_PAYLOAD_NOT_OBJECT"],
  ["a field it does not know", `failed/${ID}/retry`, { json: { body: {} } }, 400, "SM_UNKNOWN_FIELD"],
  ["neither ids nor filter", "failed/retry", { json: {} }, 400, "SM_FILTER"],
  ["ids and filter", "failed/retry", { json: { ids: [ID], filter: {} } }, 400, "SM_FILTER"],
  ["a filter it does not know", "failed/retry", { json: { filter: { colour: "red" } } }, 400, "SM_UNKNOWN_FIELD"],
  ["no retries a second", "failed/retry", { json: { filter: {}, perSecond: 0 } }, 400, "SM_BATCH"],
  ["no body", "failed/retry", { method: "POST" }, 415, "SM_CONTENT_TYPE"],
  [
    "a body that is no JSON",
    "failed/discard",
    {
      raw: "{",
      headers: { "content-type": "application/json" },
    },
    400,
    "SM_JSON",
  ],
  ["text", "failed/discard", { raw: "x", headers: { "content-type": "text/plain" } }, 415, "SM_CONTENT_TYPE"],
  ["a NUL", `failed/${ID}/retry`, { json: { payload: { a: "\0" } } }, 422, "SM_NUL"],
  [
    "a body of a megabyte",
    `failed/${ID}/retry`,
    {
      json: { payload: { a: "x".repeat(1_000_000) } },
    },
    413,
    "SM_PAYLOAD_TOO_LARGE",
  ],
  ["a bad cron", "schedules/x", { method: "PUT", json: { type: "A", cron: "99 99 * * *" } }, 400, "SM_CRON"],
  ["a schedule without type", "schedules/x", { method: "PUT", json: { cron: "@daily" } }, 400, "SM_TYPE"],
  [
    "a schedule of two kinds",
    "schedules/x",
    {
      method: "PUT",
      json: { type: "A", cron: "@daily", interval: 60_000 },
    },
    400,
    "SM_SCHEDULE",
  ],
  [
    "a bad policy",
    "schedules/x",
    {
      method: "PUT",
      json: { type: "A", cron: "@daily", misfire: "maybe" },
    },
    400,
    "SM_SCHEDULE",
  ],
  ["a queue with a bad name", "queues/supabase/No%2FQueue/pause", { method: "POST" }, 400, "SM_QUEUE"],
  ["a transport that is not there", "queues/none/default/pause", { method: "POST" }, 400, "SM_TRANSPORT"],
  ["another type for sync", "transports/sync", { method: "PUT", json: { type: "redis" } }, 400, "SM_TRANSPORT"],
  [
    "a bad interval",
    "transports/mail",
    { method: "PUT", json: { config: { retention: "soon" } } },
    400,
    "SM_TRANSPORT",
  ],
  [
    "a setting it does not know",
    "transports/mail",
    { method: "PUT", json: { config: { a: 1 } } },
    400,
    "SM_UNKNOWN_FIELD",
  ],
  ["101 percent", "flags/emails", { method: "PUT", json: { percent: 101 } }, 400, "SM_BATCH"],
  ["a flag with a bad name", "flags/5", { method: "PUT", json: { percent: 1 } }, 400, "SM_FILTER"],
];
for (const [what, path, call, status, code] of REFUSED) {
  test(`admin · rejects ${what}`, async () => {
    assertRejected(await target().call(`admin/${path}`, call), status, code);
  });
}

testLocally("admin · what is rejected changes nothing", async () => {
  const { sql } = project();
  const deadLetter = await storeDeadLetter();
  for (const [, path, call] of REFUSED) await target().call(`admin/${path.replace(ID, deadLetter.id)}`, call);
  const [counts] = await sql`
    select (select count(*) from messenger_schedules)::int as schedules, (select count(*) from messenger.queues)::int as queues,
      (select count(*) from messenger.flags)::int as flags, (select count(*) from messenger_transports)::int as transports,
      (select count(*) from messenger_failed_messages where resolved_at is null)::int as open`;
  assert.deepEqual({ ...counts }, { schedules: 0, queues: 0, flags: 0, transports: 2, open: 1 });
});
