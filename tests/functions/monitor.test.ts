// The edge function monitor: its lists, figures and errors. tests/functions/replies.test.ts compares whole replies with
// their schemas.
import assert from "node:assert/strict";
import type { z } from "zod";
import { deadLetterReply, deadLettersReply } from "../../shared/operators/dead_letters.ts";
import { auditReply, healthReply, statusReply, workersReply } from "../../shared/operators/health.ts";
import { explanationReply, messageReply, messagesReply } from "../../shared/operators/messages.ts";
import { metricsReply } from "../../shared/operators/metrics.ts";
import { queuesReply } from "../../shared/operators/queues.ts";
import { previewReply, schedulesReply } from "../../shared/operators/schedules.ts";
import { transportsReply } from "../../shared/operators/transports.ts";
import { eventually } from "../eventually.ts";
import { empty, test } from "../project.ts";
import { call, dispatch, dispatchAndClaim, dispatchMany, settle } from "../supabase/bus.ts";
import { assertRejected, testLocally, useTarget } from "../target.ts";

const logged: string[] = [];
const { target, project } = useTarget({ log: (line) => logged.push(line) });

/** Calls monitor; the reply must fit its schema. */
async function getMonitor<S extends z.ZodType>(path: string, schema: S, status = 200): Promise<z.output<S>> {
  const reply = await target().call(`monitor/${path}`);
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  return schema.parse(reply.body);
}

Deno.test.beforeEach(() => empty(project().sql));

testLocally("monitor · status counts messages", async () => {
  await dispatchMany(project().sql, 3);
  const { queue } = await getMonitor("status", statusReply);
  assert.deepEqual([queue.depth, queue.pending, queue.estimated], [3, 3, false]);
});

testLocally("monitor · health returns 503 and a remedy when nothing ticks", async () => {
  const { status, checks } = await getMonitor("health", healthReply, 503);
  assert.equal(status, "unhealthy");
  assert.ok(checks.find(({ name }) => name === "clock")?.remedy);
});

testLocally("monitor · the audit is without violations", async () => {
  await dispatchMany(project().sql, 3);
  const { invariants, violations } = await getMonitor("audit", auditReply);
  assert.equal(violations, 0);
  assert.ok(invariants.length >= 9);
});

testLocally("monitor · messages are filtered, and paged by cursor, newest first", async () => {
  const { sql } = project();
  const ids = await dispatchMany(sql, 5);
  await dispatch(sql, { type: "Other", queue: "q2" });
  const first = await getMonitor("messages?type=Greeting&limit=2", messagesReply);
  assert.deepEqual(first.messages.map(({ id }) => id), [ids[4], ids[3]]);
  assert.deepEqual([first.pagination.total, first.pagination.hasMore, first.pagination.limit], [5, true, 2]);
  const cursor = encodeURIComponent(first.pagination.nextCursor ?? "");
  const second = await getMonitor(`messages?type=Greeting&limit=3&cursor=${cursor}`, messagesReply);
  assert.deepEqual(second.messages.map(({ id }) => id), [ids[2], ids[1], ids[0]]);
  assert.deepEqual([second.pagination.hasMore, second.pagination.nextCursor], [false, null]);
  assert.equal((await getMonitor("messages?queue=q2", messagesReply)).messages.length, 1);
});

testLocally("monitor · one message is returned with its payload and failed deliveries", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql, { payload: { to: "Ada" } });
  await settle(sql, [{ id, fence, outcome: "failed", error: "no reply" }]);
  const message = await getMonitor(`messages/${id}`, messageReply);
  assert.deepEqual([message.body, message.last_error, message.attempts.length], [{ to: "Ada" }, "no reply", 1]);
  assertRejected(await target().call(`monitor/messages/${crypto.randomUUID()}`), 404, "SM_NOT_FOUND");
});

testLocally("monitor · a message that waits for the one before it is blocked and has no available_at", async () => {
  const { sql } = project();
  await dispatch(sql, { ordering_key: "k" });
  const { id } = await dispatch(sql, { ordering_key: "k" });
  const message = await getMonitor(`messages/${id}`, messageReply);
  assert.deepEqual([message.available_at, message.blocked], [null, true]);
});

testLocally(
  "monitor · dead letters are paged by offset and cursor, and one is returned with its attempts",
  async () => {
    const { sql } = project();
    for (const error of ["one", "two", "three"]) {
      const { id, fence } = await dispatchAndClaim(sql);
      await settle(sql, [{ id, fence, outcome: "failed", error, retryable: false }]);
    }
    const page = await getMonitor("failed?limit=2", deadLettersReply);
    assert.deepEqual(page.messages.map(({ error }) => error), ["three", "two"]);
    assert.deepEqual([page.pagination.total, page.pagination.hasMore, page.pagination.offset], [3, true, 0]);
    const skipped = await getMonitor("failed?limit=2&offset=2", deadLettersReply);
    assert.deepEqual(skipped.messages.map(({ error }) => error), ["one"]);
    const next = await getMonitor(`failed?limit=2&cursor=${page.pagination.nextCursor}`, deadLettersReply);
    assert.deepEqual(next.messages, skipped.messages);
    assert.equal((await getMonitor(`failed/${page.messages[0].id}`, deadLetterReply)).attempts.length, 1);
    assertRejected(await target().call(`monitor/failed/${crypto.randomUUID()}`), 404, "SM_NOT_FOUND");
  },
);

testLocally("monitor · queues, transports and workers are listed", async () => {
  const { sql } = project();
  await dispatchAndClaim(sql);
  await dispatch(sql, { delay: "1 hour" });
  await call(sql, "messenger_pause", { transport: "supabase", queue: "resting" });
  const { queues } = await getMonitor("queues", queuesReply);
  assert.deepEqual(
    queues.map((queue) => [queue.queue_name, queue.pending, queue.due, queue.processing, queue.paused_at !== null]),
    [["default", 1, 0, 1, false], ["resting", 0, 0, 0, true]],
  );
  assert.deepEqual((await getMonitor("transports", transportsReply)).transports.map(({ name }) => name), [
    "supabase",
    "sync",
  ]);
  assert.deepEqual(
    (await getMonitor("workers", workersReply)).workers.map(({ worker, processing }) => [worker, processing]),
    [["ada", 1]],
  );
});

testLocally("monitor · schedules are listed, and previewed by name or by description", async () => {
  const { sql } = project();
  await call(sql, "messenger_schedule", {
    name: "digest",
    type: "Digest",
    schedule: { cron: "30 2 * * *" },
    timezone: "Europe/Berlin",
    options: { dst_gap: "skip", max_runs: 3 },
  });
  const { schedules } = await getMonitor("schedules?name=dig", schedulesReply);
  assert.deepEqual(schedules.map(({ name, timezone }) => [name, timezone]), [["digest", "Europe/Berlin"]]);
  const from = "2027-03-27T12:00:00Z";
  const stored = await getMonitor(`schedules/preview?name=digest&from=${from}&count=5`, previewReply);
  assert.deepEqual(stored.runs.map(({ note }) => note), ["skipped by DST", null, null]);
  const requested = await getMonitor(
    `schedules/preview?cron=30%202%20*%20*%20*&timezone=Europe/Berlin&from=${from}&count=1`,
    previewReply,
  );
  assert.deepEqual(requested.runs, [{
    runAt: "2027-03-28T01:30:00+00:00",
    localTime: "2027-03-28T03:30:00",
    note: "moved",
  }]);
  assertRejected(await target().call("monitor/schedules/preview?name=none"), 404, "SM_NOT_FOUND");
});

testLocally("monitor · metrics and the counters for Prometheus count a completed message", async () => {
  const { sql } = project();
  const { id, fence } = await dispatchAndClaim(sql);
  await settle(sql, [{ id, fence, outcome: "completed", duration_ms: 20 }]);
  const metrics = await getMonitor("metrics?minutes=5", metricsReply);
  assert.deepEqual([metrics.totalProcessed, metrics.successRate, metrics.byMessageType.Greeting.succeeded], [1, 1, 1]);
  // Counters are updated by the ticker.
  await sql`select messenger_tick()`;
  const response = await fetch(`${target().url}/functions/v1/monitor/metrics.prom`, {
    headers: { apikey: target().secretKey },
  });
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0.0.4/);
  const lines = (await response.text()).split("\n");
  assert.ok(
    lines.includes('symphony_messages_completed_total{transport="supabase",type="Greeting"} 1'),
    lines.join("\n"),
  );
});

testLocally(
  "monitor · rejected requests are logged, successful ones are not: a dashboard makes one every two seconds",
  async () => {
    await getMonitor("status", statusReply);
    await target().call("monitor/messages?limit=0");
    const lines = () => logged.filter((line) => line.includes('"function":"monitor"') && line.includes('"request"'));
    await eventually("the error is logged", () => lines().some((line) => line.includes("/monitor/messages")));
    assert.ok(!lines().some((line) => line.includes("/monitor/status")), lines().join("\n"));
  },
);

testLocally("monitor · a waiting message is explained", async () => {
  const { sql } = project();
  const { id } = await dispatch(sql, { queue: "mail" });
  await call(sql, "messenger_pause", { transport: "supabase", queue: "mail" });
  const { status, reasons } = await getMonitor(`messages/${id}/explain`, explanationReply);
  assert.equal(status, "pending");
  assert.ok(
    reasons.some(({ reason, remedy }) => reason === "paused" && remedy?.includes("messenger_resume")),
    JSON.stringify(reasons),
  );
  assertRejected(await target().call(`monitor/messages/${crypto.randomUUID()}/explain`), 404, "SM_NOT_FOUND");
});

const REJECTED: [path: string, code: string][] = [
  ["messages?limit=0", "SM_BATCH"],
  ["messages?limit=201", "SM_BATCH"],
  ["messages?limit=ten", "SM_BATCH"],
  ["messages?limit=5&limit=6", "SM_BATCH"],
  ["messages?colour=red", "SM_UNKNOWN_FIELD"],
  ["messages?status=lost", "SM_FILTER"],
  ["messages?id=5", "SM_FILTER"],
  ["messages?from=yesterday", "SM_FILTER"],
  ["messages?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "SM_FILTER"],
  ["messages?cursor=garbled", "SM_FILTER"],
  ["messages?cursor=eyJsaXN0IjoiZmFpbGVkIn0", "SM_FILTER"],
  ["messages?type=" + "x".repeat(5_000), "SM_FILTER"],
  ["messages?__proto__=1", "SM_UNKNOWN_FIELD"],
  ["failed?offset=10001", "SM_BATCH"],
  ["failed?resolved=maybe", "SM_FILTER"],
  ["schedules/preview", "SM_SCHEDULE"],
  ["schedules/preview?cron=99%2099%20*%20*%20*", "SM_CRON"],
  ["schedules/preview?cron=@daily&timezone=Foo%2B99", "SM_TIMEZONE"],
  ["status?verbose=1", "SM_UNKNOWN_FIELD"],
];
for (const [path, code] of REJECTED) {
  test(`monitor · rejects ${path.slice(0, 60)}`, async () => {
    assertRejected(await target().call(`monitor/${path}`), 400, code);
  });
}

test("monitor · every moment that the edge function accepts is accepted by the database", async () => {
  const moments = ["0001-01-01T00:00:00+15:59", "9999-12-31T23:59:59-15:59", "1970-01-01T00:00:00.123456789Z"];
  const paths = [
    "monitor/messages?from=",
    "monitor/failed?to=",
    "monitor/metrics?from=",
    "monitor/metrics?minutes=1&to=",
  ]
    .concat("monitor/schedules/preview?cron=*%20*%20*%20*%20*&from=", "monitor/schedules/preview?at=")
    .concat("monitor/schedules/preview?interval=60000&startAt=", "monitor/schedules/preview?interval=60000&endsAt=");
  for (const path of paths) {
    for (const moment of moments) {
      const { status, body } = await target().call(path + encodeURIComponent(moment));
      assert.ok(status < 500, `${path}${moment}: ${JSON.stringify(body)}`);
    }
  }
});
