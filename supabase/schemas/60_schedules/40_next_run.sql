-- Computes when a schedule runs. The ticker, the preview and the checks of messenger_schedule all use these functions.

-- Moments are whole milliseconds, so that the header of a message identifies its occurrence exactly.
create or replace function messenger.next_run(schedule public.messenger_schedules, after timestamptz)
returns messenger.cron_run
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_config jsonb := schedule.schedule_config;
  v_after timestamptz := greatest(after, schedule.starts_at - interval '1 microsecond');
  v_run messenger.cron_run;
  v_anchor timestamptz;
  v_interval bigint;
  v_elapsed bigint;
begin
  case schedule.schedule_type
    when 'cron' then
      v_run := messenger.next_cron_run(messenger.parse_cron(v_config ->> 'cron'), schedule.timezone, v_after,
        schedule.dst_gap, schedule.dst_overlap);
    when 'interval' then
      -- Counted from the anchor in whole periods, so a late tick causes no drift.
      v_anchor := date_trunc('milliseconds',
        coalesce((v_config ->> 'startAt')::timestamptz, schedule.starts_at, schedule.created_at));
      v_interval := (v_config ->> 'interval')::bigint * 1000;
      v_elapsed := (extract(epoch from v_after - v_anchor) * 1000000)::bigint;
      v_run.run_at := v_anchor
        + case when v_elapsed < 0 then 0 else v_elapsed / v_interval + 1 end * (v_interval * interval '1 microsecond');
    else
      v_run.run_at := date_trunc('milliseconds', (v_config ->> 'at')::timestamptz);
      if v_run.run_at <= v_after then
        return null;
      end if;
  end case;
  return case when v_run.run_at <= coalesce(schedule.ends_at, 'infinity') then v_run end;
end $$;

-- Cron expressions cannot be evaluated backwards. next_run is monotone, so exponential steps and bisection find the
-- run. "gap" is a guess at the distance; with a good guess two evaluations suffice.
create or replace function messenger.last_run(
  schedule public.messenger_schedules, before timestamptz, earlier timestamptz, gap interval
)
returns timestamptz
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run timestamptz := earlier;
  v_high timestamptz := before;
  v_gap interval := gap;
  v_probe timestamptz;
  v_next timestamptz;
begin
  loop
    v_probe := before - v_gap;
    exit when v_probe <= earlier;
    v_next := (messenger.next_run(schedule, v_probe - interval '1 microsecond')).run_at;
    if v_next < before then
      v_run := v_next;
      exit;
    end if;
    v_high := v_probe;
    v_gap := v_gap * 4;
  end loop;
  loop
    v_next := (messenger.next_run(schedule, v_run)).run_at;
    exit when v_next is null or v_next >= before;
    v_run := v_next;
    v_probe := v_run + make_interval(secs => extract(epoch from v_high - v_run)::double precision / 2);
    v_next := (messenger.next_run(schedule, v_probe)).run_at;
    if v_next < before then
      v_run := v_next;
    else
      v_high := v_probe;
    end if;
  end loop;
  return v_run;
end $$;

-- A schedule does not repeat runs up to last_run_at. Only a schedule that runs once may start in the past.
create or replace function messenger.first_run(schedule public.messenger_schedules, at timestamptz)
returns timestamptz
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (messenger.next_run(schedule, case when schedule.schedule_type = 'once'
    then coalesce(schedule.last_run_at, '-infinity') else greatest(at, schedule.last_run_at) end)).run_at;
end $$;

comment on function messenger.next_run(public.messenger_schedules, timestamptz) is
  'The schedule''s first run later than a moment, between starts_at and '
  'ends_at (both inclusive); null if there is none.';
comment on function messenger.last_run(public.messenger_schedules, timestamptz, timestamptz, interval) is
  'The schedule''s last run before a moment. earlier is a run before it; gap is a guess at the distance.';
comment on function messenger.first_run(public.messenger_schedules, timestamptz) is
  'The first run of a schedule that is saved or resumed at this moment.';
revoke all on function
  messenger.next_run(public.messenger_schedules, timestamptz),
  messenger.last_run(public.messenger_schedules, timestamptz, timestamptz, interval),
  messenger.first_run(public.messenger_schedules, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.next_run(public.messenger_schedules, timestamptz),
  messenger.last_run(public.messenger_schedules, timestamptz, timestamptz, interval),
  messenger.first_run(public.messenger_schedules, timestamptz)
to service_role;
