-- Selects the rows for the metrics of a range of time: the coarsest steps that are rolled up, finer ones at the edges,
-- and measurements that are not rolled up yet.

-- For 366 days, 23 hours and 59 minutes: days, then the hours, five minutes and minutes before and after them.
create or replace function messenger.range_parts(from_time timestamptz, to_time timestamptz, longest int)
returns table (step_seconds int, begins_at timestamptz, ends_at timestamptz)
language plpgsql stable rows 5
set search_path = pg_catalog, pg_temp
as $$
declare
  v_origin constant timestamptz := timestamptz '2000-01-01 00:00+00';
  v_left tstzmultirange := tstzmultirange(tstzrange(from_time, to_time));
  v_length interval;
  v_until timestamptz;
  v_gap tstzrange;
begin
  foreach step_seconds in array array[86400, 3600, 300, 60] loop
    continue when step_seconds > longest;
    v_length := make_interval(secs => step_seconds);
    -- Minutes and hours exist from the first measurement on.
    v_until := case when step_seconds in (60, 3600) then 'infinity'
      else coalesce(messenger.rolled_up_until(step_seconds), '-infinity') end;
    for v_gap in select g from unnest(v_left) g loop
      begins_at := date_bin(v_length, lower(v_gap) - interval '1 microsecond', v_origin) + v_length;
      ends_at := date_bin(v_length, least(upper(v_gap), v_until), v_origin);
      if begins_at < ends_at then
        return next;
        v_left := v_left - tstzmultirange(tstzrange(begins_at, ends_at));
      end if;
    end loop;
  end loop;
end $$;

-- Without a running ticker measurements accumulate: at most the first 20,000 are read.
create or replace function messenger.not_rolled_up_rows()
returns setof messenger.measurements
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_tail tid := (select format('(%s,0)', r.tail)::tid from messenger.roll_up_range() r);
  v_aside bigint[] := messenger.measurements_set_aside();
begin
  return query select m.* from messenger.measurements m where m.ctid >= v_tail and m.id <> all (v_aside) limit 20000;
end $$;

create or replace function messenger.not_rolled_up(from_time timestamptz, to_time timestamptz)
returns setof messenger.metrics
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select s.*
  from messenger.summarize(array(
    select m from messenger.not_rolled_up_rows() m where m.at >= from_time and m.at < to_time)) s
$$;

create or replace function messenger.measured_errors(from_time timestamptz, to_time timestamptz)
returns table (error_class text, message_type text, error text, error_count bigint, last_at timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
  select e.error_class, e.message_type, (array_agg(e.error order by e.last_at desc))[1], sum(e.error_count)::bigint,
    max(e.last_at)
  from (
    select m.error_class, m.message_type, m.error, m.error_count, m.last_at
    from messenger.range_parts(from_time, to_time, 86400) w
    join messenger.metric_errors m on m.step_seconds = w.step_seconds and m.at >= w.begins_at and m.at < w.ends_at
    union all
    select x.error_class, x.message_type, x.error, x.message_count, x.at from messenger.not_rolled_up_rows() x
    where x.error_class is not null and x.at >= from_time and x.at < to_time
  ) e
  group by e.error_class, e.message_type
  order by 4 desc, 5 desc
  limit 10
$$;

comment on function messenger.range_parts(timestamptz, timestamptz, int) is
  'Splits a range of whole minutes into spans, each to be read from rows of one step: the '
  'coarsest possible, at most longest seconds.';
comment on function messenger.not_rolled_up_rows() is 'Measurements that no tick has rolled up yet, at most 20,000.';
comment on function messenger.not_rolled_up(timestamptz, timestamptz) is
  'Measurements of a range of time that are not rolled up yet, as metrics of their minutes.';
comment on function messenger.measured_errors(timestamptz, timestamptz) is
  'The ten most frequent errors of a range of whole minutes.';
revoke all on function
  messenger.range_parts(timestamptz, timestamptz, int),
  messenger.not_rolled_up_rows(),
  messenger.not_rolled_up(timestamptz, timestamptz),
  messenger.measured_errors(timestamptz, timestamptz)
from public, anon, authenticated, service_role;
grant execute on function
  messenger.range_parts(timestamptz, timestamptz, int),
  messenger.not_rolled_up_rows(),
  messenger.not_rolled_up(timestamptz, timestamptz),
  messenger.measured_errors(timestamptz, timestamptz)
to service_role;
