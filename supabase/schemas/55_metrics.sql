-- The window on what was done: totals, times, errors and a series to draw, for any stretch of time.

-- Where between two buckets' ends a share of the deliveries lies, linearly within the bucket.
create or replace function messenger.percentile(buckets smallint[], counts bigint[], share double precision)
returns double precision
language plpgsql immutable
set search_path = ''
as $$
declare
  v_rank double precision := share * (select sum(c) from unnest(counts) c);
  v_before double precision := 0;
  v_low double precision;
begin
  for v_at in 1..coalesce(cardinality(buckets), 0) loop
    if v_before + counts[v_at] >= v_rank then
      v_low := case when buckets[v_at] = 0 then 0 else 2 ^ ((buckets[v_at] - 1) / 4.0) end;
      return round((v_low + (2 ^ (buckets[v_at] / 4.0) - v_low) * (v_rank - v_before) / counts[v_at])::numeric, 2);
    end if;
    v_before := v_before + counts[v_at];
  end loop;
  return null;
end $$;

create or replace function messenger.times_json(buckets smallint[], counts bigint[], duration_ms_sum double precision)
returns jsonb
language sql immutable
set search_path = ''
as $$
  select jsonb_build_object(
    'averageProcessingTime', round((duration_ms_sum / nullif((select sum(c) from unnest(counts) c), 0)::double precision)::numeric, 2),
    'p50ProcessingTime', messenger.percentile(buckets, counts, 0.5), 'p95ProcessingTime', messenger.percentile(buckets, counts, 0.95),
    'p99ProcessingTime', messenger.percentile(buckets, counts, 0.99))
$$;

create or replace function public.messenger_metrics(minutes int default 60, from_time timestamptz default null, to_time timestamptz default null)
returns jsonb
language plpgsql
set search_path = ''
set jit = off
as $$
declare
  v_minutes int := coalesce(minutes, 60);
  v_to timestamptz := coalesce(to_time, messenger.now());
  v_from timestamptz;
  v_step int;
  v_open messenger.measurements[];
  v_answer jsonb;
begin
  if v_minutes not between 1 and 525600 then
    perform messenger.refuse('SM_FILTER', 'minutes must be a whole number from 1 to 525600');
  end if;
  v_from := date_trunc('minute', coalesce(from_time, v_to - v_minutes * interval '1 minute'));
  if not isfinite(v_from) or not isfinite(v_to) or v_from >= v_to then
    perform messenger.refuse('SM_FILTER', 'from_time must be a moment before to_time');
  end if;
  -- 180 points are what a chart can show.
  v_step := 60 * greatest(1, ceil(extract(epoch from v_to - v_from) / 180 / 60));
  v_open := array(select m from messenger.measurements m limit 200000);

  -- By step first: a window of two days holds a few hundred thousand rows, its steps some ten thousand.
  with figure as materialized (
    select floor(extract(epoch from x.minute - v_from) / v_step)::int as nth, x.transport_name, x.message_type, sum(x.dispatched) as dispatched,
      sum(x.completed) as completed, sum(x.retried) as retried, sum(x.dead) as dead, sum(x.duration_ms_sum) as duration_ms_sum, sum(x.waited_ms_sum) as waited_ms_sum
    from (select * from messenger.metrics union all select * from messenger.figures_of(v_open)) x
    where x.minute >= v_from and x.minute < v_to
    group by 1, 2, 3
  ),
  spread as materialized (
    select floor(extract(epoch from x.minute - v_from) / v_step)::int as nth, x.transport_name, x.message_type, x.bucket, sum(x.deliveries) as deliveries
    from (select * from messenger.metric_durations union all select * from messenger.durations_of(v_open)) x
    where x.minute >= v_from and x.minute < v_to
    group by 1, 2, 3, 4
  ),
  summed as (
    select grouping(f.message_type, f.transport_name) as kind, coalesce(f.message_type, f.transport_name, '') as name,
      coalesce(sum(f.dispatched), 0)::bigint as dispatched, coalesce(sum(f.completed), 0)::bigint as completed, coalesce(sum(f.retried), 0)::bigint as retried,
      coalesce(sum(f.dead), 0)::bigint as dead, coalesce(sum(f.duration_ms_sum), 0) as duration_ms_sum
    from figure f group by grouping sets ((), (f.message_type), (f.transport_name))
  ),
  counted as (
    select x.kind, x.name, array_agg(x.bucket order by x.bucket) as buckets, array_agg(x.n order by x.bucket) as counts
    from (
      select grouping(s.message_type, s.transport_name) as kind, coalesce(s.message_type, s.transport_name, '') as name, s.bucket, sum(s.deliveries)::bigint as n
      from spread s group by grouping sets ((s.bucket), (s.message_type, s.bucket), (s.transport_name, s.bucket))
    ) x
    group by x.kind, x.name
  ),
  line as (
    select s.kind, s.name, s.dispatched, s.completed, s.retried, s.dead, messenger.times_json(c.buckets, c.counts, s.duration_ms_sum) as times
    from summed s left join counted c on c.kind = s.kind and c.name = s.name
  ),
  named as (
    select l.kind, jsonb_object_agg(l.name, jsonb_build_object('processed', l.completed + l.dead, 'succeeded', l.completed, 'failed', l.dead,
      'retried', l.retried, 'dispatched', l.dispatched) || l.times) as names
    from line l where l.kind in (1, 2) group by l.kind
  ),
  failing as (
    select e.message_type, e.error_class, sum(e.deliveries)::bigint as n, (array_agg(e.error order by e.last_at desc))[1] as error, max(e.last_at) as last_at
    from (
      select * from messenger.metric_errors x where x.minute >= v_from and x.minute < v_to
      union all
      select * from messenger.errors_of(v_open) x where x.minute >= v_from and x.minute < v_to
    ) e
    group by e.message_type, e.error_class order by 3 desc, 5 desc limit 10
  ),
  figure_at as (
    select f.nth, sum(f.dispatched) as dispatched, sum(f.completed) as completed,
      sum(f.retried) as retried, sum(f.dead) as dead, sum(f.waited_ms_sum) as waited_ms_sum
    from figure f group by 1
  ),
  times_at as (
    select x.nth, messenger.percentile(array_agg(x.bucket order by x.bucket), array_agg(x.n order by x.bucket), 0.5) as p50,
      messenger.percentile(array_agg(x.bucket order by x.bucket), array_agg(x.n order by x.bucket), 0.95) as p95
    from (select s.nth, s.bucket, sum(s.deliveries)::bigint as n from spread s group by 1, 2) x
    group by x.nth
  ),
  point as (
    select v_from + g.nth * v_step * interval '1 second' as at, jsonb_build_object(
      'dispatched', coalesce(f.dispatched, 0), 'completed', coalesce(f.completed, 0), 'failed', coalesce(f.retried + f.dead, 0),
      'retried', coalesce(f.retried, 0), 'dead', coalesce(f.dead, 0),
      'averageWait', round((f.waited_ms_sum / nullif(f.completed + f.retried + f.dead, 0)::double precision)::numeric, 2), 'p50', t.p50, 'p95', t.p95) as figures
    from generate_series(0, ceil(extract(epoch from v_to - v_from) / v_step)::int - 1) as g(nth)
    left join figure_at f on f.nth = g.nth
    left join times_at t on t.nth = g.nth
  )
  select jsonb_build_object('from', v_from, 'to', v_to, 'totalProcessed', l.completed + l.dead, 'totalSucceeded', l.completed, 'totalFailed', l.dead,
      'totalDispatched', l.dispatched, 'totalRetried', l.retried,
      'successRate', round(l.completed / nullif(l.completed + l.dead, 0)::numeric, 4), 'failureRate', round(l.dead / nullif(l.completed + l.dead, 0)::numeric, 4))
    || l.times
    || jsonb_build_object(
      'byMessageType', coalesce((select n.names from named n where n.kind = 1), '{}'), 'byTransport', coalesce((select n.names from named n where n.kind = 2), '{}'),
      'errors', (select coalesce(jsonb_agg(jsonb_build_object('errorClass', e.error_class, 'messageType', e.message_type, 'error', e.error, 'count', e.n, 'lastAt', e.last_at)
        order by e.n desc, e.last_at desc), '[]') from failing e),
      'stepSeconds', v_step, 'series', (select jsonb_agg(jsonb_build_object('at', p.at) || p.figures order by p.at) from point p))
  into v_answer
  from line l where l.kind = 3;
  return v_answer;
end $$;

comment on function messenger.percentile(smallint[], bigint[], double precision) is
  'A percentile in ms from counts by bucket, buckets ascending; at most 19 percent from the true one. Null without deliveries.';
comment on function messenger.times_json(smallint[], bigint[], double precision) is 'Mean and percentiles in ms, as messenger_metrics names them.';
comment on function public.messenger_metrics(int, timestamptz, timestamptz) is
  'What was done in a window: the last so many minutes (1 to 525600), or from_time to to_time; the first minute whole. totalProcessed = totalSucceeded (completed) + totalFailed (dead letters); expired and cancelled messages count in neither. totalRetried: deliveries that ended badly and were tried again. Times in ms, within 19 percent; rates 0 to 1; null where nothing ended. byMessageType, byTransport, errors (the ten most frequent), series (at most 180 points of stepSeconds: dispatched, completed, failed = retried + dead, p50, p95, averageWait). Minutes are kept two days, hours 90.';
revoke all on function messenger.percentile(smallint[], bigint[], double precision), messenger.times_json(smallint[], bigint[], double precision),
  public.messenger_metrics(int, timestamptz, timestamptz) from public, anon, authenticated;
grant execute on function messenger.percentile(smallint[], bigint[], double precision), messenger.times_json(smallint[], bigint[], double precision),
  public.messenger_metrics(int, timestamptz, timestamptz) to service_role;
