-- Routing of messages that were dispatched before their type was registered: they get its route and retries afterwards.

create or replace function messenger.open_fields(element jsonb)
returns text[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(array(
    select f.field from unnest('{queue,priority,max_retries}'::text[]) as f(field)
    where not coalesce(element ? f.field, false)), '{}');
end $$;

-- Messages with an idempotency key or an ordering key stay in their queue, which is part of the key; they only get the
-- retries. Used retries stay used. Running messages follow once they are pending again; messages that others have
-- locked are left to the next tick.
create or replace function messenger.route_messages(types text[], chunk int, at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_routed bigint;
begin
  with chosen as materialized (
    select m.ctid as row_id from public.messenger_messages m
    where m.unrouted is not null and m.processed_at is null and m.message_type = any (types) and m.status = 'pending'
    limit chunk
    for no key update skip locked
  ),
  routed as (
    update public.messenger_messages m
    set queue_name = case when 'queue' = any (m.unrouted) and num_nonnulls(m.idempotency_key, m.ordering_key) = 0
          then coalesce(k.queue_name, m.queue_name) else m.queue_name end,
        priority = case when 'priority' = any (m.unrouted) and num_nonnulls(m.idempotency_key, m.ordering_key) = 0
          then coalesce(k.priority, m.priority) else m.priority end,
        max_retries = case when 'max_retries' = any (m.unrouted)
          then greatest(k.max_retries, m.retry_count) else m.max_retries end,
        unrouted = null, updated_at = route_messages.at
    from messenger.message_types k
    where k.type = m.message_type and m.ctid = any (array(select c.row_id from chosen c))
    returning m.transport_name, m.queue_name, m.message_type, m.available_at
  ),
  woken as (
    select count(messenger.wake_worker(d.transport_name, d.queue_name, d.message_type)) as wakeups
    from (
      select distinct r.transport_name, r.queue_name, r.message_type from routed r
      where r.available_at <= route_messages.at
    ) d
  )
  select count(*) into v_routed from routed cross join woken;
  return v_routed;
end $$;

-- Finds the types of such messages by one probe of the index per type, and keeps those that are registered. A dispatch
-- that commits after the registration, without having seen it, is found here too.
create or replace function messenger.route_due(at timestamptz, chunk int, ends_at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_types text[];
  v_routed bigint;
  v_total bigint := 0;
begin
  with recursive waiting as (
    (select m.message_type from public.messenger_messages m
     where m.unrouted is not null and m.processed_at is null order by m.message_type limit 1)
    union all
    select n.message_type
    from waiting w
    cross join lateral (
      select m.message_type from public.messenger_messages m
      where m.unrouted is not null and m.processed_at is null and m.message_type > w.message_type
      order by m.message_type limit 1
    ) n
  )
  select array_agg(w.message_type) into v_types from (select * from waiting limit 1000) w
  where exists (select from messenger.message_types k where k.type = w.message_type);
  while v_types is not null loop
    v_routed := messenger.route_messages(v_types, chunk, at);
    v_total := v_total + v_routed;
    exit when v_routed < chunk or clock_timestamp() > ends_at;
  end loop;
  return v_total;
end $$;

comment on function messenger.open_fields(jsonb) is
  'Those of queue, priority and max_retries that an element of a dispatch leaves to its type; null: none.';
comment on function messenger.route_messages(text[], int, timestamptz) is
  'Gives up to chunk pending messages of these registered types, which were dispatched before the registration, the '
  'values that their dispatch left open. Returns their number.';
comment on function messenger.route_due(timestamptz, int, timestamptz) is
  'messenger.route_messages for all registered types, in chunks, until about ends_at. Returns the number of messages.';
revoke all on function
  messenger.open_fields(jsonb),
  messenger.route_messages(text[], int, timestamptz),
  messenger.route_due(timestamptz, int, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.open_fields(jsonb),
  messenger.route_messages(text[], int, timestamptz),
  messenger.route_due(timestamptz, int, timestamptz)
to service_role;
