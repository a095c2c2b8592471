-- Rolls minutes up to five minutes and hours to days once these are over, so that long ranges are read from few rows.

-- Steps are rolled up from the oldest on without a gap, so the newest row shows the progress. Where
-- nothing is rolled up, readers use the finer rows.
create or replace function messenger.rolled_up_until(step_seconds int)
returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select max(m.at) + make_interval(secs => rolled_up_until.step_seconds)
  from messenger.metrics m where m.step_seconds = rolled_up_until.step_seconds
$$;

-- Sums are clamped to the range of their columns: one row that cannot be added up would block all later ones.
create or replace function messenger.roll_up_step(step_seconds int, finer int, begins_at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_variable
declare
  v_most constant numeric := 9223372036854775807;
  v_ends_at timestamptz := begins_at + make_interval(secs => step_seconds);
begin
  insert into messenger.metrics (
    step_seconds, at, transport_name, message_type, dispatched, completed, retried, dead, duration_ms, wait_count,
    waited_ms,
    histogram)
  select step_seconds, begins_at, m.transport_name, m.message_type,
    least(sum(m.dispatched), v_most), least(sum(m.completed), v_most), least(sum(m.retried), v_most),
    least(sum(m.dead), v_most),
    sum(m.duration_ms), least(sum(m.wait_count), v_most), sum(m.waited_ms),
    sum(coalesce(m.histogram, messenger.pack_histogram(m.durations)))
  from messenger.metrics m
  where m.step_seconds = finer and m.at >= begins_at and m.at < v_ends_at
  group by m.transport_name, m.message_type;

  -- An hour has at most 100 rows of errors, and a day too: the least frequent ones are merged.
  insert into messenger.metric_errors (step_seconds, at, message_type, error_class, error_count, error, last_at)
  select step_seconds, begins_at, n.message_type, n.error_class, least(sum(e.error_count), v_most),
    (array_agg(e.error order by e.last_at desc))[1], max(e.last_at)
  from (
    select m.message_type, m.error_class, sum(m.error_count) as error_count,
      (array_agg(m.error order by m.last_at desc))[1] as error, max(m.last_at) as last_at,
      row_number() over (order by sum(m.error_count) desc, m.message_type, m.error_class) as rank
    from messenger.metric_errors m
    where m.step_seconds = finer and m.at >= begins_at and m.at < v_ends_at
    group by m.message_type, m.error_class
  ) e
  cross join lateral (
    select case when e.rank <= 99 then e.message_type else '(other)' end as message_type,
      case when e.rank <= 99 then e.error_class else '(other)' end as error_class
  ) n
  group by n.message_type, n.error_class;
end $$;

-- An upgrade from 0.1.0 that converted a million rows would hold its locks for a minute. The newest rows come first,
-- because short ranges are read from minutes.
create or replace function messenger.pack_old_metrics(chunk int)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_packed bigint;
begin
  update messenger.metrics m set histogram = messenger.pack_histogram(m.durations), durations = '{}'
  where m.ctid = any (array(
    select x.ctid from messenger.metrics x where x.step_seconds > 0 and x.histogram is null
    order by x.at desc limit chunk for update skip locked));
  get diagnostics v_packed = row_count;
  return v_packed;
end $$;

-- Runs under the lock of the roll-up, which adds to the same rows.
create or replace function messenger.roll_up_steps(at timestamptz, ends_at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_pair record;
  v_length interval;
  v_from timestamptz;
begin
  if not messenger.try_lock('roll_up') then
    return;
  end if;
  while clock_timestamp() < ends_at and messenger.pack_old_metrics(200) = 200 loop
    null;
  end loop;
  for v_pair in select * from (values (300, 60), (86400, 3600)) p(step, finer) loop
    v_length := make_interval(secs => v_pair.step);
    loop
      select date_bin(v_length, min(m.at), '2000-01-01 00:00+00') into v_from
      from messenger.metrics m
      where m.step_seconds = v_pair.finer and m.at >= coalesce(messenger.rolled_up_until(v_pair.step), '-infinity');
      exit when v_from is null or v_from + v_length > roll_up_steps.at;
      perform messenger.roll_up_step(v_pair.step, v_pair.finer, v_from);
      exit when clock_timestamp() > ends_at;
    end loop;
  end loop;
end $$;

-- Hours are kept until their day is rolled up, even if the ticker has fallen behind. Without the planner settings every
-- tick reads all metrics: 50 ms for those of 20 types over a year.
create or replace function messenger.prune_metrics(at timestamptz, chunk int)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_minutes_until timestamptz := at - interval '2 days';
  v_hours_until timestamptz := least(at - interval '90 days', coalesce(messenger.rolled_up_until(86400), '-infinity'));
  v_days_until timestamptz := at - interval '400 days';
begin
  delete from messenger.metrics m
  where m.ctid = any (array(
    select x.ctid
    from (
      values (60, v_minutes_until), (300, v_minutes_until), (3600, v_hours_until), (86400, v_days_until)
    ) k(step, until)
    join messenger.metrics x on x.step_seconds = k.step and x.at < k.until limit chunk for update of x skip locked));
  delete from messenger.metric_errors m
  where m.ctid = any (array(
    select x.ctid
    from (
      values (60, v_minutes_until), (300, v_minutes_until), (3600, v_hours_until), (86400, v_days_until)
    ) k(step, until)
    join messenger.metric_errors x on x.step_seconds = k.step and x.at < k.until limit chunk
    for update of x skip locked));
end $$;

comment on function messenger.rolled_up_until(int) is
  'Until when steps of five minutes (300) or days (86400) are rolled up; null if none are.';
comment on function messenger.roll_up_step(int, int, timestamptz) is
  'Adds up the rows of a finer step into one row per type of five minutes or a day.';
comment on function messenger.pack_old_metrics(int) is
  'Gives rows of release 0.1.0 their histogram, the newest first. Returns the number of rows.';
comment on function messenger.roll_up_steps(timestamptz, timestamptz) is
  'Rolls up complete five minutes and days, one after the other, until ends_at has passed.';
comment on function messenger.prune_metrics(timestamptz, int) is
  'Deletes minutes and five minutes older than 2 days, hours older than 90 days and days older than 400 days, at most '
  'chunk rows per call. The all-time sums stay.';
revoke all on function
  messenger.rolled_up_until(int),
  messenger.roll_up_step(int, int, timestamptz),
  messenger.pack_old_metrics(int),
  messenger.roll_up_steps(timestamptz, timestamptz),
  messenger.prune_metrics(timestamptz, int)
from public, anon, authenticated, service_role;
grant execute on function messenger.rolled_up_until(int) to service_role;
