-- Health checks of the ticker: its ticks, their steps, and the pg_cron jobs.

-- Only full minutes during which the ticker was enabled throughout and ticks were recorded.
create or replace function messenger.ticks_per_minute(at timestamptz, out minutes int, out per_minute numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_to timestamptz := date_bin('1 minute', at, '2000-01-01 00:00+00');
  v_from timestamptz := date_bin('1 minute', interval '59.999999 seconds' + greatest(
    (select min(t.at) from messenger.ticks t), (select s.clock_changed_at from messenger.settings s),
    v_to - interval '3 minutes'), '2000-01-01 00:00+00');
begin
  minutes := greatest(0, extract(epoch from v_to - v_from) / 60);
  if minutes > 0 then
    per_minute := trim_scale(round((select count(*) from messenger.ticks t where t.at >= v_from
      and t.at < v_to)::numeric / minutes, 1));
  end if;
end $$;

-- Compares the last tick with the current time, so a ticker that stopped without an error is found too. The number of
-- ticks is checked only if pg_cron runs the ticker; an external scheduler has its own interval.
create or replace function messenger.health_clock(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings messenger.settings := (select s from messenger.settings s);
  v_last timestamptz := messenger.last_tick_at(at);
  v_seconds numeric := round(extract(epoch from at - v_last));
  v_pace record := messenger.ticks_per_minute(at);
  v_fault record;
  v_slowest record;
  v_result messenger.check_result;
begin
  v_result.figures := jsonb_build_object('seconds', v_seconds, 'ticks', (select c.ticks from messenger.clock c),
    'ticks_per_minute', v_pace.per_minute);
  v_result.detail := coalesce('last tick ' || v_seconds || ' s ago', 'no tick yet');
  v_result.status := 'healthy';
  if messenger.is_ticker_stopped(at) then
    select * into v_fault from messenger.ticker_fault();
    v_result.detail := v_result.detail || ': ' || v_fault.cause;
    v_result.remedy := v_fault.remedy;
    -- pg_cron starts a job at a full minute.
    v_result.status := case
      when v_settings.clock_enabled and v_settings.clock_changed_at > at - interval '70 seconds' then 'degraded'
      when (v_settings.clock_enabled or v_settings.clock_changed_at is null) and v_seconds < 100 then 'degraded'
      else 'unhealthy' end;
  elsif v_pace.per_minute is not null then
    v_result.detail := v_result.detail || format(
      ', %s ticks per minute in the last %s full minutes', v_pace.per_minute, v_pace.minutes);
    if v_pace.per_minute < 55 and messenger.is_ticker_scheduled() then
      select t.slowest_step, t.slowest_ms into v_slowest from messenger.ticks t
      where t.at > health_clock.at - interval '4 minutes' order by t.slowest_ms desc nulls last limit 1;
      select * into v_fault from messenger.ticker_setting_fault();
      v_result.status := 'degraded';
      v_result.detail := v_result.detail || ', at least 55 are expected: ' || coalesce(v_fault.cause,
        format('the slowest step was %s with %s ms', v_slowest.slowest_step, v_slowest.slowest_ms));
      v_result.remedy := coalesce(v_fault.remedy,
        'select * from messenger.ticks order by duration_ms desc limit 5; select * from cron.job_run_details order by '
        'runid desc limit 5');
    end if;
  end if;
  return next v_result;
end $$;

-- A lock conflict or two are normal on a busy database: the next tick does the work.
create or replace function messenger.health_clock_errors(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_result messenger.check_result;
  v_last timestamptz;
begin
  select max(e.at), string_agg(format('%s: %s (%s times)', e.step, e.error, e.failures), '; ' order by e.at desc)
  into v_last, v_result.detail
  from (
    select * from messenger.step_errors x
    where x.at > health_clock_errors.at - interval '5 minutes'
      and (x.repeats >= 3 or not messenger.is_lock_error(x.sqlstate))
    order by x.at desc limit 5
  ) e;
  v_result.status := case when v_last is null then 'healthy' else 'degraded' end;
  v_result.detail := coalesce(v_result.detail, 'none in 5 minutes');
  v_result.remedy := 'fix the cause that the error names; the step is retried every second, and the other steps run: '
    'select * from messenger.step_errors';
  v_result.figures := jsonb_build_object('seconds',
    round(extract(epoch from at - coalesce(v_last, (select max(e.at) from messenger.step_errors e)))));
  return next v_result;
end $$;

-- A lock conflict is attributed to the row only after three attempts.
create or replace function messenger.health_set_aside(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest messenger.set_aside;
  v_result messenger.check_result;
  v_rows record;
begin
  select * into v_rows
  from messenger.count_rows('select from messenger.set_aside s where s.attempts >= 3 or not '
    'messenger.is_lock_error(s.sqlstate)');
  select * into v_newest from messenger.set_aside s where s.attempts >= 3 or not messenger.is_lock_error(s.sqlstate)
  order by s.at desc, s.row_id limit 1;
  v_result.status := case when v_newest.step is null then 'healthy' else 'degraded' end;
  v_result.detail := case when v_newest.step is null then 'none'
    else format('%s%s rows could not be written and were set aside, the newest %s of %s in step %s: %s',
      case when v_rows.estimated then 'about ' else '' end, v_rows.n,
      v_newest.row_id, v_newest.object, v_newest.step, v_newest.error) end;
  v_result.remedy := 'change the trigger, constraint or value that the error names; the rows are retried '
    'automatically, or immediately after: '
    || 'update messenger.set_aside set retry_at = messenger.now()';
  v_result.figures := jsonb_build_object('rows', v_rows.n, 'seconds',
    round(extract(epoch from health_set_aside.at - v_newest.at)));
  return next v_result;
end $$;

-- A run that has ended is followed by another within two seconds; pg_cron starts the first one at a full minute.
create or replace function messenger.health_sql_handlers(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings messenger.settings := (select s from messenger.settings s);
  v_job record;
  v_run record;
  v_result messenger.check_result;
begin
  if to_regclass('cron.job') is null or not coalesce(v_settings.clock_enabled, false)
    or not messenger.needs_handlers_job() then
    return;
  end if;
  select j.jobid, j.active into v_job from cron.job j where j.jobname = 'symphony-handlers';
  select d.status, d.return_message, d.start_time into v_run
  from (select * from cron.job_run_details x order by x.runid desc limit 1000) d where d.jobid = v_job.jobid
  order by d.runid desc limit 1;
  v_result.status := 'degraded';
  v_result.figures := jsonb_build_object(
    'runners', (select count(*) from messenger.sql_runners r where messenger.is_backend_alive(r.pid, r.backend_start)),
    'seconds', round(extract(epoch from health_sql_handlers.at - v_run.start_time)));
  if v_job.jobid is null then
    v_result.detail := 'types have SQL handlers, but pg_cron has no job symphony-handlers';
    v_result.remedy := 'select messenger_start()';
  elsif not v_job.active then
    v_result.detail := 'the job symphony-handlers is inactive';
    v_result.remedy := format('select cron.alter_job(%s, active => true)', v_job.jobid);
  elsif v_run.status = 'failed' and not messenger.is_handlers_job_running() then
    v_result.detail := 'the last run of the job symphony-handlers failed: '
      || left(coalesce(v_run.return_message, 'without a message'), 500);
    v_result.remedy := format('select start_time, status, return_message from cron.job_run_details where jobid = %s '
      'order by runid desc limit 5', v_job.jobid);
  else
    v_result.status := 'healthy';
    v_result.detail := case when messenger.is_handlers_job_running() then 'the job symphony-handlers is running'
      else 'the job symphony-handlers is scheduled' end;
  end if;
  return next v_result;
end $$;

create or replace function messenger.health_test_clock(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select 'degraded', 'a test clock is installed, so messenger.now() can differ from the real time',
    'in a test database this is intended; in any other, run the migration again', '{}'::jsonb
  where to_regclass('messenger.test_clock') is not null
$$;

comment on function messenger.ticks_per_minute(timestamptz) is
  'Ticks per minute in the last full minutes (at most three); per_minute is null if there was no full minute.';
comment on function messenger.health_clock(timestamptz) is
  'Seconds since the last tick: degraded from 70, unhealthy from 100 or after messenger_stop; degraded while the '
  'ticker starts, and below 55 ticks per minute if pg_cron runs it.';
comment on function messenger.health_clock_errors(timestamptz) is
  'A step of the tick failed within 5 minutes: degraded. Lock conflicts count from the third in a row on.';
comment on function messenger.health_set_aside(timestamptz) is 'A row that a step could not write: degraded.';
comment on function messenger.health_sql_handlers(timestamptz) is
  'The job symphony-handlers is needed but missing, inactive or failing: '
  'degraded. Returns no row if the job is not needed.';
comment on function messenger.health_test_clock(timestamptz) is 'Degraded if a test clock is installed.';
revoke all on function
  messenger.ticks_per_minute(timestamptz),
  messenger.health_clock(timestamptz),
  messenger.health_clock_errors(timestamptz),
  messenger.health_set_aside(timestamptz),
  messenger.health_sql_handlers(timestamptz),
  messenger.health_test_clock(timestamptz)
from public, anon, authenticated, service_role;
