-- Status and health: how much there is, and whether it moves.
create or replace function messenger.status()
returns jsonb
language sql stable security definer
set search_path = ''
as $$
  select jsonb_build_object(
    'queue', (
      select jsonb_build_object('depth', count(*) filter (where m.processed_at is null), 'pending', count(*) filter (where m.status = 'pending'),
        'processing', count(*) filter (where m.status = 'processing'), 'completed', count(*) filter (where m.status = 'completed'),
        'failed', count(*) filter (where m.status = 'failed'))
      from public.messenger_messages m
    ),
    'dead_letters', (select count(*) from public.messenger_failed_messages f where f.resolved_at is null),
    'transports', (select jsonb_agg(jsonb_build_object('name', t.name, 'type', t.type, 'enabled', t.enabled) order by t.name) from public.messenger_transports t),
    'workers', (
      select coalesce(jsonb_agg(jsonb_build_object('worker', w.worker, 'started_at', w.started_at, 'polled_at', w.polled_at) order by w.polled_at desc), '[]')
      from messenger.workers w where w.polled_at > messenger.now() - interval '1 minute'
    ),
    'clock', (select jsonb_build_object('enabled', s.clock_enabled, 'last_tick_at', c.last_tick_at, 'ticks', c.ticks, 'last_error', c.last_error, 'last_error_at', c.last_error_at)
              from messenger.clock c, messenger.settings s),
    'replays', (
      select coalesce(jsonb_agg(to_jsonb(r)), '[]') from messenger.replay_report() r where coalesce(r.finished_at, messenger.now()) > messenger.now() - interval '1 day'
    ),
    'functions_url', (select s.functions_url from messenger.settings s),
    'pruned', (select coalesce(sum(p.message_count), 0) from messenger.pruned p),
    'timestamp', messenger.now()
  )
$$;

create or replace function public.messenger_status()
returns jsonb
language sql
set search_path = ''
as $$ select messenger.status() $$;

-- Each check compares what it sees with now, so a clock that stopped without a word is seen too.
create or replace function messenger.health_checks()
returns table (name text, status text, detail text, remedy text)
language plpgsql security definer
set search_path = ''
as $$
declare
  v_now timestamptz := messenger.now();
  v_settings messenger.settings;
  v_clock messenger.clock;
  v_lag interval;
  v_open bigint;
begin
  select * into v_settings from messenger.settings;
  select * into v_clock from messenger.clock;

  name := 'clock';
  v_lag := v_now - v_clock.last_tick_at;
  status := case when v_lag < '70 seconds' then 'healthy' when v_lag < '100 seconds' then 'degraded' else 'unhealthy' end;
  detail := coalesce('last tick ' || round(extract(epoch from v_lag)) || ' s ago', 'no tick yet');
  remedy := case when status <> 'healthy' then
    case when v_settings.clock_enabled then 'see cron.job_run_details for symphony-clock; if pg_cron''s launcher is gone, restart the database'
    else 'select messenger_start()' end end;
  return next;

  name := 'clock_errors';
  status := case when v_clock.last_error_at > v_now - interval '5 minutes' then 'degraded' else 'healthy' end;
  detail := case when status = 'healthy' then 'none in 5 minutes' else v_clock.last_error end;
  remedy := case when status <> 'healthy' then 'mend what the error names; the clock tries again each second' end;
  return next;

  name := 'oldest_due';
  select v_now - min(head.available_at) into v_lag
  from messenger.active_queues(null, null, false) q
  cross join generate_series(1, 10) as level(priority)
  cross join lateral (
    select m.available_at from public.messenger_messages m
    where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority and m.processed_at is null
      and m.available_at <= v_now and (m.status = 'pending' or m.lock_expires_at < v_now)
    order by m.available_at, m.id limit 1
  ) head;
  status := case when coalesce(v_lag, '0') < '1 minute' then 'healthy' when v_lag < '10 minutes' then 'degraded' else 'unhealthy' end;
  detail := coalesce('the oldest due message waits since ' || round(extract(epoch from v_lag)) || ' s', 'nothing is due');
  remedy := case when status <> 'healthy' then 'POST to the worker door and look at its log: no worker asks, or none handles the type' end;
  return next;

  -- The oldest thousand of each queue and priority: a type nobody handles stays while others go, and so comes to stand there.
  name := 'no_handler';
  select string_agg(distinct quote_ident(due.message_type), ', ') into detail
  from (
    select distinct q.transport_name, q.queue_name, head.message_type
    from messenger.active_queues(null, null, false) q
    cross join generate_series(1, 10) as level(priority)
    cross join lateral (
      select m.message_type from public.messenger_messages m
      where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority and m.processed_at is null
        and m.available_at < v_now - interval '10 seconds' and (m.status = 'pending' or m.lock_expires_at < v_now)
      order by m.available_at, m.id limit 1000
    ) head
  ) due
  where messenger.awake_workers(due.transport_name, due.queue_name, due.message_type, '1 minute') = 0
    and not exists (select from messenger.sql_handlers() h where h.type = due.message_type and h.handler is not null);
  status := case when detail is null then 'healthy' else 'degraded' end;
  detail := coalesce('no worker of the last minute handles ' || left(detail, 1000), 'every type that is due has a handler');
  remedy := case when status <> 'healthy' then 'deploy a worker whose packs define these types, or name an SQL handler: the messages wait' end;
  return next;

  name := 'bells';
  status := case when v_settings.functions_url is not null and to_regclass('net.http_request_queue') is not null then 'healthy' else 'degraded' end;
  detail := case when status = 'healthy' then v_settings.functions_url when v_settings.functions_url is null then 'no functions URL' else 'no pg_net' end;
  remedy := case when status <> 'healthy' then 'create extension pg_net, then select messenger_start(''https://<project>.supabase.co/functions/v1'')' end;
  return next;

  name := 'worker_secret';
  status := 'unhealthy';
  if to_regclass('vault.decrypted_secrets') is not null then
    if exists (select from vault.decrypted_secrets s where s.name = 'symphony_worker_secret') then
      status := 'healthy';
    end if;
  end if;
  detail := case when status = 'healthy' then 'in Vault' else 'not in Vault' end;
  remedy := case when status <> 'healthy' then 'select messenger_start()' end;
  return next;

  name := 'dead_letters';
  select count(*) into v_open from (select from public.messenger_failed_messages f where f.resolved_at is null limit 10000) x;
  status := case when v_open = 0 then 'healthy' else 'degraded' end;
  detail := v_open || ' open';
  remedy := case when v_open > 0 then 'select message_type, error, attempts from messenger_failed_messages where resolved_at is null' end;
  return next;

  if to_regclass('messenger.test_clock') is not null then
    name := 'test_clock'; status := 'degraded'; detail := 'messenger.now() can be moved'; remedy := 'this is a test database; on any other run the migration again';
    return next;
  end if;
end $$;

create or replace function public.messenger_health()
returns jsonb
language sql
set search_path = ''
as $$
  select jsonb_build_object(
    'status', case when bool_or(c.status = 'unhealthy') then 'unhealthy' when bool_or(c.status = 'degraded') then 'degraded' else 'healthy' end,
    'checks', jsonb_agg(jsonb_strip_nulls(to_jsonb(c))),
    'timestamp', messenger.now(),
    'metrics', messenger.status() -> 'queue'
  )
  from messenger.health_checks() c
$$;

comment on function messenger.status() is 'See public.messenger_status.';
comment on function public.messenger_status() is 'Figures of the whole installation: queue (depth, pending, processing, completed, failed), dead letters, transports, workers of the last minute, clock, slow retries of the last day.';
comment on function messenger.health_checks() is 'One row a check: name, status (healthy, degraded, unhealthy), detail, remedy.';
comment on function public.messenger_health() is 'Health: {"status", "checks": [{name, status, detail, remedy?}], "timestamp", "metrics"}. The worst check decides.';
revoke all on function messenger.status(), public.messenger_status(), messenger.health_checks(), public.messenger_health() from public, anon, authenticated, service_role;
grant execute on function messenger.status(), public.messenger_status(), messenger.health_checks(), public.messenger_health() to service_role;
