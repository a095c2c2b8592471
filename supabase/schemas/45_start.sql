-- Clock on, clock off.

-- What pg_cron runs each minute. A DO block may commit between ticks, a procedure with a pinned search_path may not (tried).
-- Paced by the real clock: it ends before the minute does, and pg_cron starts the next one.
create or replace function messenger.clock_command()
returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $command$
  select $clock$do $$
declare
  v_end timestamptz := date_trunc('minute', clock_timestamp()) + interval '59.5 seconds';
begin
  while messenger.tick_or_note_error() loop
    commit;
    exit when clock_timestamp() > v_end - interval '0.5 seconds';
    perform pg_sleep(extract(epoch from date_trunc('second', clock_timestamp()) + interval '1 second' - clock_timestamp()));
  end loop;
end $$$clock$
$command$;

create or replace function messenger.start(functions_url text, options jsonb)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_url text := rtrim(functions_url, '/');
  v_options jsonb := coalesce(options, '{}');
  v_odd text;
  v_settings messenger.settings;
  v_has_clock boolean := to_regclass('cron.job') is not null;
  v_has_secret boolean;
  v_missing text;
begin
  if jsonb_typeof(v_options) <> 'object' then
    perform messenger.refuse('SM_UNKNOWN_FIELD', 'options must be a JSON object');
  end if;
  select o.key into v_odd from jsonb_object_keys(v_options) as o(key)
  where o.key not in ('max_workers', 'messages_per_worker', 'poll_interval', 'max_unfinished_per_user') limit 1;
  if found then
    perform messenger.refuse('SM_UNKNOWN_FIELD', 'options.' || v_odd);
  end if;

  v_has_secret := messenger.ensure_worker_secret();
  update messenger.settings s
  set functions_url = coalesce(v_url, s.functions_url),
      clock_enabled = true,
      clock_changed_at = messenger.now(),
      max_workers = coalesce((v_options ->> 'max_workers')::int, s.max_workers),
      messages_per_worker = coalesce((v_options ->> 'messages_per_worker')::int, s.messages_per_worker),
      poll_interval = coalesce((v_options ->> 'poll_interval')::interval, s.poll_interval),
      max_unfinished_per_user = coalesce((v_options ->> 'max_unfinished_per_user')::int, s.max_unfinished_per_user)
  returning * into v_settings;
  if v_has_clock then
    perform cron.schedule('symphony-clock', '* * * * *', messenger.clock_command());
  end if;

  v_missing := case
    when v_settings.functions_url is null then 'no functions URL: select messenger_start(''https://<project>.supabase.co/functions/v1'')'
    when to_regclass('net.http_request_queue') is null then 'no pg_net: create extension pg_net'
    when not v_has_secret then 'no Vault: create extension supabase_vault'
  end;
  return jsonb_build_object(
    'clock', v_has_clock, 'bells', v_missing is null, 'functions_url', v_settings.functions_url, 'worker_secret', v_has_secret)
    || case when v_missing is null then '{}' else jsonb_build_object('bells_remedy', v_missing) end
    || case when v_has_clock then '{}' else
         jsonb_build_object('clock_remedy', 'no pg_cron: create extension pg_cron, or let an outside clock POST to the scheduler door each minute') end;
end $$;

create or replace function messenger.stop()
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unscheduled bigint := 0;
begin
  update messenger.settings s set clock_enabled = false, clock_changed_at = case when s.clock_enabled then messenger.now() else s.clock_changed_at end;
  if to_regclass('cron.job') is not null then
    perform cron.unschedule(j.jobid) from cron.job j where j.jobname = 'symphony-clock';
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

comment on function messenger.clock_command() is 'The command of the pg_cron job symphony-clock: ticks each second of its minute, one transaction a tick. It holds no secret.';
comment on function messenger.start(text, jsonb) is 'See public.messenger_start.';
comment on function messenger.stop() is 'See public.messenger_stop.';
comment on function public.messenger_start(text, jsonb) is
  'Turns the clock on: pg_cron job symphony-clock, worker secret in Vault, base URL of the edge functions (null keeps the stored one; none stored: a clock without bells). Options: max_workers, messages_per_worker, poll_interval, max_unfinished_per_user.';
comment on function public.messenger_stop() is 'Turns the clock off; a running minute ends within a second. Messages stay, and workers that are called still handle them.';
revoke all on function messenger.clock_command(), messenger.start(text, jsonb), messenger.stop(), public.messenger_start(text, jsonb), public.messenger_stop()
  from public, anon, authenticated, service_role;
grant execute on function messenger.start(text, jsonb), messenger.stop(), public.messenger_start(text, jsonb), public.messenger_stop() to service_role;
