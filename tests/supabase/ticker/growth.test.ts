// A tick reads no table as a whole that grows with the use of the bus.
import assert from "node:assert/strict";
import { empty, test, useProject } from "../../project.ts";
import { callValue } from "../bus.ts";

const project = useProject();

const GROWING = [
  "public.messenger_messages",
  "public.messenger_failed_messages",
  "messenger.message_types",
  "messenger.attempts",
  "messenger.idempotency_keys",
  "messenger.ordering_keys",
  "messenger.metrics",
  "messenger.metric_errors",
];

/** Thousands of rows in each growing table, so that the planner would choose a sequential scan if it could. */
const FILL = `
  insert into messenger_messages (id, message_type, status, available_at, created_at, processed_at)
  select (messenger.id_prefix(at) || lpad(to_hex(n), 16, '8'))::uuid, 'Filler', 'failed', at, at, at
  from (select n, now() - interval '9 days' + n * interval '1 second' as at from generate_series(1, 5000) n) s;
  insert into messenger_failed_messages (message_id, transport_name, queue_name, message_type, body, retry_count,
    max_retries, created_at)
  select id, transport_name, queue_name, message_type, body, 4, 3, created_at from messenger_messages;
  insert into messenger.message_types (type) select 'Filler' || n from generate_series(1, 5000) n;
  insert into messenger.attempts (message_id, fence, at, worker)
  select id, 1, created_at, 'w' from messenger_messages;
  insert into messenger.idempotency_keys (scope, key, message_id, message_type, fingerprint, transport_name, queue_name,
    expires_at)
  select 'service', id::text, id, 'Filler', '', 'supabase', 'default', now() + interval '1 day' from messenger_messages;
  insert into messenger.ordering_keys (transport_name, queue_name, ordering_key, check_at)
  select 'supabase', 'default', n::text, now() + interval '1 hour' from generate_series(1, 5000) n;
  insert into messenger.metrics (step_seconds, at, transport_name, message_type, histogram)
  select 60, date_trunc('minute', now()) - n * interval '1 minute', 'supabase', 'Filler' || t, 0
  from generate_series(0, 1000) n cross join generate_series(1, 5) t;
  insert into messenger.metric_errors (step_seconds, at, message_type, error_class, error_count, last_at)
  select step_seconds, at, message_type, 'Error', 1, at from messenger.metrics`;

test("tick · reads no growing table as a whole", async () => {
  const { sql } = project();
  await empty(sql);
  await sql.unsafe(FILL).simple();
  await sql.unsafe(`analyze ${GROWING.join(", ")}`);
  // The first tick rolls the metrics up and prunes, which changes the sizes.
  await callValue(sql, "messenger_tick");
  const scanned = await sql.begin(async (tx) => {
    assert.equal((await callValue(tx, "messenger_tick")).errors, undefined);
    return await tx`
      select name from unnest(${GROWING}::text[]) name where pg_stat_get_xact_numscans(name::regclass) > 0`;
  });
  assert.deepEqual(scanned.map(({ name }) => name), []);
});
