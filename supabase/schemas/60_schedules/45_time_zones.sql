-- Maps wall-clock times to moments, including the days on which a zone changes its offset.

-- Around a change at instant T three series are searched: wall-clock times with the old offset before T, with the new
-- offset from T on, and, for fixed times in a gap, with the old offset continued after T. Each is evaluated once, so
-- the cost of a change does not depend on the number of runs in it. Timestamps are in UTC here: adding hours to them
-- gives the same result in every session.
create or replace function messenger.run_near_change(
  fields messenger.cron_fields, after timestamp, change timestamp, offset_before interval, offset_after interval,
  dst_gap text, dst_overlap text
)
returns messenger.cron_run
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_second constant interval := interval '1 second';
  v_from timestamp := greatest(after, change - v_second);
  v_before timestamp;
  v_moved timestamp;
  v_after timestamp;
  v_run timestamp;
begin
  if after < change then
    v_before := messenger.next_wall_time(fields, after + offset_before) - offset_before;
    if v_before >= change or (
      not fields.elapsed and dst_overlap = 'second' and v_before + offset_before >= change + offset_after) then
      v_before := null;
    end if;
  end if;
  if offset_after > offset_before and not fields.elapsed and dst_gap = 'run_after' then
    v_moved := messenger.next_wall_time(fields, v_from + offset_before) - offset_before;
    if v_moved + offset_before >= change + offset_after then
      v_moved := null;
    end if;
  end if;
  v_after := v_from + offset_after;
  if not fields.elapsed and dst_overlap = 'first' then
    v_after := greatest(v_after, change + offset_before - v_second);
  end if;
  v_after := messenger.next_wall_time(fields, v_after) - offset_after;

  v_run := least(v_before, v_moved, v_after);
  return row(v_run at time zone 'UTC', case
    when v_run = v_before and v_run + offset_before >= change + offset_after then 'first of the doubled hour'
    when v_run = v_before or (v_run = v_after and v_run + offset_after >= change + offset_before) then null
    when v_run = v_after then 'second of the doubled hour'
    when v_run = v_moved then 'moved'
  end)::messenger.cron_run;
end $$;

create or replace function messenger.find_change(timezone text, low timestamp, high timestamp)
returns timestamp
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_low timestamp := date_trunc('second', low);
  v_high timestamp := date_trunc('second', high) + interval '1 second';
  v_offset interval := ((v_low at time zone 'UTC') at time zone timezone) - v_low;
  v_middle timestamp;
begin
  while v_high - v_low > interval '1 second' loop
    v_middle := date_trunc('second', v_low + (v_high - v_low) / 2);
    if ((v_middle at time zone 'UTC') at time zone timezone) - v_middle = v_offset then
      v_low := v_middle;
    else
      v_high := v_middle;
    end if;
  end loop;
  return v_high;
end $$;

-- The offset is compared with those 26 hours before and after, because no zone was ever moved by more than a day. Two
-- changes within that time are not supported. Each iteration returns a run or passes a change without runs, such as the
-- yearly one if fixed times in a gap are skipped.
create or replace function messenger.next_cron_run(
  fields messenger.cron_fields, timezone text, after timestamptz, dst_gap text, dst_overlap text
)
returns messenger.cron_run
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reach constant interval := interval '26 hours';
  v_after timestamp := after at time zone 'UTC';
  v_end constant timestamp := v_after + interval '41 years';
  v_offset interval;
  v_before interval;
  v_later interval;
  v_wall timestamp;
  v_run timestamp;
  v_from timestamp;
  v_change timestamp;
  v_found messenger.cron_run;
begin
  while v_after < v_end loop
    v_wall := (v_after at time zone 'UTC') at time zone timezone;
    v_offset := v_wall - v_after;
    v_before := ((v_after - v_reach) at time zone 'UTC') at time zone timezone - (v_after - v_reach);
    v_later := ((v_after + v_reach) at time zone 'UTC') at time zone timezone - (v_after + v_reach);
    v_run := v_after;
    v_from := v_after;
    if v_before = v_offset and v_later = v_offset then
      v_wall := messenger.next_wall_time(fields, v_wall);
      if v_wall is null then
        return null;
      end if;
      v_run := (v_wall at time zone timezone) at time zone 'UTC';
      v_offset := ((v_run at time zone 'UTC') at time zone timezone) - v_run;
      v_before := ((v_run - v_reach) at time zone 'UTC') at time zone timezone - (v_run - v_reach);
      v_later := ((v_run + v_reach) at time zone 'UTC') at time zone timezone - (v_run + v_reach);
      if v_before = v_offset and v_later = v_offset then
        return row(v_run at time zone 'UTC', null)::messenger.cron_run;
      end if;
      v_from := null;
    end if;
    if v_before <> v_offset then
      v_change := messenger.find_change(timezone, v_run - v_reach, v_run);
      v_later := v_offset;
    else
      v_change := messenger.find_change(timezone, v_run, v_run + v_reach);
    end if;
    v_found := messenger.run_near_change(
      fields, coalesce(v_from, greatest(v_after, v_change - v_reach * 2)), v_change, v_before, v_later, dst_gap,
      dst_overlap);
    if v_found.run_at is null or v_found.run_at at time zone 'UTC' <= v_change + v_reach then
      return v_found;
    end if;
    v_after := v_change + v_reach;
  end loop;
  return null;
end $$;

create or replace function messenger.cron_next(
  expression text, timezone text, after timestamptz, dst_gap text default 'run_after', dst_overlap text default 'first'
)
returns timestamptz
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run messenger.cron_run :=
    messenger.next_cron_run(messenger.parse_cron(expression), timezone, after, dst_gap, dst_overlap);
begin
  return v_run.run_at;
end $$;

comment on function messenger.run_near_change(
  messenger.cron_fields, timestamp, timestamp, interval, interval, text, text
) is
  'The first run after a moment that is close to a change of offset. Timestamps are in UTC.';
comment on function messenger.find_change(text, timestamp, timestamp) is
  'The instant between two instants of different offset at which the offset of a zone '
  'changes, to the second. Timestamps are in UTC.';
comment on function messenger.next_cron_run(messenger.cron_fields, text, timestamptz, text, text) is
  'The first run later than a moment, by the wall clock of a zone; null if there is none within 41 years. dst_gap: '
  'run_after or skip; dst_overlap: first, second or both; they apply to expressions with fixed hours only.';
comment on function messenger.cron_next(text, text, timestamptz, text, text) is
  'The first moment later than after at which the cron expression fires in the zone; null if there is none '
  'within 41 years. The zone is not validated.';
revoke all on function
  messenger.run_near_change(messenger.cron_fields, timestamp, timestamp, interval, interval, text, text),
  messenger.find_change(text, timestamp, timestamp),
  messenger.next_cron_run(messenger.cron_fields, text, timestamptz, text, text),
  messenger.cron_next(text, text, timestamptz, text, text)
from public, anon, authenticated;
grant execute on function
  messenger.run_near_change(messenger.cron_fields, timestamp, timestamp, interval, interval, text, text),
  messenger.find_change(text, timestamp, timestamp),
  messenger.next_cron_run(messenger.cron_fields, text, timestamptz, text, text),
  messenger.cron_next(text, text, timestamptz, text, text)
to service_role;
