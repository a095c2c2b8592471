-- Storing plain messages: registered types, and nothing given but a payload. One statement stores one or a thousand.

-- A small payload is tested by its sizes alone: a number outside the range of a double prints to more than 300 bytes,
-- and 65 nested levels take more than 500. Each of the other tests costs 3 us.
create or replace function messenger.is_plain_payload(payload jsonb)
returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_typeof(payload) = 'object' and case
    when pg_column_size(payload) <= 500 and octet_length(payload::text) <= 300 then true
    when pg_column_size(payload) <= 6000
      then not messenger.has_out_of_range_number(payload) and not messenger.is_too_deep(payload)
    else false end;
end $$;

-- Whether a worker is active is looked up at most every 20 ms per session, queue and type: a worker that was active or
-- was woken then still is. If the transaction or savepoint that sent the wake-up is rolled back, so is the setting
-- messenger.wake_checked.
create or replace function messenger.store_plain(types text[], payloads jsonb[], stamp jsonb, sender uuid)
returns messenger.dispatched[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
declare
  v_now timestamptz := messenger.now();
  v_prefix text := messenger.id_prefix(v_now);
  v_random bigint := messenger.id_random();
  v_stored messenger.dispatched[];
  v_transports text[];
  v_queues text[];
  v_types text[];
  v_check text;
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  with stored as materialized (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, priority, available_at, created_at, updated_at,
       max_retries, created_by)
    select (v_prefix || lpad(to_hex(v_random + e.ord), 16, '0'))::uuid, t.name, coalesce(k.queue_name, 'default'),
      k.type, e.payload, coalesce(stamp, '{}'), coalesce(k.priority, 5), v_now, v_now, v_now,
      coalesce(k.max_retries, 3), sender
    from unnest(types, payloads) with ordinality as e(type, payload, ord)
    join messenger.message_types k on k.type = e.type and not starts_with(k.type, 'symphony.')
    join public.messenger_transports t on t.name = coalesce(k.transport_name, 'supabase') and t.enabled
      and t.type in ('supabase', 'sync')
    returning m.id, m.transport_name, m.queue_name, m.message_type
  ),
  kind as materialized (
    select s.transport_name, s.queue_name, s.message_type, count(*) as message_count from stored s
    group by s.transport_name, s.queue_name, s.message_type
  ),
  measured as (
    insert into messenger.measurements (at, transport_name, message_type, kind, message_count)
    select v_now, k.transport_name, k.message_type, 'dispatched', k.message_count from kind k
  )
  select (
      -- Ids rise in the order of the elements.
      select array_agg(row(s.id, false, 'pending', s.transport_name, s.queue_name, v_now)::messenger.dispatched
        order by s.id) from stored s),
    array_agg(k.transport_name), array_agg(k.queue_name), array_agg(k.message_type)
  into v_stored, v_transports, v_queues, v_types
  from kind k;
  if v_stored is null then
    return null;
  elsif cardinality(v_stored) < cardinality(types) then
    v_stored := array(
      select row(s.id, false, s.status, s.transport, s.queue, s.available_at)::messenger.dispatched
      from unnest(types) with ordinality as e(type, ord)
      left join unnest(v_stored) s on s.id = (v_prefix || lpad(to_hex(v_random + e.ord), 16, '0'))::uuid
      order by e.ord);
  end if;
  v_check := row((date_part('epoch', v_now) * 50)::bigint, v_transports, v_queues, v_types)::text;
  if current_setting('messenger.wake_checked', true) is distinct from v_check then
    perform messenger.wake_worker(k.transport, k.queue, k.type)
    from unnest(v_transports, v_queues, v_types) as k(transport, queue, type);
    perform set_config('messenger.wake_checked', v_check, false);
  end if;
  return v_stored;
end $$;

-- Null if an element is not plain, or its type is not registered: then messenger.store_messages stores the batch.
create or replace function messenger.store_plain_batch(messages jsonb, sender uuid)
returns messenger.dispatched[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
  v_types text[];
  v_payloads jsonb[];
  v_are_plain boolean;
begin
  -- Batches are mostly of one kind, so the first element spares most others the test.
  if jsonb_typeof(messages -> 0) <> 'object' then
    return null;
  elsif (messages -> 0) - '{type,payload}'::text[] <> '{}' then
    return null;
  end if;
  select array_agg(e ->> 'type'), array_agg(coalesce(e -> 'payload', '{}')), bool_and(coalesce(
    case when jsonb_typeof(e) = 'object' then jsonb_typeof(e -> 'type') = 'string'
      and e - '{type,payload}'::text[] = '{}' and case
        when pg_column_size(e) <= 500 and octet_length(e::text) <= 300
          then coalesce(jsonb_typeof(e -> 'payload'), 'object') = 'object'
        else messenger.is_plain_payload(e -> 'payload') end
    end, false))
  into v_types, v_payloads, v_are_plain
  from jsonb_array_elements(messages) e;
  if not v_are_plain then
    return null;
  elsif exists (
    select from (select distinct u.type from unnest(v_types) as u(type)) x
    left join messenger.message_types k on k.type = x.type and not starts_with(k.type, 'symphony.')
    left join public.messenger_transports t on t.name = coalesce(k.transport_name, 'supabase') and t.enabled
      and t.type in ('supabase', 'sync')
    where k.type is null or t.name is null
  ) then
    return null;
  end if;
  return messenger.store_plain(v_types, v_payloads, null, sender);
end $$;

comment on function messenger.is_plain_payload(jsonb) is
  'Whether the payload is an object of at most 6000 bytes that passes all checks of a dispatch; false or null for '
  'payloads that messenger.store_messages must check.';
comment on function messenger.store_plain(text[], jsonb[], jsonb, uuid) is
  'Stores messages of registered types with checked payloads, due now, for a sender, and wakes workers for them. '
  'stamp: headers that the bus adds. Returns one row per element in order, with nulls for an element that was not '
  'stored because its type is not registered, its transport is disabled or a trigger suppressed it; null if none was.';
comment on function messenger.store_plain_batch(jsonb, uuid) is
  'messenger.store_plain for the elements of messenger_dispatch_batch. Null, with nothing stored, if one of them is '
  'not plain.';
revoke all on function
  messenger.is_plain_payload(jsonb),
  messenger.store_plain(text[], jsonb[], jsonb, uuid),
  messenger.store_plain_batch(jsonb, uuid)
from public, anon, authenticated;
grant execute on function
  messenger.is_plain_payload(jsonb),
  messenger.store_plain(text[], jsonb[], jsonb, uuid),
  messenger.store_plain_batch(jsonb, uuid)
to service_role;
