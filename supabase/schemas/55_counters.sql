-- Counters and gauges for systems that scrape: sums of all time, which never fall, and what there is right now.
create or replace function public.messenger_counters()
returns jsonb
language plpgsql
set search_path = ''
set jit = off
as $$
declare
  v_open messenger.measurements[] := array(select m from messenger.measurements m limit 200000);
  v_counters jsonb;
begin
  with figure as (
    select x.transport_name, x.message_type, sum(x.dispatched) as dispatched, sum(x.completed) as completed, sum(x.retried) as retried, sum(x.dead) as dead,
      sum(x.duration_ms_sum) as duration_ms_sum
    from (select * from messenger.metrics m where m.minute = '-infinity' union all select * from messenger.figures_of(v_open)) x
    group by x.transport_name, x.message_type
  ),
  spread as (
    select x.transport_name, x.message_type, least(26, ceil(x.bucket / 4.0)) as power, sum(x.deliveries) as n
    from (select * from messenger.metric_durations m where m.minute = '-infinity' union all select * from messenger.durations_of(v_open)) x
    group by 1, 2, 3
  )
  select jsonb_agg(jsonb_build_object('transport', f.transport_name, 'type', f.message_type, 'dispatched', f.dispatched, 'completed', f.completed,
    'retried', f.retried, 'dead', f.dead, 'duration_ms_sum', f.duration_ms_sum,
    'duration_ms_buckets', (
      select jsonb_agg(jsonb_build_object('le', 2 ^ p.power, 'count', (
        select coalesce(sum(s.n), 0) from spread s where s.transport_name = f.transport_name and s.message_type = f.message_type and s.power <= p.power)) order by p.power)
      from generate_series(0, 25) as p(power)),
    'deliveries', (select coalesce(sum(s.n), 0) from spread s where s.transport_name = f.transport_name and s.message_type = f.message_type)
  ) order by f.transport_name, f.message_type) into v_counters
  from figure f;
  return jsonb_build_object('counters', coalesce(v_counters, '[]'), 'queues', public.messenger_list_queues() -> 'queues',
    'dead_letters', (select c.n from messenger.count_rows('select from public.messenger_failed_messages f where f.resolved_at is null') c),
    'workers_awake', (select count(*) from messenger.workers w, messenger.settings s
      where w.polled_at > messenger.now() - greatest(2 * s.poll_interval, '1 second') and w.polled_at <= messenger.now()),
    'clock_lag_seconds', (select extract(epoch from messenger.now() - c.last_tick_at) from messenger.clock c));
end $$;

comment on function public.messenger_counters() is
  'For scrapers: {"counters": [{transport, type, dispatched, completed, retried, dead, deliveries, duration_ms_sum, duration_ms_buckets: [{le (ms), count}] cumulative}], "queues" (as messenger_list_queues), "dead_letters", "workers_awake", "clock_lag_seconds" (null before the first tick)}.';
revoke all on function public.messenger_counters() from public, anon, authenticated;
grant execute on function public.messenger_counters() to service_role;
