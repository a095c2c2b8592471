-- The clock folds measurements into figures, and old minutes into hours.

-- A worker's own word is bounded: it may say anything.
create or replace function messenger.duration_of(measured messenger.measurements)
returns double precision
language sql immutable
set search_path = ''
as $$
  select case when measured.kind <> 'dispatched' then
    least(1e9, greatest(0, coalesce(measured.duration_ms, extract(epoch from measured.at - measured.locked_at)::double precision * 1000))) end
$$;

-- Measurements as the tables of figures have them; for the fold, and for whoever asks before it.
create or replace function messenger.figures_of(measured messenger.measurements[])
returns setof messenger.metrics
language sql stable
set search_path = ''
as $$
  select date_trunc('minute', m.at), m.transport_name, m.message_type, count(*) filter (where m.kind = 'dispatched'), count(*) filter (where m.kind = 'completed'),
    count(*) filter (where m.kind = 'retried'), count(*) filter (where m.kind = 'dead'), coalesce(sum(messenger.duration_of(m)), 0),
    coalesce(sum(greatest(0, extract(epoch from m.locked_at - m.available_at)::double precision * 1000)), 0)
  from unnest(measured) m
  group by 1, 2, 3
$$;

create or replace function messenger.durations_of(measured messenger.measurements[])
returns setof messenger.metric_durations
language sql stable
set search_path = ''
as $$
  select date_trunc('minute', m.at), m.transport_name, m.message_type, messenger.duration_bucket(messenger.duration_of(m)), count(*)
  from unnest(measured) m
  where messenger.duration_of(m) is not null
  group by 1, 2, 3, 4
$$;

create or replace function messenger.errors_of(measured messenger.measurements[])
returns setof messenger.metric_errors
language sql stable
set search_path = ''
as $$
  select date_trunc('minute', m.at), m.message_type, m.error_class, count(*), (array_agg(m.error order by m.at desc))[1], max(m.at)
  from unnest(measured) m
  where m.error_class is not null
  group by 1, 2, 3
$$;

-- The figures have one writer at a time: whoever holds this lock, until its transaction ends.
create or replace function messenger.keeps_figures()
returns boolean
language sql
set search_path = ''
as $$ select pg_try_advisory_xact_lock(hashtextextended('messenger.metrics', 0)) $$;

-- What a fold takes off and what it adds commit together, so a fold that dies loses and doubles nothing.
-- Rows that were taken stay in the file while some transaction holds a snapshot: a large file is read from where the last fold ended, and from
-- its beginning once a minute, for rows that vacuum let in before that place.
create or replace function messenger.fold_measurements(at timestamptz, bite int)
returns bigint
language plpgsql
set search_path = ''
set enable_seqscan = off
set jit = off
as $$
declare
  v_blocks bigint := pg_relation_size('messenger.measurements') / current_setting('block_size')::int;
  v_block bigint := 0;
  v_taken messenger.measurements[];
begin
  if not messenger.keeps_figures() then
    return 0;
  end if;
  if v_blocks > 1000 then
    select case when c.folded_from_start_at between fold_measurements.at - interval '1 minute' and fold_measurements.at then least(c.fold_from, v_blocks) else 0 end
    into v_block from messenger.clock c;
  end if;
  with taken as (
    delete from messenger.measurements m
    where m.ctid = any (array(select x.ctid from messenger.measurements x where x.ctid >= format('(%s,0)', v_block)::tid limit bite))
    returning m.*
  )
  select array_agg(row(t.id, t.at, t.transport_name, t.message_type, t.kind, t.duration_ms, t.locked_at, t.available_at, t.error_class, t.error)::messenger.measurements)
  into v_taken from taken t;
  if v_blocks > 1000 and coalesce(cardinality(v_taken), 0) < bite then
    update messenger.clock c set fold_from = greatest(0, v_blocks - 1),
      folded_from_start_at = case when v_block = 0 then fold_measurements.at else c.folded_from_start_at end
    where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  end if;
  if v_taken is null then
    return 0;
  end if;

  insert into messenger.metrics as x (minute, transport_name, message_type, dispatched, completed, retried, dead, duration_ms_sum, waited_ms_sum)
  select w.minute, f.transport_name, f.message_type, sum(f.dispatched), sum(f.completed), sum(f.retried), sum(f.dead), sum(f.duration_ms_sum), sum(f.waited_ms_sum)
  from messenger.figures_of(v_taken) f cross join lateral (values (f.minute), ('-infinity')) as w(minute)
  group by w.minute, f.transport_name, f.message_type
  order by 1, 2, 3
  on conflict on constraint metrics_pkey do update
  set dispatched = x.dispatched + excluded.dispatched, completed = x.completed + excluded.completed, retried = x.retried + excluded.retried,
      dead = x.dead + excluded.dead, duration_ms_sum = x.duration_ms_sum + excluded.duration_ms_sum, waited_ms_sum = x.waited_ms_sum + excluded.waited_ms_sum;

  insert into messenger.metric_durations as x (minute, transport_name, message_type, bucket, deliveries)
  select w.minute, d.transport_name, d.message_type, d.bucket, sum(d.deliveries)
  from messenger.durations_of(v_taken) d cross join lateral (values (d.minute), ('-infinity')) as w(minute)
  group by w.minute, d.transport_name, d.message_type, d.bucket
  order by 1, 2, 3, 4
  on conflict on constraint metric_durations_pkey do update set deliveries = x.deliveries + excluded.deliveries;

  insert into messenger.metric_errors as x (minute, message_type, error_class, deliveries, error, last_at)
  select e.minute, e.message_type, case when e.nth <= 100 then e.error_class else 'Other' end, sum(e.deliveries),
    (array_agg(e.error order by e.last_at desc))[1], max(e.last_at)
  from (select x.*, row_number() over (order by x.deliveries desc) as nth from messenger.errors_of(v_taken) x) e
  group by 1, 2, 3
  order by 1, 2, 3
  on conflict on constraint metric_errors_pkey do update
  set deliveries = x.deliveries + excluded.deliveries, error = excluded.error, last_at = greatest(x.last_at, excluded.last_at);
  return cardinality(v_taken);
end $$;

-- Minutes older than two days become hours, hours older than 90 days go. The sums of all time stay.
create or replace function messenger.prune_metrics(at timestamptz, bite int)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_oldest timestamptz := at - interval '90 days';
  v_until timestamptz := date_trunc('hour', at - interval '2 days');
  v_from timestamptz;
  v_more int[];
begin
  select c.rolled_to into v_from from messenger.clock c;
  if v_from >= v_until or not messenger.keeps_figures() then
    return;
  end if;
  delete from messenger.metrics x where x.minute > '-infinity' and x.minute < v_oldest;
  delete from messenger.metric_durations x where x.minute > '-infinity' and x.minute < v_oldest;
  delete from messenger.metric_errors x where x.minute < v_oldest;

  with old as (
    delete from messenger.metrics m
    where (m.minute, m.transport_name, m.message_type) in (
      select x.minute, x.transport_name, x.message_type from messenger.metrics x
      where x.minute > v_from and x.minute < v_until and x.minute <> date_trunc('hour', x.minute) order by x.minute limit bite)
    returning m.*
  ),
  rolled as (
    insert into messenger.metrics as x (minute, transport_name, message_type, dispatched, completed, retried, dead, duration_ms_sum, waited_ms_sum)
    select date_trunc('hour', o.minute), o.transport_name, o.message_type, sum(o.dispatched), sum(o.completed), sum(o.retried), sum(o.dead),
      sum(o.duration_ms_sum), sum(o.waited_ms_sum)
    from old o group by 1, 2, 3
    on conflict on constraint metrics_pkey do update
    set dispatched = x.dispatched + excluded.dispatched, completed = x.completed + excluded.completed, retried = x.retried + excluded.retried,
        dead = x.dead + excluded.dead, duration_ms_sum = x.duration_ms_sum + excluded.duration_ms_sum, waited_ms_sum = x.waited_ms_sum + excluded.waited_ms_sum
  )
  select v_more || count(*)::int into v_more from old;

  with old as (
    delete from messenger.metric_durations m
    where (m.minute, m.transport_name, m.message_type, m.bucket) in (
      select x.minute, x.transport_name, x.message_type, x.bucket from messenger.metric_durations x
      where x.minute > v_from and x.minute < v_until and x.minute <> date_trunc('hour', x.minute) order by x.minute limit bite)
    returning m.*
  ),
  rolled as (
    insert into messenger.metric_durations as x (minute, transport_name, message_type, bucket, deliveries)
    select date_trunc('hour', o.minute), o.transport_name, o.message_type, o.bucket, sum(o.deliveries)
    from old o group by 1, 2, 3, 4
    on conflict on constraint metric_durations_pkey do update set deliveries = x.deliveries + excluded.deliveries
  )
  select v_more || count(*)::int into v_more from old;

  with old as (
    delete from messenger.metric_errors m
    where (m.minute, m.message_type, m.error_class) in (
      select x.minute, x.message_type, x.error_class from messenger.metric_errors x
      where x.minute > v_from and x.minute < v_until and x.minute <> date_trunc('hour', x.minute) order by x.minute limit bite)
    returning m.*
  ),
  rolled as (
    insert into messenger.metric_errors as x (minute, message_type, error_class, deliveries, error, last_at)
    select date_trunc('hour', o.minute), o.message_type, o.error_class, sum(o.deliveries), (array_agg(o.error order by o.last_at desc))[1], max(o.last_at)
    from old o group by 1, 2, 3
    on conflict on constraint metric_errors_pkey do update
    set deliveries = x.deliveries + excluded.deliveries, last_at = greatest(x.last_at, excluded.last_at),
        error = case when excluded.last_at > x.last_at then excluded.error else x.error end
  )
  select v_more || count(*)::int into v_more from old;

  if v_more = '{0,0,0}' then
    update messenger.clock c set rolled_to = v_until where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  end if;
end $$;

comment on function messenger.keeps_figures() is 'Whether this transaction may write figures; asks once and holds it.';
comment on function messenger.fold_measurements(timestamptz, int) is 'Folds at most so many measurements into the figures; returns how many. None where another session is folding.';
comment on function messenger.figures_of(messenger.measurements[]) is 'Measurements by minute, transport and type.';
comment on function messenger.durations_of(messenger.measurements[]) is 'Durations of measurements by minute, transport, type and bucket.';
comment on function messenger.errors_of(messenger.measurements[]) is 'Errors of measurements by minute, type and class.';
comment on function messenger.duration_of(messenger.measurements) is 'Milliseconds a delivery took, from 0 to 10^9; null for a dispatch.';
comment on function messenger.prune_metrics(timestamptz, int) is 'Turns minutes older than two days into hours and drops hours older than 90 days, in bites.';
revoke all on function messenger.keeps_figures(), messenger.fold_measurements(timestamptz, int), messenger.figures_of(messenger.measurements[]), messenger.durations_of(messenger.measurements[]),
  messenger.errors_of(messenger.measurements[]), messenger.duration_of(messenger.measurements), messenger.prune_metrics(timestamptz, int)
  from public, anon, authenticated, service_role;
grant execute on function messenger.figures_of(messenger.measurements[]), messenger.durations_of(messenger.measurements[]), messenger.errors_of(messenger.measurements[]),
  messenger.duration_of(messenger.measurements) to service_role;
