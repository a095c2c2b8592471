// Latency of every monitor call that the dashboard makes, beside a million kept messages.
import { type BenchSetup, settle } from "../setup.ts";
import { median, OURS } from "../line.ts";
import { SLOWEST_MONITOR_CALL } from "../targets.ts";
import { inTurn, type Row } from "./row.ts";

const TIMES = 4; // calls per path and round; the first call fills caches and is left out
const SHOWN = 6; // of the calls
const DAY = 86_400_000; // ms

export const monitorRow: Row = {
  name: "monitor",
  async measure(setup, { symphony }) {
    const { sizes, report } = setup;
    report(`storing ${sizes.kept} finished messages, with dead letters, a backlog and metrics`);
    await store(setup);
    const [{ id, dead_letter }] = await setup.admin`
      select (select id from messenger_messages where processed_at is null order by id limit 1) as id,
        (select id from messenger_failed_messages limit 1) as dead_letter`;
    const paths = callsFor(id, dead_letter).map((path) => ({ name: path }));
    const figures = await inTurn(
      setup,
      "monitor",
      sizes.heavyRounds,
      paths,
      async ({ name }) => median(await timesOf(setup, name)),
    );
    await symphony.empty();
    await setup.admin`truncate messenger.metrics, messenger.queues`;
    const slowest = [...figures].map(([{ name }, rounds]) => ({ path: name, rounds, ms: median(rounds) }))
      .sort((a, b) => b.ms - a.ms);
    return [{
      id: "monitor",
      label: `slowest call of monitor beside ${sizes.kept.toLocaleString("en-US")} kept`,
      unit: "ms",
      better: "lower",
      samples: new Map([[OURS, slowest[0].rounds.map((value) => ({ value }))]]),
      targets: SLOWEST_MONITOR_CALL,
      note: "The calls use HTTP, with a tenth as many pending messages and a twentieth as many dead letters. " +
        `The slowest of ${slowest.length}, in ms: ${
          slowest.slice(0, SHOWN).map(({ path, ms }) =>
            `${path.replace(id, "{id}").replace(dead_letter, "{id}")} ${ms.toFixed(0)}`
          ).join(", ")
        }.`,
    }];
  },
};

function callsFor(id: string, deadLetter: string): string[] {
  const yesterday = new Date(Date.now() - DAY).toISOString();
  return [
    "status",
    "health",
    "queues",
    "workers",
    "transports",
    "schedules",
    "metrics?minutes=60",
    "metrics?minutes=2880",
    "metrics.prom",
    "messages",
    "messages?status=pending",
    "messages?status=failed",
    "messages?type=Type3",
    "messages?type=Rare",
    "messages?errorClass=Error3",
    "messages?idempotencyKey=key-500",
    `messages?from=${yesterday}`,
    `messages/${id}`,
    `messages/${id}/explain`,
    "failed",
    "failed?type=Type3",
    "failed?errorClass=Error3",
    `failed/${deadLetter}`,
  ];
}

async function timesOf({ project }: BenchSetup, path: string): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < TIMES; n++) {
    const begin = performance.now();
    const response = await fetch(`${project.url}/functions/v1/monitor/${path}`, {
      headers: { apikey: project.secretKey },
    });
    await response.body?.pipeTo(new WritableStream());
    // An unhealthy bus returns 503 with its checks.
    if (!response.ok && path !== "health") throw new Error(`/monitor/${path} returned ${response.status}`);
    times.push(performance.now() - begin);
  }
  return times.slice(1);
}

/**
 * Six days of finished messages of 20 types, one in twenty a dead letter; an hour's backlog in paused queues; two days
 * of metrics.
 */
async function store({ admin, sizes: { kept } }: BenchSetup): Promise<void> {
  await admin`
    insert into messenger.queues (transport_name, queue_name, paused_at)
    select 'supabase', q, now() from unnest('{default,email,sms,bulk}'::text[]) q
    on conflict (transport_name, queue_name) do update set paused_at = excluded.paused_at`;
  await admin.unsafe(`
    create function pg_temp.id_of(at timestamptz, n bigint) returns uuid language sql
    as $$ select (messenger.id_prefix(at) || lpad(to_hex(n), 16, '8'))::uuid $$`);
  await admin`
    insert into messenger_messages (id, queue_name, message_type, body, status, available_at, created_at, processed_at,
      updated_at, fence, last_error, error_class,
      idempotency_key)
    select pg_temp.id_of(t, n), (array['default', 'email', 'sms'])[1 + n % 3], case when n % ${
    kept / 20
  } = 0 then 'Rare' else 'Type' || n % 20 end,
      jsonb_build_object('n', n, 'text', repeat('x', 80)), case when n % 20 = 1 then 'failed' else 'completed' end, t,
      t, t + interval '1 second', t, 1,
      case when n % 20 = 1 then 'boom ' || n end, case when n % 20 = 1 then 'Error' || n % 7 end,
      case when n % 10 = 0 then 'key-' || n end
    from (select n, now() - interval '6 days' + n * interval '6 days' / ${
    kept + 1
  } as t from generate_series(1, ${kept}) n) s`;
  await admin`
    insert into messenger_messages (id, queue_name, message_type, body, priority, available_at, created_at, updated_at)
    select pg_temp.id_of(t, n), 'bulk', 'Type' || n % 20, jsonb_build_object('n', n), 1 + n % 10,
      case when n % 3 = 0 then t + interval '1 day' else t end, t, t
    from (select n, now() - n * interval '1 hour' / ${kept / 10} as t from generate_series(1, ${kept / 10}) n) s`;
  await admin`
    insert into messenger_failed_messages (id, message_id, transport_name, queue_name, message_type, body, error,
      error_class, error_trace, attempts, retry_count, max_retries,
      failed_at, created_at)
    select gen_random_uuid(), m.id, m.transport_name, m.queue_name, m.message_type, m.body, m.last_error, m.error_class,
      repeat('trace ', 100),
      jsonb_build_array(jsonb_build_object('at', m.processed_at, 'error', m.last_error)), 3, 3, m.processed_at,
      m.created_at
    from messenger_messages m where m.status = 'failed'`;
  await admin`
    insert into messenger.metrics (step_seconds, at, transport_name, message_type, dispatched, completed, retried, dead,
      duration_ms, durations)
    select 60, date_trunc('minute', now()) - minute * interval '1 minute', 'supabase', 'Type' || type, 40, 38, 2, 1,
      4800,
      array(select 1 from generate_series(1, 39))
    from generate_series(1, 2879) minute, generate_series(0, 19) type`;
  await settle(admin);
}
