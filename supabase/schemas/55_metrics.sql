-- Metrics of a window of time: totals, shares, durations, by type, by transport, the commonest errors, and a curve.

-- What was measured in whole minutes from from_time until before to_time, in one statement and so of one moment: folded, and not folded yet. Full hours
-- inside a long window are read as hours: two days of 20 types are 3,000 rows, not 58,000.
-- Where the clock stands still, what is not folded gathers: then the first 20,000 rows of it.
create or replace function messenger.measured(from_time timestamptz, to_time timestamptz, by_hour boolean)
returns setof messenger.metrics
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_tail tid := (select format('(%s,0)', r.tail)::tid from messenger.fold_range() r);
  v_aside bigint[] := messenger.measurements_set_aside();
  v_hours_from timestamptz := to_time;
  v_hours_to timestamptz := to_time;
begin
  if by_hour then
    v_hours_to := date_bin('1 hour', to_time, '2000-01-01 00:00+00');
    v_hours_from := least(v_hours_to, date_bin('1 hour', from_time + interval '59 minutes', '2000-01-01 00:00+00'));
  end if;
  return query
  select * from messenger.metrics m where m.step_seconds = 60 and m.at >= from_time and m.at < v_hours_from
  union all
  select * from messenger.metrics m where m.step_seconds = 3600 and m.at >= v_hours_from and m.at < v_hours_to
  union all
  select * from messenger.metrics m where m.step_seconds = 60 and m.at >= v_hours_to and m.at < to_time
  union all
  select * from messenger.summarize(array(select x from messenger.measurements x where x.ctid >= v_tail and x.id <> all (v_aside) limit 20000)) s
  where s.at >= from_time and s.at < to_time;
end $$;

-- The same of errors.
create or replace function messenger.measured_errors(from_time timestamptz, to_time timestamptz, by_hour boolean)
returns table (error_class text, message_type text, error text, error_count bigint, last_at timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_tail tid := (select format('(%s,0)', r.tail)::tid from messenger.fold_range() r);
  v_aside bigint[] := messenger.measurements_set_aside();
  v_hours_from timestamptz := to_time;
  v_hours_to timestamptz := to_time;
begin
  if by_hour then
    v_hours_to := date_bin('1 hour', to_time, '2000-01-01 00:00+00');
    v_hours_from := least(v_hours_to, date_bin('1 hour', from_time + interval '59 minutes', '2000-01-01 00:00+00'));
  end if;
  return query
  select e.error_class, e.message_type, (array_agg(e.error order by e.last_at desc))[1], sum(e.error_count)::bigint, max(e.last_at)
  from (
    select m.error_class, m.message_type, m.error, m.error_count, m.last_at from messenger.metric_errors m
    where m.step_seconds = 60 and m.at >= from_time and m.at < v_hours_from
    union all
    select m.error_class, m.message_type, m.error, m.error_count, m.last_at from messenger.metric_errors m
    where m.step_seconds = 3600 and m.at >= v_hours_from and m.at < v_hours_to
    union all
    select m.error_class, m.message_type, m.error, m.error_count, m.last_at from messenger.metric_errors m
    where m.step_seconds = 60 and m.at >= v_hours_to and m.at < to_time
    union all
    select x.error_class, x.message_type, x.error, x.message_count, x.at
    from (select * from messenger.measurements y where y.ctid >= v_tail and y.id <> all (v_aside) limit 20000) x
    where x.error_class is not null and x.at >= from_time and x.at < to_time
  ) e
  group by e.error_class, e.message_type
  order by 4 desc, 5 desc
  limit 10;
end $$;

-- Within a bucket durations are taken to be spread evenly.
create or replace function messenger.percentile(durations bigint[], share double precision)
returns numeric
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wanted double precision := share * (select sum(d) from unnest(durations) d);
  v_seen double precision := 0;
  v_hits bigint;
begin
  for v_bucket in 0..cardinality(durations) - 1 loop
    v_hits := durations[v_bucket + 1];
    if v_hits > 0 and v_seen + v_hits >= v_wanted then
      return round((case v_bucket
        when 0 then (v_wanted - v_seen) / v_hits
        when 103 then messenger.bucket_limit(102)
        else messenger.bucket_limit(v_bucket - 1) + (messenger.bucket_limit(v_bucket) - messenger.bucket_limit(v_bucket - 1)) * (v_wanted - v_seen) / v_hits
      end)::numeric, 3);
    end if;
    v_seen := v_seen + v_hits;
  end loop;
  return null;
end $$;

do $$
begin
  if to_regtype('messenger.figures') is null then
    create type messenger.figures as (
      dispatched bigint, completed bigint, retried bigint, dead bigint, duration_ms double precision, durations bigint[], wait_count bigint, waited_ms double precision
    );
  end if;
end $$;
comment on type messenger.figures is 'Sums of rows of messenger.metrics.';

create or replace function messenger.describe_figures(of messenger.figures)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_timed bigint := (select sum(d) from unnest(of.durations) d);
begin
  return jsonb_build_object(
    'processed', of.completed + of.dead, 'succeeded', of.completed, 'failed', of.dead, 'retried', of.retried, 'dispatched', of.dispatched,
    'averageProcessingTime', round((of.duration_ms / nullif(v_timed, 0))::numeric, 3), 'p50ProcessingTime', messenger.percentile(of.durations, 0.5),
    'p95ProcessingTime', messenger.percentile(of.durations, 0.95), 'p99ProcessingTime', messenger.percentile(of.durations, 0.99));
end $$;

create or replace function public.messenger_metrics(minutes int default 60, from_time timestamptz default null, to_time timestamptz default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
as $$
declare
  v_minute interval := interval '1 minute';
  v_origin timestamptz := timestamptz '2000-01-01 00:00+00';
  v_now timestamptz := messenger.now();
  v_from timestamptz;
  v_to timestamptz := coalesce(to_time, v_now);
  v_is_old boolean;
  v_seconds double precision;
  v_step int;
  v_answer jsonb;
begin
  perform messenger.require_primary();
  if coalesce(minutes, 60) not between 1 and 525600 then
    raise exception using errcode = 'PT400', detail = 'SM_FILTER', message = 'minutes must be a whole number from 1 to 525600 (365 days)', hint = 'figures are kept for 90 days';
  end if;
  v_from := coalesce(from_time, v_to - coalesce(minutes, 60) * v_minute);
  if not isfinite(v_from) or not isfinite(v_to) or v_from >= v_to or v_to - v_from > interval '366 days' then
    raise exception using errcode = 'PT400', detail = 'SM_FILTER', message = 'from_time must be before to_time, by at most 366 days', hint = 'figures are kept for 90 days';
  end if;
  v_from := date_bin(v_minute, v_from, v_origin);
  v_to := date_bin(v_minute, v_to - interval '1 microsecond', v_origin) + v_minute;
  -- Minutes that may be pruned by now are there as hours.
  v_is_old := v_from < v_now - interval '47 hours';
  if v_is_old then
    v_from := date_bin(interval '1 hour', v_from, v_origin);
  end if;
  if v_to < v_now - interval '47 hours' then
    v_to := date_bin(interval '1 hour', v_to + interval '59 minutes', v_origin);
  end if;
  v_seconds := date_part('epoch', v_to - v_from);
  -- Beyond a day by hours, so that no more than a day of minutes is read. The first step may begin before the window: 179 whole ones.
  v_step := (
    select min(s) from unnest(array[60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 259200]) s
    where s * 179 >= v_seconds and (s >= 3600 or v_seconds <= 86400 + 60 and not v_is_old));

  with measured as materialized (
    select date_bin(v_step * interval '1 second', m.at, v_origin) as point, m.* from messenger.measured(v_from, v_to, v_step >= 3600) m
  ),
  total as materialized (
    select m.message_type, m.transport_name, m.point, grouping(m.message_type, m.transport_name, m.point) as kind,
      coalesce(sum(m.dispatched), 0)::bigint as dispatched, coalesce(sum(m.completed), 0)::bigint as completed, coalesce(sum(m.retried), 0)::bigint as retried,
      coalesce(sum(m.dead), 0)::bigint as dead, coalesce(sum(m.duration_ms), 0) as duration_ms, coalesce(sum(m.wait_count), 0)::bigint as wait_count,
      coalesce(sum(m.waited_ms), 0) as waited_ms
    from measured m
    group by grouping sets ((), (m.message_type), (m.transport_name), (m.point))
  ),
  histogram as (
    select h.message_type, h.transport_name, h.point, h.kind, array_agg(h.hits order by h.bucket) as durations
    from (
      select m.message_type, m.transport_name, m.point, d.bucket, grouping(m.message_type, m.transport_name, m.point) as kind, sum(d.hits)::bigint as hits
      from measured m cross join lateral unnest(m.durations) with ordinality as d(hits, bucket)
      group by d.bucket, grouping sets ((), (m.message_type), (m.transport_name), (m.point))
    ) h
    group by h.message_type, h.transport_name, h.point, h.kind
  ),
  described as materialized (
    select t.message_type, t.transport_name, t.point, t.kind, t.retried, t.dead, t.dispatched, t.completed, t.wait_count, t.waited_ms,
      messenger.describe_figures(row(t.dispatched, t.completed, t.retried, t.dead, t.duration_ms, coalesce(h.durations, '{}'), t.wait_count, t.waited_ms)::messenger.figures) as figures
    from total t
    left join histogram h on h.kind = t.kind and h.message_type is not distinct from t.message_type and h.transport_name is not distinct from t.transport_name
      and h.point is not distinct from t.point
  ),
  curve as (
    select jsonb_agg(jsonb_build_object('at', p.at, 'dispatched', coalesce(d.dispatched, 0), 'completed', coalesce(d.completed, 0),
      'failed', coalesce(d.retried + d.dead, 0), 'retried', coalesce(d.retried, 0), 'dead', coalesce(d.dead, 0), 'p50', d.figures -> 'p50ProcessingTime',
      'p95', d.figures -> 'p95ProcessingTime', 'averageWait', round((d.waited_ms / nullif(d.wait_count, 0))::numeric, 3)) order by p.at) as points
    from generate_series(date_bin(v_step * interval '1 second', v_from, v_origin), v_to - interval '1 microsecond', v_step * interval '1 second') as p(at)
    left join described d on d.kind = 6 and d.point = p.at
  )
  select jsonb_build_object(
    'from', v_from, 'to', v_to,
    'totalProcessed', d.figures -> 'processed', 'totalSucceeded', d.figures -> 'succeeded', 'totalFailed', d.figures -> 'failed',
    'totalDispatched', d.figures -> 'dispatched', 'totalRetried', d.figures -> 'retried',
    'averageProcessingTime', d.figures -> 'averageProcessingTime', 'p50ProcessingTime', d.figures -> 'p50ProcessingTime',
    'p95ProcessingTime', d.figures -> 'p95ProcessingTime', 'p99ProcessingTime', d.figures -> 'p99ProcessingTime',
    'averageWait', round((d.waited_ms / nullif(d.wait_count, 0))::numeric, 3),
    'successRate', round(d.completed / nullif(d.completed + d.dead, 0)::numeric, 4), 'failureRate', round(d.dead / nullif(d.completed + d.dead, 0)::numeric, 4),
    'byMessageType', (select coalesce(jsonb_object_agg(x.message_type, x.figures), '{}') from described x where x.kind = 3),
    'byTransport', (select coalesce(jsonb_object_agg(x.transport_name, x.figures), '{}') from described x where x.kind = 5),
    'errors', (
      select coalesce(jsonb_agg(jsonb_build_object('errorClass', e.error_class, 'messageType', e.message_type, 'error', e.error, 'count', e.error_count, 'lastAt', e.last_at)
        order by e.error_count desc, e.last_at desc), '[]')
      from messenger.measured_errors(v_from, v_to, v_step >= 3600) e
    ),
    'stepSeconds', v_step, 'series', c.points)
  into v_answer
  from described d cross join curve c
  where d.kind = 7;
  return v_answer;
end $$;

comment on function messenger.measured(timestamptz, timestamptz, boolean) is 'Metrics of a window of whole minutes, as rows of minutes and, by_hour, of the full hours inside it.';
comment on function messenger.measured_errors(timestamptz, timestamptz, boolean) is 'The ten commonest errors of a window of whole minutes.';
comment on function messenger.percentile(bigint[], double precision) is 'Duration in ms below which this share (0 to 1) of a histogram lies, at most 19 percent or 1 ms off; null for an empty one.';
comment on function messenger.describe_figures(messenger.figures) is 'The figures of one type or transport as messenger_metrics gives them.';
comment on function public.messenger_metrics(int, timestamptz, timestamptz) is
  'Figures of the last so many minutes, or of from_time until to_time, widened to whole minutes: totals, rates (0 to 1), durations and waits in ms (percentiles at most 19 percent or 1 ms off), byMessageType, byTransport, the ten commonest errors, series (at most 180 points of stepSeconds). processed = completed + dead; expired and cancelled messages count as neither. Minutes are kept for two days, hours for 90: an older window is widened to full hours. SM_FILTER for a window that is none.';
revoke all on function messenger.measured(timestamptz, timestamptz, boolean), messenger.measured_errors(timestamptz, timestamptz, boolean),
  messenger.percentile(bigint[], double precision), messenger.describe_figures(messenger.figures), public.messenger_metrics(int, timestamptz, timestamptz)
  from public, anon, authenticated, service_role;
grant execute on function messenger.measured(timestamptz, timestamptz, boolean), messenger.measured_errors(timestamptz, timestamptz, boolean),
  messenger.percentile(bigint[], double precision), messenger.describe_figures(messenger.figures), public.messenger_metrics(int, timestamptz, timestamptz)
  to service_role;
