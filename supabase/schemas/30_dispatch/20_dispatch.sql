-- Dispatch for services: one message, or up to a thousand in one call.

-- A named type, because plpgsql rejects a parameter and a result column of one name, and language sql would plan the body again at each call (0.7 ms against 0.4).
create or replace function public.messenger_dispatch(
  type text, payload jsonb default '{}', queue text default null, priority int default null, available_at timestamptz default null, delay interval default null,
  idempotency_key text default null, idempotency_mode text default 'ignore', idempotency_window interval default null, ordering_key text default null,
  transport text default null, max_retries int default null, expires_at timestamptz default null, headers jsonb default '{}', metadata jsonb default '{}'
)
returns setof messenger.dispatched
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select s.id, s.duplicate, s.status, s.transport, s.queue, s.available_at
  from messenger.store_messages((
    select jsonb_build_array(jsonb_object_agg(given.field, given.value) filter (where given.value is not null))
    from (values
      ('type', to_jsonb(type)), ('payload', payload), ('queue', to_jsonb(queue)), ('priority', to_jsonb(priority)), ('available_at', to_jsonb(available_at)),
      ('delay', to_jsonb(delay)), ('idempotency_key', to_jsonb(idempotency_key)), ('idempotency_mode', to_jsonb(idempotency_mode)),
      ('idempotency_window', to_jsonb(idempotency_window)), ('ordering_key', to_jsonb(ordering_key)), ('transport', to_jsonb(transport)),
      ('max_retries', to_jsonb(max_retries)), ('expires_at', to_jsonb(expires_at)), ('headers', headers), ('metadata', metadata)
    ) as given(field, value)
  ), true, 'service', messenger.caller_id(), true) as s;
end $$;

create or replace function public.messenger_dispatch_batch(messages jsonb, atomic boolean default true)
returns table (ord int, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz, error_code text, error text)
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.store_messages(messages, coalesce(atomic, true), 'service', messenger.caller_id()) $$;

comment on function public.messenger_dispatch(text, jsonb, text, int, timestamptz, interval, text, text, interval, text, text, int, timestamptz, jsonb, jsonb) is
  'Stores one message in the caller''s transaction and returns the stored values, also for a duplicate of an idempotency key. A null parameter means its default. idempotency_mode: what a later dispatch on the key changes of a message that is still pending: ignore nothing, replace the content, reschedule the moment, throttle nothing, whatever the payload, debounce both, to run once, delay (or else the window) after the last call. ordering_key: of its messages in one transport and queue one is in flight, in the order of dispatch. Refusals: SQLSTATE PT<status>, detail SM_<CODE>, hint.';
comment on function public.messenger_dispatch_batch(jsonb, boolean) is
  'Stores 1 to 1000 elements with the names of messenger_dispatch, exact JSON types, no nulls. Atomic: one bad element rejects all and is named (counted from 1); else each row says its own error.';
revoke all on function public.messenger_dispatch(text, jsonb, text, int, timestamptz, interval, text, text, interval, text, text, int, timestamptz, jsonb, jsonb),
  public.messenger_dispatch_batch(jsonb, boolean) from public, anon, authenticated;
grant execute on function public.messenger_dispatch(text, jsonb, text, int, timestamptz, interval, text, text, interval, text, text, int, timestamptz, jsonb, jsonb),
  public.messenger_dispatch_batch(jsonb, boolean) to service_role;
