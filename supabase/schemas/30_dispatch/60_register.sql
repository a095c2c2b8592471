-- Registration of message types: the routes, retry policies and allow-list of the code become rows.

-- The bus's own types, symphony.*, are created by the migration. An event runs with the rights of the owner of the bus,
-- so only the bus may define it.
create or replace function messenger.ensure_own_types()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into messenger.message_types
    (type, queue_name, max_retries, retry_delay_ms, retry_multiplier, retry_max_delay_ms)
  values ('symphony.event', 'events', 5, 5000, 3, 3600000), ('symphony.webhook', 'webhooks', 8, 5000, 3, 3600000)
  on conflict on constraint message_types_pkey do nothing;
end $$;

-- As messenger.give_way_to_restored_transport. The project cannot change these rows, and messenger.on sets the handler
-- again.
create or replace function messenger.give_way_to_restored_type()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.registered_at < messenger.now() - interval '1 second' then
    delete from messenger.message_types k where k.type = new.type and k.sql_handler is null;
  end if;
  return new;
end $$;

create or replace trigger message_types_restored
before insert on messenger.message_types
for each row when (starts_with(new.type, 'symphony.'))
execute function messenger.give_way_to_restored_type();
alter table messenger.message_types enable always trigger message_types_restored;

do $$ begin perform messenger.ensure_own_types(); end $$;

create or replace function public.messenger_register(types jsonb)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_types jsonb := types;
  v_bad jsonb;
begin
  perform messenger.require_writable();
  if v_types is null or jsonb_typeof(v_types) <> 'array' then
    perform messenger.raise_error('SM_TYPE', 'types must be a JSON array');
  end if;
  if jsonb_array_length(v_types) > 1000 then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE');
  end if;
  select e into v_bad from jsonb_array_elements(v_types) e
  where jsonb_typeof(e) <> 'object' or jsonb_typeof(e -> 'type') is distinct from 'string'
    or e ->> 'type' !~ '^[A-Za-z][A-Za-z0-9_.:-]{0,127}$'
  limit 1;
  if found then
    perform messenger.raise_error('SM_TYPE', left(v_bad::text, 200));
  end if;
  v_types := coalesce((
    select jsonb_agg(e) from jsonb_array_elements(v_types) e where not starts_with(e ->> 'type', 'symphony.')), '[]');
  select e -> 'type' into v_bad from jsonb_array_elements(v_types) e
  where jsonb_typeof(e -> 'aliases') = 'array'
    and exists (select from jsonb_array_elements_text(e -> 'aliases') a where starts_with(a, 'symphony.'))
  limit 1;
  if found then
    perform messenger.raise_error('SM_TYPE_FORBIDDEN', 'aliases of ' || left(v_bad #>> '{}', 128));
  end if;
  perform messenger.check_types(v_types);

  -- A route may name a transport that no operator has created yet: it is created with type supabase.
  insert into public.messenger_transports (name, type)
  select distinct e ->> 'transport', 'supabase' from jsonb_array_elements(v_types) e where e ->> 'transport' is not null
  order by 1
  on conflict (name) do nothing;

  -- Sorted, so that isolates that start together lock in the same order. Unchanged rows are not written.
  insert into messenger.message_types as m (
    type, transport_name, queue_name, priority, dispatchable_by, max_retries, retry_delay_ms, retry_multiplier,
    retry_max_delay_ms, retry_jitter, timeout_ms, aliases
  )
  select distinct on (e.type)
    e.type, e.transport, e.queue, e.priority::int, coalesce(e.dispatchable_by, 'service'), coalesce(r.max_retries, 3),
    coalesce(r.delay_ms, 1000), coalesce(r.multiplier, 2), coalesce(r.max_delay_ms, 600000), coalesce(r.jitter, 0.2),
    e.timeout_ms::bigint, coalesce(e.aliases, '{}')
  -- Numeric, because 5.0 is a whole number that a cast to int would reject.
  from jsonb_to_recordset(v_types) as e(
    type text, transport text, queue text, priority numeric, dispatchable_by text, retry jsonb, timeout_ms numeric,
    aliases text[])
  cross join lateral jsonb_to_record(coalesce(nullif(e.retry, 'null'), '{}'))
    as r(
      max_retries numeric, delay_ms numeric, multiplier double precision, max_delay_ms numeric, jitter double precision)
  order by e.type
  on conflict (type) do update set
    transport_name = excluded.transport_name, queue_name = excluded.queue_name, priority = excluded.priority,
    dispatchable_by = excluded.dispatchable_by, max_retries = excluded.max_retries,
    retry_delay_ms = excluded.retry_delay_ms, retry_multiplier = excluded.retry_multiplier,
    retry_max_delay_ms = excluded.retry_max_delay_ms, retry_jitter = excluded.retry_jitter,
    timeout_ms = excluded.timeout_ms, aliases = excluded.aliases, registered_at = messenger.now()
  where (m.transport_name, m.queue_name, m.priority, m.dispatchable_by, m.max_retries, m.retry_delay_ms,
         m.retry_multiplier, m.retry_max_delay_ms, m.retry_jitter, m.timeout_ms, m.aliases)
    is distinct from
        (excluded.transport_name, excluded.queue_name, excluded.priority, excluded.dispatchable_by,
         excluded.max_retries, excluded.retry_delay_ms, excluded.retry_multiplier, excluded.retry_max_delay_ms,
         excluded.retry_jitter, excluded.timeout_ms, excluded.aliases);
  -- The ticker routes the others, and all of them if a trigger of the project rejects a row: the types are registered
  -- in any case.
  begin
    perform messenger.route_messages(
      array(select e ->> 'type' from jsonb_array_elements(v_types) e), 1000, messenger.now());
  exception when others then
    raise log 'symphony: messages dispatched before their type could not be routed: %', sqlerrm;
  end;
  return jsonb_array_length(types);
end $$;

comment on function public.messenger_register(jsonb) is
  'Inserts or updates message types. '
  'Example: select messenger_register(''[{"type": "Greeting", "queue": "mail", "retry": {"max_retries": 5}}]''). '
  'An element is {"type", "transport"?, "queue"?, "priority"?, "dispatchable_by"?: "service"|"user", "retry"?: '
  '{max_retries, delay_ms, multiplier, max_delay_ms, jitter}, "timeout_ms"?, "aliases"?}; omitted fields get the '
  'defaults of messenger.message_types. '
  'Types of the bus (symphony.*) are ignored. Returns the number of elements. '
  'The first invalid field raises SM_TYPE, SM_TYPE_FORBIDDEN, SM_TRANSPORT, SM_QUEUE, SM_PRIORITY, SM_MAX_RETRIES or '
  'SM_SETTING; more than 1000 elements raise SM_BATCH_TOO_LARGE.';
comment on function messenger.give_way_to_restored_type() is
  'Trigger function: deletes the row of the migration when its restored row is inserted.';
comment on function messenger.ensure_own_types() is 'Creates the rows of the bus''s own types if they are missing.';
revoke all on function
  messenger.ensure_own_types(),
  messenger.give_way_to_restored_type()
from public, anon, authenticated, service_role;
revoke all on function public.messenger_register(jsonb) from public, anon, authenticated;
grant execute on function public.messenger_register(jsonb) to service_role;
