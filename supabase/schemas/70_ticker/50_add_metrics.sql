-- Adds measurements to the metrics of their minutes and hours, of five minutes and days that
-- are already rolled up, and to the all-time sums.

-- Upper limits of the duration buckets: 1 ms, then each 2^(1/4) = 1.19 times the previous one, up to 13 hours. A
-- percentile read from them is at most 19 percent off.
create or replace function messenger.bucket_limit(bucket int)
returns double precision
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return power(2, bucket / 4.0);
end $$;

create or replace function messenger.add_counts(a bigint[], b bigint[])
returns bigint[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select coalesce(array_agg(coalesce(x.a, 0) + coalesce(x.b, 0) order by x.n), '{}')
    from unnest(a, b) with ordinality as x(a, b, n));
end $$;

create or replace function messenger.summarize(measurements messenger.measurements[])
returns setof messenger.metrics
language plpgsql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  return query
  with part as materialized (
    select date_bin('1 minute', p.at, '2000-01-01 00:00+00') as minute, p.transport_name, p.message_type, p.kind,
    p.message_count, p.durations, p.wait_count, p.waited
    from unnest(measurements) p
  ),
  -- The margin of 1e-9 keeps a power of two in its own bucket. Reported durations are clamped, NaN included.
  bucket as materialized (
    select d.minute, d.transport_name, d.message_type, d.bucket, count(*) as hits, sum(d.ms) as ms
    from (
      select p.minute, p.transport_name, p.message_type, m.ms,
        case when m.ms <= 1 then 0 else least(103,
          ceil(4 * ln(m.ms) / ln(2::double precision) - 1e-9))::int end as bucket
      from part p cross join lateral unnest(p.durations) x(ms)
      cross join lateral (select least(greatest(x.ms::double precision, 0), 1e9) as ms) m
    ) d
    group by d.minute, d.transport_name, d.message_type, d.bucket
  ),
  histogram as (
    select h.minute, h.transport_name, h.message_type, array_agg(h.hits order by h.bucket) as durations, sum(h.ms) as ms
    from (
      select b.minute, b.transport_name, b.message_type, b.bucket, sum(b.hits)::bigint as hits, sum(b.ms) as ms
      from (
        select * from bucket
        union all
        select e.minute, e.transport_name, e.message_type, generate_series(0, max(e.bucket)), 0, 0 from bucket e
        group by e.minute, e.transport_name, e.message_type
      ) b
      group by b.minute, b.transport_name, b.message_type, b.bucket
    ) h
    group by h.minute, h.transport_name, h.message_type
  ),
  figure as (
    select p.minute, p.transport_name, p.message_type,
      coalesce(sum(p.message_count) filter (where p.kind = 'dispatched'), 0) as dispatched,
      coalesce(sum(p.message_count) filter (where p.kind = 'completed'), 0) as completed,
      coalesce(sum(p.message_count) filter (where p.kind = 'retried'), 0) as retried,
      coalesce(sum(p.message_count) filter (where p.kind = 'dead'), 0) as dead,
      sum(p.wait_count) as wait_count, coalesce(date_part('epoch', sum(p.waited)) * 1000, 0) as waited_ms
    from part p
    group by p.minute, p.transport_name, p.message_type
  )
  select 60, f.minute, f.transport_name, f.message_type, f.dispatched, f.completed, f.retried, f.dead,
    coalesce(h.ms, 0), coalesce(h.durations, '{}'), f.wait_count, f.waited_ms,
    messenger.pack_histogram(h.durations)
  from figure f
  left join histogram h on h.minute = f.minute and h.transport_name = f.transport_name
    and h.message_type = f.message_type;
end $$;

-- A measurement that commits late may belong to a step that is already rolled up.
create or replace function messenger.steps_of(minute timestamptz, five_minutes_end timestamptz, days_end timestamptz)
returns table (step_seconds int, at timestamptz)
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  values (60, minute), (3600, date_bin('1 hour', minute, '2000-01-01 00:00+00'))
  union all
  select 300, date_bin('5 minutes', minute, '2000-01-01 00:00+00') where minute < five_minutes_end
  union all
  select 86400, date_bin('1 day', minute, '2000-01-01 00:00+00') where minute < days_end
$$;

create or replace function messenger.add_metrics(measurements messenger.measurements[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_five_minutes_end timestamptz := messenger.rolled_up_until(300);
  v_days_end timestamptz := messenger.rolled_up_until(86400);
begin
  with minute as materialized (select * from messenger.summarize(measurements)),
  -- Each type is a row that is never pruned and a line of every scrape:
  -- callers that invent types must not fill the table.
  name as materialized (
    select n.transport_name, n.message_type,
      case when t.at is not null then n.message_type
        when row_number() over (partition by t.at is null order by n.message_type)
          <= 500 - (select count(*) from messenger.metrics k where k.step_seconds = 0) then n.message_type
        else '(other)' end as name
    from (select distinct x.transport_name, x.message_type from minute x) n
    left join messenger.metrics t on t.step_seconds = 0 and t.at = '-infinity' and t.transport_name = n.transport_name
      and t.message_type = n.message_type
  ),
  stepped as (
    select s.step_seconds, s.at, n.transport_name, n.name as message_type, x.dispatched, x.completed, x.retried, x.dead,
      x.duration_ms, x.histogram,
      x.wait_count, x.waited_ms
    from minute x
    join name n on n.transport_name = x.transport_name and n.message_type = x.message_type
    cross join lateral (
      select 0 as step_seconds, '-infinity'::timestamptz as at
      union all
      select t.step_seconds, t.at from messenger.steps_of(x.at, v_five_minutes_end, v_days_end) t
    ) s
  )
  insert into messenger.metrics as m (
    step_seconds, at, transport_name, message_type, dispatched, completed, retried, dead, duration_ms, durations,
    wait_count, waited_ms, histogram)
  select f.step_seconds, f.at, f.transport_name, f.message_type, f.dispatched, f.completed, f.retried, f.dead,
    f.duration_ms,
    case when f.step_seconds = 0 then messenger.unpack_histogram(f.histogram) else '{}' end, f.wait_count, f.waited_ms,
    case when f.step_seconds > 0 then f.histogram end
  from (
    select s.step_seconds, s.at, s.transport_name, s.message_type, sum(s.dispatched) as dispatched,
      sum(s.completed) as completed,
      sum(s.retried) as retried, sum(s.dead) as dead, sum(s.duration_ms) as duration_ms,
      sum(s.wait_count) as wait_count,
      sum(s.waited_ms) as waited_ms, sum(s.histogram) as histogram
    from stepped s
    group by s.step_seconds, s.at, s.transport_name, s.message_type
  ) f
  on conflict on constraint metrics_pkey do update
  set dispatched = m.dispatched + excluded.dispatched, completed = m.completed + excluded.completed,
      retried = m.retried + excluded.retried,
      dead = m.dead + excluded.dead, duration_ms = m.duration_ms + excluded.duration_ms,
      durations = case when m.step_seconds = 0 then messenger.add_counts(m.durations, excluded.durations) else '{}' end,
      wait_count = m.wait_count + excluded.wait_count, waited_ms = m.waited_ms + excluded.waited_ms,
      histogram = case when m.step_seconds > 0
        then coalesce(m.histogram, messenger.pack_histogram(m.durations)) + excluded.histogram end;
end $$;

create or replace function messenger.add_metric_errors(measurements messenger.measurements[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_five_minutes_end timestamptz := messenger.rolled_up_until(300);
  v_days_end timestamptz := messenger.rolled_up_until(86400);
begin
  with failure as materialized (
    select s.step_seconds, s.at, p.message_type, p.error_class, sum(p.message_count) as error_count,
    (array_agg(p.error order by p.at desc))[1] as error, max(p.at) as last_at
    from unnest(measurements) p
    cross join lateral messenger.steps_of(date_bin('1 minute', p.at, '2000-01-01 00:00+00'), v_five_minutes_end,
      v_days_end) s
    where p.error_class is not null
    group by s.step_seconds, s.at, p.message_type, p.error_class
  ),
  -- Error classes are chosen by handlers, so their number is limited.
  ranked as (
    select f.*, case when e.at is not null then true else row_number() over (partition by f.step_seconds, f.at,
      e.at is null order by f.error_count desc)
        <= 99 - (select count(*) from messenger.metric_errors k where k.step_seconds = f.step_seconds
          and k.at = f.at) end as is_named
    from failure f
    left join messenger.metric_errors e on e.step_seconds = f.step_seconds and e.at = f.at
      and e.message_type = f.message_type and e.error_class = f.error_class
  )
  insert into messenger.metric_errors as m (step_seconds, at, message_type, error_class, error_count, error, last_at)
  select r.step_seconds, r.at, n.message_type, n.error_class, sum(r.error_count),
    (array_agg(r.error order by r.last_at desc))[1], max(r.last_at)
  from ranked r
  cross join lateral (select case when r.is_named then r.message_type else '(other)' end as message_type,
    case when r.is_named then r.error_class else '(other)' end as error_class) n
  group by r.step_seconds, r.at, n.message_type, n.error_class
  on conflict on constraint metric_errors_pkey do update
  set error_count = m.error_count + excluded.error_count, last_at = greatest(m.last_at, excluded.last_at),
      error = case when excluded.last_at >= m.last_at then excluded.error else m.error end;
end $$;

comment on function messenger.bucket_limit(int) is 'The upper limit of a bucket in ms; the first bucket is 0.';
comment on function messenger.add_counts(bigint[], bigint[]) is 'Adds two histograms; one may be shorter.';
comment on function messenger.steps_of(timestamptz, timestamptz, timestamptz) is
  'The steps that contain a minute: its own, its hour, and its five minutes and day if these are already rolled up.';
comment on function messenger.summarize(messenger.measurements[]) is
  'Measurements as rows of messenger.metrics, one per minute, transport and type.';
comment on function messenger.add_metrics(messenger.measurements[]) is
  'Adds measurements to the metrics of their minutes, hours and steps already rolled up, and to the all-time sums.';
comment on function messenger.add_metric_errors(messenger.measurements[]) is
  'Adds failed deliveries to the errors of their minutes, hours and steps already rolled up.';
revoke all on function
  messenger.bucket_limit(int),
  messenger.add_counts(bigint[], bigint[]),
  messenger.steps_of(timestamptz, timestamptz, timestamptz),
  messenger.summarize(messenger.measurements[]),
  messenger.add_metrics(messenger.measurements[]),
  messenger.add_metric_errors(messenger.measurements[])
from public, anon, authenticated, service_role;
grant execute on function messenger.bucket_limit(int), messenger.summarize(messenger.measurements[]) to service_role;
