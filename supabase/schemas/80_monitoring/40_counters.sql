-- Counters and gauges for monitoring systems that scrape: all-time sums, which never decrease, and current values.
create or replace function public.messenger_counters()
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_counters jsonb;
begin
  perform messenger.require_primary();
  -- As of the last tick: with measurements that are not rolled up yet the counters
  -- could decrease, which scrapers take for a restart.
  select jsonb_agg(jsonb_build_object('transport', m.transport_name, 'type', m.message_type, 'dispatched', m.dispatched,
    'completed', m.completed,
    'retried', m.retried, 'dead', m.dead, 'duration_ms_sum', round(m.duration_ms::numeric, 3),
    'duration_ms_buckets', (
      select jsonb_agg(jsonb_build_object('le', messenger.bucket_limit(l.bucket)::numeric, 'count',
        (select coalesce(sum(d), 0) from unnest(m.durations[1:l.bucket + 1]) d)) order by l.bucket)
      from generate_series(0, 100, 4) as l(bucket)),
    'deliveries', (select coalesce(sum(d), 0) from unnest(m.durations) d)
  ) order by m.transport_name, m.message_type)
  into v_counters
  from messenger.metrics m
  where m.step_seconds = 0;
  return jsonb_build_object('counters', coalesce(v_counters, '[]'), 'queues',
    public.messenger_list_queues() -> 'queues',
    'dead_letters',
    (select c.n
      from messenger.count_rows('select from public.messenger_failed_messages f where f.resolved_at is null') c),
    'workers_awake', (select count(*) from messenger.workers w left join messenger.settings s on true
      where (w.polled_at > messenger.now() - greatest(2 * s.poll_interval, '1 second')
          or w.active_until > messenger.now())
        and w.polled_at <= messenger.now()),
    'clock_lag_seconds', (select extract(epoch from messenger.now() - c.last_tick_at) from messenger.clock c));
end $$;

comment on function public.messenger_counters() is
  'Counters and gauges for scrapers: {"counters": [{transport, type, dispatched, completed, retried, dead, deliveries, '
  'duration_ms_sum, duration_ms_buckets: [{le (ms), count (cumulative)}]}], "queues" (as in messenger_list_queues), '
  '"dead_letters" (open), "workers_awake" (active workers), "clock_lag_seconds" (since the last tick; null before the '
  'first)}. Raises SM_UNAVAILABLE on a read replica. Example: select messenger_counters() -> ''clock_lag_seconds'';';
revoke all on function public.messenger_counters() from public, anon, authenticated;
grant execute on function public.messenger_counters() to service_role;
