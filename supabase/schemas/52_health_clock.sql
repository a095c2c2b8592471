-- Health of what makes the bus move: the clock, the bells, the secret they carry.

-- Compared with now, so a clock that stopped without a word is seen too.
create or replace function messenger.health_clock(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when not lag.is_stopped then 'healthy' when lag.is_starting or lag.is_enabled and lag.seconds < 100 then 'degraded' else 'unhealthy' end,
    coalesce('last tick ' || round(lag.seconds) || ' s ago', 'no tick yet') || case when lag.is_stopped then ': ' || fault.cause else '' end,
    fault.remedy,
    jsonb_build_object('seconds', round(lag.seconds), 'ticks', lag.ticks)
  from (
    select extract(epoch from health_clock.at - c.last_tick_at) as seconds, c.ticks, messenger.is_clock_stopped(health_clock.at) as is_stopped,
      s.clock_enabled or s.clock_changed_at is null as is_enabled,
      -- pg_cron begins at a full minute.
      coalesce(s.clock_enabled and s.clock_changed_at > health_clock.at - interval '70 seconds', false) as is_starting
    from messenger.clock c, messenger.settings s
  ) lag
  left join lateral messenger.clock_fault() fault on lag.is_stopped
$$;

create or replace function messenger.health_clock_errors(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when recent.is_error then 'degraded' else 'healthy' end, case when recent.is_error then recent.last_error else 'none in 5 minutes' end,
    'mend what the error names; the clock tries again each second', jsonb_build_object('seconds', round(recent.seconds))
  from (
    select c.last_error, extract(epoch from health_clock_errors.at - c.last_error_at) as seconds,
      coalesce(c.last_error_at > health_clock_errors.at - interval '5 minutes', false) as is_error
    from messenger.clock c
  ) recent
$$;

-- Five minutes of our own bells; of other requests of the project pg_net says nothing to us.
create or replace function messenger.health_pg_net(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select
    case when c.fault is null then 'healthy' when c.fault = 'failing' and c.failed_share > 0.5 and not c.is_mended then 'unhealthy' else 'degraded' end,
    case c.fault
      when 'no URL' then 'no functions URL'
      when 'no pg_net' then 'no pg_net'
      when 'stuck' then c.stuck || ' bells have not been sent for 30 s'
      when 'failing' then format('%s of %s bells of the last 5 minutes failed%s: %s', c.failed, c.answered, case when c.is_mended then ', the newest did not; the last failure' else ', the last with' end,
        left(c.last_failure, 300))
      else c.functions_url
    end,
    case c.fault
      when 'no URL' then 'select messenger_start(''https://<project>.supabase.co/functions/v1'')'
      when 'no pg_net' then 'create extension pg_net'
      when 'stuck' then 'select net.worker_restart()'
      when 'failing' then '401: the worker has another secret than Vault; 404: deploy the worker, or correct the functions URL; else see the worker''s log'
    end,
    jsonb_build_object('bells', c.rung, 'answered', c.answered, 'failed', c.failed, 'failed_share', c.failed_share)
  from (
    select s.functions_url, b.*,
      case when s.functions_url is null then 'no URL' when to_regclass('net.http_request_queue') is null then 'no pg_net' when b.stuck > 0 then 'stuck'
        when b.failed_share > 0.2 then 'failing' end as fault
    from messenger.settings s, (
      select count(*) as rung, count(x.answered_at) as answered, count(*) filter (where x.has_failed) as failed,
        round(count(*) filter (where x.has_failed)::numeric / nullif(count(x.answered_at), 0), 3) as failed_share,
        count(*) filter (where x.is_queued and x.rung_at < pg_catalog.now() - interval '30 seconds') as stuck,
        not (array_agg(x.has_failed order by x.request_id desc) filter (where x.answered_at is not null))[1] as is_mended,
        (array_agg(coalesce(x.error, 'HTTP ' || x.status_code) order by x.request_id desc) filter (where x.has_failed))[1] as last_failure
      from messenger.bell_answers('5 minutes') x
    ) b
  ) c
$$;

create or replace function messenger.health_worker_secret(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when v.is_there then 'healthy' else 'unhealthy' end, case when v.is_there then 'in Vault' else 'not in Vault' end,
    'select messenger_start()', jsonb_build_object('secrets', v.is_there::int)
  from messenger.has_worker_secret() v(is_there)
$$;

create or replace function messenger.health_test_clock(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select 'degraded', 'messenger.now() can be moved', 'this is a test database; on any other run the migration again', '{}'::jsonb
  where to_regclass('messenger.test_clock') is not null
$$;

comment on function messenger.health_clock(timestamptz) is 'Seconds since the last tick: degraded from 70, unhealthy from 100, or when it was stopped; degraded while it starts.';
comment on function messenger.health_clock_errors(timestamptz) is 'A tick that failed within 5 minutes: degraded.';
comment on function messenger.health_pg_net(timestamptz) is
  'Our bells of 5 minutes: degraded without a URL or pg_net, when one waits unsent for 30 s, or more than 20 percent failed; unhealthy above 50 percent while the newest failed too.';
comment on function messenger.health_worker_secret(timestamptz) is 'Unhealthy without the worker secret in Vault.';
comment on function messenger.health_test_clock(timestamptz) is 'Degraded where the time of the bus can be moved.';
revoke all on function messenger.health_clock(timestamptz), messenger.health_clock_errors(timestamptz), messenger.health_pg_net(timestamptz),
  messenger.health_worker_secret(timestamptz), messenger.health_test_clock(timestamptz) from public, anon, authenticated, service_role;
