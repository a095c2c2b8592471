-- Health of what makes the bus move: the clock, the bells, the secret they carry.

-- Compared with now, so a clock that stopped without a word is seen too.
create or replace function messenger.health_clock(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = ''
as $$
  select case when lag.seconds < 70 then 'healthy' when lag.seconds < 100 then 'degraded' else 'unhealthy' end,
    coalesce('last tick ' || round(lag.seconds) || ' s ago', 'no tick yet') || case when lag.seconds < 70 then '' else ': ' || fault.cause end,
    fault.remedy,
    jsonb_build_object('seconds', round(lag.seconds), 'ticks', lag.ticks)
  from (select extract(epoch from health_clock.at - c.last_tick_at) as seconds, c.ticks from messenger.clock c) lag
  left join lateral messenger.clock_fault() fault on coalesce(lag.seconds >= 70, true)
$$;

create or replace function messenger.health_clock_errors(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = ''
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
language plpgsql
set search_path = ''
as $$
declare
  v_url text := (select s.functions_url from messenger.settings s);
  v_bells record;
  v_share numeric;
  v_result messenger.check_result;
begin
  select count(*) as rung, count(b.answered_at) as answered, count(*) filter (where b.has_failed) as failed,
    count(*) filter (where b.is_queued and b.rung_at < pg_catalog.now() - interval '30 seconds') as stuck,
    (array_agg(coalesce(b.error, 'HTTP ' || b.status_code) order by b.request_id desc) filter (where b.has_failed))[1] as last_failure
  into v_bells
  from messenger.bell_answers('5 minutes') b;
  v_share := round(v_bells.failed::numeric / nullif(v_bells.answered, 0), 3);
  v_result.status := 'degraded';
  if v_url is null then
    v_result.detail := 'no functions URL';
    v_result.remedy := 'select messenger_start(''https://<project>.supabase.co/functions/v1'')';
  elsif to_regclass('net.http_request_queue') is null then
    v_result.detail := 'no pg_net';
    v_result.remedy := 'create extension pg_net';
  elsif v_bells.stuck > 0 then
    v_result.detail := v_bells.stuck || ' bells have not been sent for 30 s';
    v_result.remedy := 'select net.worker_restart()';
  elsif v_share > 0.2 then
    v_result.status := case when v_share > 0.5 then 'unhealthy' else 'degraded' end;
    v_result.detail := format('%s of %s bells of the last 5 minutes failed, the last with: %s', v_bells.failed, v_bells.answered, left(v_bells.last_failure, 300));
    v_result.remedy := '401: the worker has another secret than Vault; 404: deploy the worker, or correct the functions URL; else see the worker''s log';
  else
    v_result.status := 'healthy';
    v_result.detail := v_url;
  end if;
  v_result.figures := jsonb_build_object('bells', v_bells.rung, 'answered', v_bells.answered, 'failed', v_bells.failed, 'failed_share', v_share);
  return next v_result;
end $$;

create or replace function messenger.health_worker_secret(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = ''
as $$
declare
  v_secrets bigint := 0;
begin
  if to_regclass('vault.decrypted_secrets') is not null then
    select count(*) into v_secrets from vault.decrypted_secrets s where s.name = 'symphony_worker_secret';
  end if;
  return query select case when v_secrets > 0 then 'healthy' else 'unhealthy' end, case when v_secrets > 0 then 'in Vault' else 'not in Vault' end,
    'select messenger_start()', jsonb_build_object('secrets', v_secrets);
end $$;

create or replace function messenger.health_test_clock(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = ''
as $$
  select 'degraded', 'messenger.now() can be moved', 'this is a test database; on any other run the migration again', '{}'::jsonb
  where to_regclass('messenger.test_clock') is not null
$$;

comment on function messenger.health_clock(timestamptz) is 'Seconds since the last tick: degraded from 70, unhealthy from 100.';
comment on function messenger.health_clock_errors(timestamptz) is 'A tick that failed within 5 minutes: degraded.';
comment on function messenger.health_pg_net(timestamptz) is
  'Our bells of 5 minutes: degraded without a URL or pg_net, when one waits unsent for 30 s, or more than 20 percent failed; unhealthy above 50 percent.';
comment on function messenger.health_worker_secret(timestamptz) is 'Unhealthy without the worker secret in Vault.';
comment on function messenger.health_test_clock(timestamptz) is 'Degraded where the time of the bus can be moved.';
revoke all on function messenger.health_clock(timestamptz), messenger.health_clock_errors(timestamptz), messenger.health_pg_net(timestamptz),
  messenger.health_worker_secret(timestamptz), messenger.health_test_clock(timestamptz) from public, anon, authenticated, service_role;
