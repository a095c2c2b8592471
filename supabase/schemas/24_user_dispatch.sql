-- Dispatch for signed-in users: allow-listed types, their own idempotency scope, a limit on what they may leave unfinished.

-- Definer, because users have no rights on the tables. Who the user is comes from the token alone.
create or replace function messenger.user_dispatch(type text, payload jsonb, idempotency_key text, delay interval, headers jsonb, metadata jsonb)
returns table (id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user uuid := auth.uid();
  v_forbidden text;
  v_limit int;
begin
  if v_user is null then
    perform messenger.refuse('SM_UNAUTHENTICATED');
  end if;
  -- One answer for a type that is not allowed and one that does not exist: users cannot list the types.
  if not exists (select from messenger.message_types k where k.type = user_dispatch.type and k.dispatchable_by = 'user') then
    perform messenger.refuse('SM_TYPE_FORBIDDEN');
  end if;
  if jsonb_typeof(headers) = 'object' then
    select h.key into v_forbidden from jsonb_object_keys(headers) as h(key) where h.key not in ('traceparent', 'x-request-id') limit 1;
    if found then
      perform messenger.refuse('SM_FIELD_FORBIDDEN', 'headers.' || left(v_forbidden, 100));
    end if;
  end if;
  select s.id, s.duplicate, s.status, s.transport, s.queue, s.available_at
  into id, duplicate, status, transport, queue, available_at
  from messenger.store_messages((
    select jsonb_build_array(jsonb_object_agg(field, value) filter (where value is not null))
    from (values
      ('type', to_jsonb(type)), ('payload', payload), ('idempotency_key', to_jsonb(idempotency_key)), ('delay', to_jsonb(delay)),
      ('headers', headers), ('metadata', metadata)
    ) as given(field, value)
  ), true, v_user::text, v_user, true) s;
  -- Asked afterwards, so that a repeated dispatch is told its message and not its limit; the refusal takes a new one back.
  select s.max_unfinished_per_user into v_limit from messenger.settings s;
  if not duplicate and v_limit < (
    select count(*) from (select from public.messenger_messages m where m.created_by = v_user and m.processed_at is null limit v_limit + 1) unfinished) then
    perform messenger.refuse('SM_RATE');
  end if;
  return next;
end $$;

create or replace function public.messenger_user_dispatch(
  type text, payload jsonb default '{}', idempotency_key text default null, delay interval default null, headers jsonb default '{}', metadata jsonb default '{}'
)
returns table (id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz)
language sql
set search_path = pg_catalog, pg_temp
as $$ select * from messenger.user_dispatch(type, payload, idempotency_key, delay, headers, metadata) $$;

comment on function messenger.user_dispatch(text, jsonb, text, interval, jsonb, jsonb) is 'See public.messenger_user_dispatch.';
comment on function public.messenger_user_dispatch(text, jsonb, text, interval, jsonb, jsonb) is
  'Dispatch by a signed-in user: only types registered with dispatchable_by = user, of headers only traceparent and x-request-id, at most max_unfinished_per_user unfinished messages (SM_RATE).';
revoke all on function messenger.user_dispatch(text, jsonb, text, interval, jsonb, jsonb),
  public.messenger_user_dispatch(text, jsonb, text, interval, jsonb, jsonb) from public, anon, authenticated;
grant execute on function messenger.user_dispatch(text, jsonb, text, interval, jsonb, jsonb),
  public.messenger_user_dispatch(text, jsonb, text, interval, jsonb, jsonb) to authenticated, service_role;
