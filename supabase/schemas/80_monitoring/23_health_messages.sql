-- Health checks of messages: whether due messages are claimed, by which workers, and how many become dead letters.
create or replace function messenger.health_oldest_due(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  v_oldest record;
  v_seconds numeric;
begin
  select head.id, greatest(head.available_at,
    messenger.runs_since(q.transport_name, q.queue_name, health_oldest_due.at)) as since into v_oldest
  from messenger.due_queues(health_oldest_due.at) q
  cross join generate_series(1, 10) as level(priority)
  cross join lateral (
    select m.id, m.available_at from public.messenger_messages m
    where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority
      and m.processed_at is null
      and m.available_at <= health_oldest_due.at and (m.status = 'pending' or m.lock_expires_at < health_oldest_due.at)
    order by m.available_at, m.id limit 1
  ) head
  order by since limit 1;
  v_seconds := round(extract(epoch from health_oldest_due.at - v_oldest.since));
  return query select
    case when coalesce(v_seconds, 0) < 60 then 'healthy' when v_seconds < 600 then 'degraded' else 'unhealthy' end,
    coalesce('the oldest due message has waited ' || v_seconds || ' s', 'nothing is due'),
    format('select * from messenger_explain(%L)', v_oldest.id),
    jsonb_build_object('seconds', v_seconds);
end $$;

-- Scans the oldest messages of each queue and priority: a type without a handler stays while others are
-- completed, so its messages move to the front. At most 1000 per queue and priority, fewer if there are many
-- queues, so that at most about ten thousand rows are read.
create or replace function messenger.due_types(at timestamptz, age interval)
returns table (transport_name text, queue_name text, message_type text, oldest_at timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_sql_types text[] := array(select h.type from messenger.sql_handlers() h where h.handler is not null);
  v_depth int := (select least(1000, greatest(5, 10000 / 10 / greatest(count(*), 1)))
    from messenger.due_queues(due_types.at));
begin
  return query
  select q.transport_name, q.queue_name, head.message_type, greatest(min(head.available_at), q.since)
  from (select a.*, messenger.runs_since(a.transport_name, a.queue_name, due_types.at) as since
    from messenger.due_queues(due_types.at) a) q
  cross join generate_series(1, 10) as level(priority)
  cross join lateral (
    select m.message_type, m.available_at from public.messenger_messages m
    where m.transport_name = q.transport_name and m.queue_name = q.queue_name and m.priority = level.priority
      and m.processed_at is null
      and m.available_at < due_types.at - age and (m.status = 'pending' or m.lock_expires_at < due_types.at)
    order by m.available_at, m.id limit v_depth
  ) head
  where head.message_type <> all (v_sql_types) and coalesce(q.since < due_types.at - age, true)
  group by q.transport_name, q.queue_name, head.message_type, q.since;
end $$;

create or replace function messenger.health_no_handler(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'degraded' end,
    coalesce('no worker of the last minute handles ' || left(string_agg(lost.name, ', ' order by lost.name), 1000),
      'all due types have a handler'),
    'deploy a worker whose packs define these types, or set an SQL handler; the messages wait until then',
      jsonb_build_object('types', count(*))
  from (
    select distinct quote_ident(d.message_type) as name from messenger.due_types(health_no_handler.at, '10 seconds') d
    where messenger.active_workers(d.transport_name, d.queue_name, d.message_type, '1 minute') = 0
      -- Without any active worker, types that code has registered are the concern of the check workers.
      and (exists (select from messenger.workers w where w.polled_at > health_no_handler.at - interval '1 minute'
        and w.polled_at <= health_no_handler.at and w.worker !~ '^sql-[0-9]+$')
        or d.message_type not in (
          select alias.type from messenger.message_types k cross join lateral unnest(k.type || k.aliases) as alias(type)
          where k.sql_handler is null and alias.type is not null))
  ) lost
$$;

-- The runner of SQL handlers claims as messenger.sql_worker() and is not counted as a worker.
create or replace function messenger.health_workers(at timestamptz)
returns setof messenger.check_result
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_active bigint;
  v_seconds numeric;
  v_result messenger.check_result;
begin
  select count(*) into v_active from messenger.workers w
  where w.polled_at > health_workers.at - interval '1 minute' and w.polled_at <= health_workers.at
    and w.worker !~ '^sql-[0-9]+$';
  if v_active = 0 then
    v_seconds := (select round(extract(epoch from health_workers.at - min(d.oldest_at)))
      from messenger.due_types(health_workers.at, '30 seconds') d);
  end if;
  v_result.status := case when v_seconds is null then 'healthy' else 'unhealthy' end;
  v_result.detail := v_active || ' active within the last minute'
    || case when v_seconds is not null then ', and a message has been due for ' || v_seconds || ' s'
      when v_active = 0 then ', and no message is waiting' else '' end;
  v_result.remedy := coalesce(messenger.call_worker(),
    'select messenger_start(''https://<project>.supabase.co/functions/v1'')');
  v_result.figures := jsonb_build_object('awake', v_active, 'seconds', v_seconds);
  return next v_result;
end $$;

create or replace function messenger.health_transports(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when count(*) = 0 then 'healthy' else 'degraded' end,
    coalesce('disabled, so dispatches are rejected and messages wait: ' || string_agg(t.name, ', ' order by t.name),
      'no transport in use is disabled'),
    format('select messenger_put_transport(%L, enabled => true)', min(t.name)), jsonb_build_object('disabled', count(*))
  from public.messenger_transports t
  where not t.enabled and (t.name = 'supabase' or exists (select from messenger.message_types k
    where k.transport_name = t.name))
$$;

create or replace function messenger.health_dead_letters(at timestamptz)
returns setof messenger.check_result
language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when c.n = 0 then 'healthy' else 'degraded' end,
    case when c.estimated then 'about ' else '' end || c.n || ' open',
    'select message_type, error, attempts from messenger_failed_messages where resolved_at is null',
    jsonb_build_object('open', c.n)
  from messenger.count_rows('select from public.messenger_failed_messages f where f.resolved_at is null') c
$$;

comment on function messenger.due_types(timestamptz, interval) is
  'Message types without an SQL handler at the front of running queues that have been due for longer '
  'than age, each with its oldest due moment.';
comment on function messenger.health_oldest_due(timestamptz) is
  'Seconds that the oldest due message has waited: degraded from 60, unhealthy from 600.';
comment on function messenger.health_no_handler(timestamptz) is
  'A type that has been due for 10 s and that no SQL handler and no worker of the last minute takes: degraded. Types '
  'registered by code count only if another worker was active.';
comment on function messenger.health_workers(timestamptz) is
  'A message has been due for 30 s and no worker has polled within a minute: unhealthy.';
comment on function messenger.health_transports(timestamptz) is
  'A disabled transport that is the default or the route of a registered type: degraded.';
comment on function messenger.health_dead_letters(timestamptz) is 'Any open dead letter: degraded.';
revoke all on function
  messenger.due_types(timestamptz, interval),
  messenger.health_oldest_due(timestamptz),
  messenger.health_no_handler(timestamptz),
  messenger.health_workers(timestamptz),
  messenger.health_transports(timestamptz),
  messenger.health_dead_letters(timestamptz)
from public, anon, authenticated, service_role;
