// The three views: exact figures, with the rights of the caller.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { asRole } from "../as_role.ts";
import { claim, dispatch, dispatchAndClaim, dispatchMany, settle } from "../bus.ts";

const project = useProject();
Deno.test.beforeEach(() => empty(project().sql));

const columns = async (view: string) =>
  (await project()
    .sql`select column_name from information_schema.columns where table_name = ${view} order by ordinal_position`).map((
      { column_name },
    ) => column_name);

test("queue depth · counts by transport, queue and status, with the oldest and newest", async () => {
  const { sql } = project();
  const first = await dispatch(sql, { queue: "a" });
  await dispatch(sql, { queue: "a" });
  await dispatch(sql, { queue: "b", transport: "sync" });
  await dispatchAndClaim(sql, { queue: "c" }, { queues: ["c"] });
  const rows = await sql`select * from messenger_queue_depth order by queue_name`;
  assert.deepEqual(rows.map((row) => [row.transport_name, row.queue_name, row.status, row.message_count]), [
    ["supabase", "a", "pending", "2"],
    ["sync", "b", "pending", "1"],
    ["supabase", "c", "processing", "1"],
  ]);
  const [{ created_at }] = await sql`select created_at from messenger_messages where id = ${first.id}`;
  assert.deepEqual(rows[0].oldest_message, created_at);
  assert(rows[0].newest_message > rows[0].oldest_message);
  assert.deepEqual(await columns("messenger_queue_depth"), [
    "transport_name",
    "queue_name",
    "status",
    "message_count",
    "oldest_message",
    "newest_message",
  ]);
});

test("failed summary · counts open dead letters, not resolved ones", async () => {
  const { sql } = project();
  await dispatchMany(sql, 3, { queue: "a" });
  await dispatch(sql, { queue: "b" });
  const rows = await claim(sql);
  await settle(sql, rows.map(({ id, fence }) => ({ id, fence, outcome: "failed", error: "e", retryable: false })));
  for (const left of await claim(sql)) {
    await settle(sql, [{ ...left, outcome: "failed", error: "e", retryable: false }]);
  }
  await sql`
    update messenger_failed_messages set resolved_at = now(), resolution = 'retried'
    where id = (select id from messenger_failed_messages where queue_name = 'a' order by id limit 1)`;
  const summary = await sql`select * from messenger_failed_summary order by queue_name`;
  assert.deepEqual(summary.map((row) => [row.transport_name, row.queue_name, row.failed_count]), [[
    "supabase",
    "a",
    "2",
  ], ["supabase", "b", "1"]]);
  assert(summary[0].first_failure <= summary[0].last_failure);
  assert.deepEqual(await columns("messenger_failed_summary"), [
    "transport_name",
    "queue_name",
    "failed_count",
    "first_failure",
    "last_failure",
  ]);
});

test("schedules summary · counts schedules and the next run of the enabled ones", async () => {
  const { sql } = project();
  await sql`
    insert into messenger_schedules (name, message_type, schedule_type, schedule_config, next_run_at, enabled) values
      ('a', 'Report', 'cron', '{"cron": "0 0 * * *"}', '2030-01-02 00:00+00', true),
      ('b', 'Report', 'cron', '{"cron": "0 1 * * *"}', '2030-01-01 00:00+00', false),
      ('c', 'Report', 'interval', '{"interval": 60000}', null, true)`;
  const rows = await sql`select * from messenger_schedules_summary order by schedule_type`;
  assert.deepEqual(rows.map((row) => [row.schedule_type, row.schedule_count, row.enabled_count]), [["cron", "2", "1"], [
    "interval",
    "1",
    "1",
  ]]);
  assert.deepEqual([rows[0].next_run.toISOString().slice(0, 10), rows[1].next_run], ["2030-01-02", null]);
  assert.deepEqual(await columns("messenger_schedules_summary"), [
    "transport_name",
    "message_type",
    "schedule_type",
    "schedule_count",
    "enabled_count",
    "next_run",
  ]);
});

for (const view of ["messenger_queue_depth", "messenger_failed_summary", "messenger_schedules_summary"]) {
  test(`${view} · service_role reads it, users do not`, async () => {
    const { sql } = project();
    assert.deepEqual([...await asRole(sql, "service_role", (tx) => tx`select * from ${tx(view)}`)], []);
    for (const role of ["anon", "authenticated"] as const) {
      await assert.rejects(asRole(sql, role, (tx) => tx`select * from ${tx(view)}`), { code: "42501" }, role);
    }
  });
}
