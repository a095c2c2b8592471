// The edge function admin: the effect of each call in the database, and its line in the log.
import assert from "node:assert/strict";
import type { z } from "zod";
import { discardedReply, retriedManyReply, retriedReply } from "../../shared/operators/dead_letters.ts";
import { flagReply } from "../../shared/operators/flags.ts";
import { cancelledReply } from "../../shared/operators/messages.ts";
import { queueSwitchedReply } from "../../shared/operators/queues.ts";
import { scheduleRemovedReply, scheduleReply, scheduleSwitchedReply } from "../../shared/operators/schedules.ts";
import { transportReply } from "../../shared/operators/transports.ts";
import { empty, test } from "../project.ts";
import { call, deadLetterOf, dispatch, dispatchAndClaim, messageOf, settle } from "../supabase/bus.ts";
import { assertRejected, type Call, testLocally, useTarget } from "../target.ts";

const logged: string[] = [];
const { target, project } = useTarget({ log: (line) => logged.push(line) });

/** Calls admin; the reply must fit its schema. */
async function callAdmin<S extends z.ZodType>(
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
  const response = await callAdmin(`failed/${deadLetter.id}/retry`, retriedReply, { json: { payload: { to: "Ada" } } });
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
  const timeouts = await callAdmin("failed/retry", retriedManyReply, { json: { filter: { errorClass: "Timeout" } } });
  assert.deepEqual([timeouts.retried, timeouts.results.length], [2, 2]);
  const rest = await callAdmin("failed/retry", retriedManyReply, { json: { ids: [other.id], perSecond: 10 } });
  assert.equal(rest.retried, 1);
});

testLocally("admin · dead letters are discarded, one or many", async () => {
  const { sql } = project();
  const one = await storeDeadLetter();
  await storeDeadLetter();
  assert.equal((await callAdmin(`failed/${one.id}`, discardedReply, { method: "DELETE" })).discarded, 1);
  assertRejected(await target().call(`admin/failed/${one.id}`, { method: "DELETE" }), 404, "SM_NOT_FOUND");
  assert.equal((await callAdmin("failed/discard", discardedReply, { json: { filter: {} } })).discarded, 1);
  const [{ open }] = await sql`select count(*)::int as open from messenger_failed_messages where resolved_at is null`;
  assert.equal(open, 0);
});

testLocally(
  "admin · a waiting message is cancelled, and the handler of a running one is requested to stop",
  async () => {
    const { sql } = project();
    const waiting = await dispatch(sql, { delay: "1 hour" });
    assert.equal((await callAdmin(`messages/${waiting.id}/cancel`, cancelledReply)).outcome, "cancelled");
    assert.equal((await callAdmin(`messages/${waiting.id}/cancel`, cancelledReply)).outcome, "finished");
    const running = await dispatchAndClaim(sql);
    assert.equal((await callAdmin(`messages/${running.id}/cancel`, cancelledReply)).outcome, "requested");
    assertRejected(
      await target().call(`admin/messages/${crypto.randomUUID()}/cancel`, { method: "POST" }),
      404,
      "SM_NOT_FOUND",
    );
  },
);

testLocally("admin · a schedule is created, replaced, paused, resumed and removed", async () => {
  const { sql } = project();
  const made = await callAdmin("schedules/daily%20digest", scheduleReply, {
    method: "PUT",
    json: { type: "Digest", payload: { to: "Ada" }, cron: "0 9 * * *", timezone: "Europe/Berlin", maxRuns: 3 },
  });
  assert.deepEqual([made.name, made.timezone, made.max_runs], ["daily digest", "Europe/Berlin", 3]);
  const changed = await callAdmin("schedules/daily%20digest", scheduleReply, {
    method: "PUT",
    json: { type: "Digest", interval: 60_000 },
  });
  assert.deepEqual([changed.schedule_type, changed.schedule_config.interval], ["interval", 60_000]);
  assert.equal((await callAdmin("schedules/daily%20digest/pause", scheduleSwitchedReply)).enabled, false);
  const resumed = await callAdmin("schedules/daily%20digest/resume", scheduleSwitchedReply);
  assert.ok(resumed.enabled && resumed.nextRunAt);
  await callAdmin("schedules/daily%20digest", scheduleRemovedReply, { method: "DELETE" });
  assert.equal((await sql`select from messenger_schedules`).length, 0);
  for (const [method, path] of [["DELETE", ""], ["POST", "/pause"], ["POST", "/resume"]]) {
    assertRejected(await target().call(`admin/schedules/none${path}`, { method }), 404, "SM_NOT_FOUND");
  }
});

testLocally("admin · a queue is paused and resumed", async () => {
  const { sql } = project();
  await dispatch(sql);
  assert.deepEqual(await callAdmin("queues/supabase/default/pause", queueSwitchedReply), {
    success: true,
    paused: true,
  });
  assert.equal((await call(sql, "messenger_claim", { worker: "ada" })).length, 0);
  assert.deepEqual(await callAdmin("queues/supabase/default/resume", queueSwitchedReply), {
    success: true,
    paused: false,
  });
  assert.equal((await call(sql, "messenger_claim", { worker: "ada" })).length, 1);
});

testLocally("admin · a transport is created and changed", async () => {
  const config = { retention: "1 day" };
  const made = await callAdmin("transports/mail", transportReply, { method: "PUT", json: { config } });
  assert.deepEqual([made.name, made.type, made.config, made.enabled], ["mail", "supabase", config, true]);
  const off = await callAdmin("transports/mail", transportReply, { method: "PUT", json: { enabled: false } });
  assert.deepEqual([off.config, off.enabled], [config, false]);
});

testLocally("admin · a flag is set by percentage, or on and off", async () => {
  const set = await callAdmin("flags/emails", flagReply, { method: "PUT", json: { percent: 25 } });
  assert.deepEqual([set.name, set.percent, set.updated_by], ["emails", 25, "service"]);
  assert.equal((await callAdmin("flags/emails", flagReply, { method: "PUT", json: { enabled: true } })).percent, 100);
});

testLocally("admin · the log line of an action has caller, action and object, and no payload", async () => {
  const id = crypto.randomUUID();
  const token = await project().signUser({ sub: id, app_metadata: { symphony_role: "operator" } });
  const deadLetter = await storeDeadLetter();
  await callAdmin(`failed/${deadLetter.id}/retry`, retriedReply, {
    as: { token },
    json: { payload: { secret: "hush" } },
  });
  const line = logged.find((text) => text.includes('"operator"') && text.includes(deadLetter.id)) ??
    assert.fail("no line");
  assert.ok(line.includes(id) && line.includes('"retry"') && !line.includes("hush"), line);
});

const ID = "0190a000-0000-7000-8000-000000000000";
const REJECTED: [what: string, path: string, call: Call, status: number, code: string][] = [
  ["an id that is no UUID", "failed/5/retry", { method: "POST" }, 404, "SM_NOT_FOUND"],
  ["a payload that is not an object", `failed/${ID}/retry`, { json: { payload: [1] } }, 400, "SM_PAYLOAD_NOT_OBJECT"],
  ["an unknown field", `failed/${ID}/retry`, { json: { body: {} } }, 400, "SM_UNKNOWN_FIELD"],
  ["neither ids nor filter", "failed/retry", { json: {} }, 400, "SM_FILTER"],
  ["ids and filter", "failed/retry", { json: { ids: [ID], filter: {} } }, 400, "SM_FILTER"],
  ["an unknown filter", "failed/retry", { json: { filter: { colour: "red" } } }, 400, "SM_UNKNOWN_FIELD"],
  ["0 retries per second", "failed/retry", { json: { filter: {}, perSecond: 0 } }, 400, "SM_BATCH"],
  ["no body", "failed/retry", { method: "POST" }, 415, "SM_CONTENT_TYPE"],
  [
    "a body that is not JSON",
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
  ["an unknown transport", "queues/none/default/pause", { method: "POST" }, 400, "SM_TRANSPORT"],
  ["another type for sync", "transports/sync", { method: "PUT", json: { type: "redis" } }, 400, "SM_TRANSPORT"],
  [
    "a bad interval",
    "transports/mail",
    { method: "PUT", json: { config: { retention: "soon" } } },
    400,
    "SM_TRANSPORT",
  ],
  [
    "an unknown setting",
    "transports/mail",
    { method: "PUT", json: { config: { a: 1 } } },
    400,
    "SM_UNKNOWN_FIELD",
  ],
  ["101 percent", "flags/emails", { method: "PUT", json: { percent: 101 } }, 400, "SM_BATCH"],
  ["a flag with a bad name", "flags/5", { method: "PUT", json: { percent: 1 } }, 400, "SM_FILTER"],
];
for (const [what, path, call, status, code] of REJECTED) {
  test(`admin · rejects ${what}`, async () => {
    assertRejected(await target().call(`admin/${path}`, call), status, code);
  });
}

testLocally("admin · a rejected call changes nothing", async () => {
  const { sql } = project();
  const deadLetter = await storeDeadLetter();
  for (const [, path, call] of REJECTED) await target().call(`admin/${path.replace(ID, deadLetter.id)}`, call);
  const [counts] = await sql`
    select (select count(*) from messenger_schedules)::int as schedules,
      (select count(*) from messenger.queues)::int as queues, (select count(*) from messenger.flags)::int as flags,
      (select count(*) from messenger_transports)::int as transports,
      (select count(*) from messenger_failed_messages where resolved_at is null)::int as open`;
  assert.deepEqual({ ...counts }, { schedules: 0, queues: 0, flags: 0, transports: 2, open: 1 });
});
