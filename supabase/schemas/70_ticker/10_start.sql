-- Starts and stops the ticker, the pg_cron job symphony-clock.

create or replace function messenger.milliseconds(setting text)
returns numeric
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case when setting ~ '^[0-9]+$' then setting::numeric
  else extract(epoch from setting::interval) * 1000 end $$;

-- A statement_timeout below 100 ms ends the job before its first tick. Sessions of pg_cron take the setting of the role
-- in this database, else that of the role, else that of the database.
create or replace function messenger.ticker_setting_fault(out cause text, out remedy text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting record;
begin
  select split_part(c.value, '=', 2) as value, s.setrole <> 0 as is_role, s.setdatabase <> 0 as is_database
  into v_setting
  from pg_catalog.pg_db_role_setting s cross join lateral unnest(s.setconfig) as c(value)
  where s.setrole in (0, (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user))
    and s.setdatabase in (0, (select d.oid from pg_catalog.pg_database d where d.datname = current_database()))
    and split_part(c.value, '=', 1) = 'statement_timeout'
  order by s.setrole = 0, s.setdatabase = 0
  limit 1;
  if messenger.milliseconds(v_setting.value) between 1 and 99 then
    cause := format('statement_timeout = %s of %s ends the job symphony-clock before its first tick', v_setting.value,
      case when v_setting.is_role then 'role ' || current_user else 'database ' || current_database() end);
    remedy := format('alter role %I%s set statement_timeout = %L', current_user,
      case when v_setting.is_role and v_setting.is_database
        then format(' in database %I', current_database()) else '' end, '2min');
  end if;
end $$;

create or replace function messenger.start(functions_url text, options jsonb)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_url text := rtrim(functions_url, '/');
  v_options jsonb := coalesce(options, '{}');
  v_unknown text;
  v_settings messenger.settings;
  v_has_cron boolean := to_regclass('cron.job') is not null;
  v_secret record;
  v_wakeups_remedy text;
  v_clock_remedy text;
begin
  perform messenger.require_writable();
  if jsonb_typeof(v_options) <> 'object' then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'options must be a JSON object', 'pass {} to keep all settings');
  end if;
  select o.key into v_unknown from jsonb_object_keys(v_options) as o(key)
  where o.key not in ('max_workers', 'messages_per_worker', 'poll_interval', 'max_unfinished_per_user') limit 1;
  if found then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'options.' || v_unknown,
      'the options are max_workers, messages_per_worker, poll_interval and max_unfinished_per_user');
  end if;
  perform messenger.check_start(v_url, v_options);

  v_secret := messenger.ensure_worker_secret();
  perform messenger.ensure_singletons(), messenger.ensure_transports(), messenger.ensure_own_types();
  update messenger.settings s
  set functions_url = coalesce(v_url, s.functions_url),
      clock_enabled = true,
      clock_changed_at = messenger.now(),
      max_workers = coalesce((v_options ->> 'max_workers')::numeric, s.max_workers),
      messages_per_worker = coalesce((v_options ->> 'messages_per_worker')::numeric, s.messages_per_worker),
      poll_interval = coalesce((v_options ->> 'poll_interval')::interval, s.poll_interval),
      max_unfinished_per_user = coalesce((v_options ->> 'max_unfinished_per_user')::numeric, s.max_unfinished_per_user)
  returning * into v_settings;
  if v_has_cron then
    perform cron.schedule('symphony-clock', messenger.job_schedule(), messenger.ticker_command());
    perform messenger.sync_handlers_job();
    v_clock_remedy := (select f.cause || ': ' || f.remedy from messenger.ticker_setting_fault() f);
  else
    v_clock_remedy := 'no pg_cron: create extension pg_cron, or let an external scheduler POST to the scheduler edge '
      'function once per '
      'minute';
  end if;

  v_wakeups_remedy := case
    when v_settings.functions_url is null
      then 'no functions URL: select messenger_start(''https://<project>.supabase.co/functions/v1'')'
    when to_regclass('net.http_request_queue') is null then 'no pg_net: create extension pg_net'
    when not v_secret.is_readable then v_secret.fault
    else 'pg_net cannot be called: ' || messenger.wakeup_fault()
  end;
  return jsonb_build_object(
    'clock', v_has_cron, 'wakeups', v_wakeups_remedy is null, 'functions_url', v_settings.functions_url,
    'worker_secret', v_secret.is_readable)
    || case when v_wakeups_remedy is null then '{}' else jsonb_build_object('wakeups_remedy', v_wakeups_remedy) end
    || case when v_clock_remedy is null then '{}' else jsonb_build_object('clock_remedy', v_clock_remedy) end;
end $$;

create or replace function messenger.stop()
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unscheduled bigint := 0;
begin
  perform messenger.require_writable();
  perform messenger.ensure_singletons();
  update messenger.settings s set clock_enabled = false,
    clock_changed_at = case when s.clock_enabled then messenger.now() else s.clock_changed_at end;
  if to_regclass('cron.job') is not null then
    perform cron.unschedule(j.jobid) from cron.job j where j.jobname in ('symphony-clock', 'symphony-handlers');
    get diagnostics v_unscheduled = row_count;
  end if;
  return jsonb_build_object('clock', false, 'unscheduled', v_unscheduled);
end $$;

create or replace function public.messenger_start(functions_url text default null, options jsonb default '{}')
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.start(functions_url, options) $$;

create or replace function public.messenger_stop()
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.stop() $$;

comment on function messenger.milliseconds(text) is
  'The value of a duration setting, as Postgres stores it, in milliseconds.';
comment on function messenger.ticker_setting_fault() is
  'The setting that stops the ticker and its remedy; both null if there is none.';
comment on function messenger.start(text, jsonb) is 'See public.messenger_start.';
comment on function messenger.stop() is 'See public.messenger_stop.';
comment on function public.messenger_start(text, jsonb) is
  'Starts the ticker and creates missing rows: the pg_cron job symphony-clock (and symphony-handlers while a type has '
  'an SQL handler), the worker secret in Vault, transports, types and settings. functions_url is the base URL of the '
  'edge functions; null keeps the stored URL, and without one no wake-ups are sent. options: max_workers, '
  'messages_per_worker, poll_interval (an interval), max_unfinished_per_user; those left out keep their values. '
  'Returns {"clock", "wakeups", "functions_url", "worker_secret", "wakeups_remedy"?, "clock_remedy"?}. Raises '
  'SM_SETTING, SM_UNKNOWN_FIELD, SM_UNAVAILABLE. Example: select '
  'messenger_start(''https://abcdefgh.supabase.co/functions/v1'', ''{"max_workers": 4}'');';
comment on function public.messenger_stop() is
  'Stops the ticker; a running job ends within a second. Messages stay, and workers that are '
  'called by other means still handle them. Returns {"clock": false, "unscheduled": number of '
  'pg_cron jobs}. Example: select messenger_stop();';
revoke all on function
  messenger.milliseconds(text),
  messenger.ticker_setting_fault(),
  messenger.start(text, jsonb),
  messenger.stop(),
  public.messenger_start(text, jsonb),
  public.messenger_stop()
from public, anon, authenticated, service_role;
grant execute on function
  messenger.start(text, jsonb),
  messenger.stop(),
  public.messenger_start(text, jsonb),
  public.messenger_stop()
to service_role;
