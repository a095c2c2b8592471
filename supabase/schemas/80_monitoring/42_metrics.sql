-- Metrics of a range of time: totals, shares, durations, by type, by
-- transport, the most frequent errors, and a time series.

-- Durations are assumed to be spread evenly within a bucket.
create or replace function messenger.percentiles(durations bigint[], shares double precision[])
returns numeric[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_total double precision := (select sum(d) from unnest(durations) d);
  v_seen double precision := 0;
  v_bucket int := -1;
  v_hits bigint;
  v_next int := 1;
  v_wanted double precision := shares[1] * v_total;
  v_percentiles numeric[] := array[]::numeric[];
begin
  foreach v_hits in array durations loop
    v_bucket := v_bucket + 1;
    continue when v_hits = 0;
    while v_seen + v_hits >= v_wanted loop
      v_percentiles[v_next] := round((case v_bucket
        when 0 then (v_wanted - v_seen) / v_hits
        when 103 then messenger.bucket_limit(102)
        else messenger.bucket_limit(v_bucket - 1)
          + (messenger.bucket_limit(v_bucket) - messenger.bucket_limit(v_bucket - 1)) * (v_wanted - v_seen) / v_hits
      end)::numeric, 3);
      v_next := v_next + 1;
      v_wanted := shares[v_next] * v_total;
    end loop;
    v_seen := v_seen + v_hits;
  end loop;
  return v_percentiles;
end $$;

create or replace function messenger.describe_figures(of messenger.figures)
returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_timed bigint := (select sum(d) from unnest(of.durations) d);
  v_percentiles numeric[] := messenger.percentiles(of.durations, '{0.5, 0.95, 0.99}');
begin
  return jsonb_build_object(
    'processed', of.completed + of.dead, 'succeeded', of.completed, 'failed', of.dead, 'retried', of.retried,
    'dispatched', of.dispatched,
    'averageProcessingTime', round((of.duration_ms / nullif(v_timed, 0))::numeric, 3),
    'p50ProcessingTime', v_percentiles[1],
    'p95ProcessingTime', v_percentiles[2], 'p99ProcessingTime', v_percentiles[3]);
end $$;

create or replace function public.messenger_metrics(
  minutes int default 60, from_time timestamptz default null, to_time timestamptz default null
)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set work_mem = '64MB'
set jit = off
as $$
declare
  v_minute interval := interval '1 minute';
  v_origin timestamptz := timestamptz '2000-01-01 00:00+00';
  v_now timestamptz := messenger.now();
  v_from timestamptz;
  v_to timestamptz := coalesce(to_time, v_now);
  v_kept constant text := 'minutes are kept for 2 days, hours for 90 days, days for 400 days';
  v_least_step int := 60;
  v_hours_from timestamptz;
  v_seconds double precision;
  v_step int;
  v_reply jsonb;
begin
  perform messenger.require_primary();
  if coalesce(minutes, 60) not between 1 and 525600 then
    perform messenger.raise_error('SM_FILTER',
      message => 'minutes must be a whole number from 1 to 525600 (365 days)',
      remedy => v_kept);
  end if;
  v_from := coalesce(from_time, v_to - coalesce(minutes, 60) * v_minute);
  if not isfinite(v_from) or not isfinite(v_to) or v_from >= v_to or v_to - v_from > interval '366 days' then
    perform messenger.raise_error('SM_FILTER',
      message => 'from_time must be before to_time, by at most 366 days',
      remedy => v_kept);
  end if;
  v_from := date_bin(v_minute, v_from, v_origin);
  v_to := date_bin(v_minute, v_to - interval '1 microsecond', v_origin) + v_minute;
  -- Minutes may be pruned after 2 days and hours after 90: older ranges are read from hours or days.
  if v_from < v_now - interval '47 hours' then
    v_least_step := 3600;
    v_hours_from := date_bin('1 day', v_now - interval '89 days', v_origin);
    if v_from < v_hours_from and v_from < messenger.rolled_up_until(86400) then
      v_least_step := 86400;
    end if;
    v_from := date_bin(v_least_step * interval '1 second', v_from, v_origin);
  end if;
  if v_to < v_now - interval '47 hours' then
    v_step := case when v_to < v_hours_from then v_least_step else 3600 end;
    v_to := v_step * interval '1 second'
      + date_bin(v_step * interval '1 second', v_to - interval '1 microsecond', v_origin);
  end if;
  v_seconds := date_part('epoch', v_to - v_from);
  -- Ranges longer than a day use hours, and longer than 15 days use days, so that at most about 70,000 rows are read
  -- for 200 types. The first step may begin before the range, so 179 whole steps.
  v_step := (
    select min(s) from unnest(array[60, 300, 600, 3600, 7200, 86400, 172800, 259200]) s
    where s * 179 >= v_seconds and s >= v_least_step and (s >= 3600 or v_seconds <= 86400 + 60));

  -- Grouping sets are hashed only if work_mem suffices for the estimated groups, far more than there are;
  -- sorting took twice as long. Histograms are most of the work: each row is added twice, to its type and to its
  -- point of the series; the rest are sums of sums.
  with cell as materialized (
    select m.transport_name, m.message_type, m.point, sum(m.dispatched) as dispatched, sum(m.completed) as completed,
      sum(m.retried) as retried,
      sum(m.dead) as dead, sum(m.duration_ms) as duration_ms, sum(m.wait_count) as wait_count,
      sum(m.waited_ms) as waited_ms,
      sum(m.histogram) as histogram
    from (
      select r.transport_name, r.message_type, r.dispatched, r.completed, r.retried, r.dead, r.duration_ms,
        r.wait_count, r.waited_ms,
        date_bin(v_step * interval '1 second', r.at, v_origin) as point,
        coalesce(r.histogram, messenger.pack_histogram(r.durations)) as histogram
      from (
        select x.* from messenger.range_parts(v_from, v_to, v_step) w
        join messenger.metrics x on x.step_seconds = w.step_seconds and x.at >= w.begins_at and x.at < w.ends_at
        union all
        select * from messenger.not_rolled_up(v_from, v_to)
      ) r
      offset 0 -- otherwise each expression is evaluated once per grouping set
    ) m
    group by grouping sets ((m.transport_name, m.message_type), (m.point))
  ),
  total as materialized (
    select case grouping(c.message_type, c.transport_name) when 3 then 'all' when 1 then 'type'
      else 'transport' end as kind,
      c.message_type, c.transport_name, null as point, sum(c.dispatched) as dispatched, sum(c.completed) as completed,
      sum(c.retried) as retried,
      sum(c.dead) as dead, sum(c.duration_ms) as duration_ms, sum(c.wait_count) as wait_count,
      sum(c.waited_ms) as waited_ms,
      sum(c.histogram) as histogram
    from cell c
    where c.point is null
    group by grouping sets ((), (c.message_type), (c.transport_name))
    union all
    select 'point', c.message_type, c.transport_name, c.point, c.dispatched, c.completed, c.retried, c.dead,
      c.duration_ms, c.wait_count, c.waited_ms, c.histogram
    from cell c
    where c.point is not null
  ),
  described as materialized (
    select t.kind, t.message_type, t.transport_name, t.point, f.*, messenger.describe_figures(s.figures) as figures
    from total t
    cross join lateral (
      select row(coalesce(t.dispatched, 0), coalesce(t.completed, 0), coalesce(t.retried, 0), coalesce(t.dead, 0),
        coalesce(t.duration_ms, 0),
        messenger.unpack_histogram(t.histogram), coalesce(t.wait_count, 0),
        coalesce(t.waited_ms, 0))::messenger.figures as figures
      offset 0
    ) s
    cross join lateral (select (s.figures).*) f
  ),
  curve as (
    select jsonb_agg(jsonb_build_object('at', p.at, 'dispatched', coalesce(d.dispatched, 0), 'completed',
      coalesce(d.completed, 0),
      'failed', coalesce(d.retried + d.dead, 0), 'retried', coalesce(d.retried, 0), 'dead', coalesce(d.dead, 0), 'p50',
      d.figures -> 'p50ProcessingTime',
      'p95', d.figures -> 'p95ProcessingTime', 'averageWait',
      round((d.waited_ms / nullif(d.wait_count, 0))::numeric, 3)) order by p.at) as points
    from generate_series(date_bin(v_step * interval '1 second', v_from, v_origin), v_to - interval '1 microsecond',
      v_step * interval '1 second') as p(at)
    left join described d on d.kind = 'point' and d.point = p.at
  )
  select jsonb_build_object(
    'from', v_from, 'to', v_to,
    'totalProcessed', d.figures -> 'processed', 'totalSucceeded', d.figures -> 'succeeded',
    'totalFailed', d.figures -> 'failed',
    'totalDispatched', d.figures -> 'dispatched', 'totalRetried', d.figures -> 'retried',
    'averageProcessingTime', d.figures -> 'averageProcessingTime', 'p50ProcessingTime',
    d.figures -> 'p50ProcessingTime',
    'p95ProcessingTime', d.figures -> 'p95ProcessingTime', 'p99ProcessingTime', d.figures -> 'p99ProcessingTime',
    'averageWait', round((d.waited_ms / nullif(d.wait_count, 0))::numeric, 3),
    'successRate', round(d.completed / nullif(d.completed + d.dead, 0)::numeric, 4), 'failureRate',
    round(d.dead / nullif(d.completed + d.dead, 0)::numeric, 4),
    'byMessageType', (select coalesce(jsonb_object_agg(x.message_type, x.figures), '{}') from described x
      where x.kind = 'type'),
    'byTransport', (select coalesce(jsonb_object_agg(x.transport_name, x.figures), '{}') from described x
      where x.kind = 'transport'),
    'errors', (
      select coalesce(jsonb_agg(jsonb_build_object('errorClass', e.error_class, 'messageType', e.message_type, 'error',
        e.error, 'count', e.error_count, 'lastAt', e.last_at)
        order by e.error_count desc, e.last_at desc), '[]')
      from messenger.measured_errors(v_from, v_to) e
    ),
    'stepSeconds', v_step, 'series', c.points)
  into v_reply
  from described d cross join curve c
  where d.kind = 'all';
  return v_reply;
end $$;

comment on function messenger.percentiles(bigint[], double precision[]) is
  'Durations in ms below which these shares (0 to 1, ascending) of a histogram lie, each at most 19 percent '
  'or 1 ms off; empty for an empty histogram.';
comment on function messenger.describe_figures(messenger.figures) is
  'The figures of one type or transport in the form of messenger_metrics.';
comment on function public.messenger_metrics(int, timestamptz, timestamptz) is
  'Metrics of the last minutes (1 to 525600), or from from_time to to_time, extended to whole minutes: totals, rates '
  '(0 to 1), durations and waits in ms (percentiles at most 19 percent or 1 ms off), byMessageType, byTransport, '
  'errors (the ten most frequent), series (at most 180 points of stepSeconds each). processed = completed + dead; '
  'expired and cancelled messages count as neither. Minutes are kept for 2 days, hours for 90 days and days (UTC) for '
  '400 days: an older range is extended to whole hours or days. Raises SM_FILTER for an invalid range, SM_UNAVAILABLE '
  'on a read replica. Example: select messenger_metrics(60) -> ''p95ProcessingTime'';';
revoke all on function
  messenger.percentiles(bigint[], double precision[]),
  messenger.describe_figures(messenger.figures),
  public.messenger_metrics(int, timestamptz, timestamptz)
from public, anon, authenticated, service_role;
grant execute on function
  messenger.percentiles(bigint[], double precision[]),
  messenger.describe_figures(messenger.figures),
  public.messenger_metrics(int, timestamptz, timestamptz)
to service_role;
