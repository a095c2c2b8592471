-- Drafts become rows. Every dispatch, of whoever, passes here.

-- Takes an idempotency key for a new message, or says which message already stands for it.
-- The insert waits for a transaction that is taking the same key; should that one roll back, the key is ours.
-- Reads are statements of their own, so they see what committed while the insert waited.
create or replace function messenger.take_key(scope text, key text, new_id uuid, fingerprint bytea, transport_name text, queue_name text, expires_at timestamptz, at timestamptz)
returns table (taken boolean, message_id uuid, status text, transport text, queue text, available_at timestamptz, error_code text)
language plpgsql rows 1
set search_path = ''
as $$
declare
  v_key messenger.idempotency_keys;
  v_holds boolean;
  v_locked boolean := false;
begin
  loop
    insert into messenger.idempotency_keys
    values (take_key.scope, take_key.key, take_key.new_id, take_key.fingerprint, take_key.transport_name, take_key.queue_name, take_key.expires_at)
    on conflict on constraint idempotency_keys_pkey do nothing;
    if found then
      return query select true, take_key.new_id, null::text, null::text, null::text, null::timestamptz, null::text;
      return;
    end if;

    if v_locked then
      select * into v_key from messenger.idempotency_keys k where k.scope = take_key.scope and k.key = take_key.key for update;
    else
      select * into v_key from messenger.idempotency_keys k where k.scope = take_key.scope and k.key = take_key.key;
    end if;
    continue when v_key.message_id is null;

    select m.status, m.available_at,
      m.processed_at is null or exists (select from public.messenger_failed_messages f where f.message_id = m.id and f.resolved_at is null)
    into status, available_at, v_holds
    from public.messenger_messages m where m.id = v_key.message_id;

    -- Not ">": an earlier element of this very batch may have taken it with a window of zero.
    if v_holds or v_key.expires_at >= take_key.at then
      return query select false, v_key.message_id, coalesce(take_key.status, 'completed'), v_key.transport_name, v_key.queue_name, take_key.available_at,
        case when v_key.fingerprint <> take_key.fingerprint then 'SM_IDEMPOTENCY_MISMATCH' end;
      return;
    end if;

    -- Free again. Duplicates only read; whoever takes it over looks once more under the lock.
    if v_locked then
      update messenger.idempotency_keys k
      set message_id = take_key.new_id, fingerprint = take_key.fingerprint, transport_name = take_key.transport_name,
          queue_name = take_key.queue_name, expires_at = take_key.expires_at
      where k.scope = take_key.scope and k.key = take_key.key;
      return query select true, take_key.new_id, null::text, null::text, null::text, null::timestamptz, null::text;
      return;
    end if;
    v_locked := true;
  end loop;
end $$;

create or replace function messenger.store_messages(messages jsonb, atomic boolean, scope text, sender uuid, single boolean default false)
returns table (ord int, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz, error_code text, error text)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_messages jsonb := messages;
  v_atomic boolean := atomic;
  v_scope text := scope;
  v_sender uuid := sender;
  v_single boolean := single;
  v_now timestamptz := messenger.now();
  v_prefix text := messenger.id_prefix(v_now);
  v_random bigint := messenger.id_random();
begin
  if v_messages is null or jsonb_typeof(v_messages) <> 'array' or jsonb_array_length(v_messages) = 0 then
    perform messenger.refuse('SM_BATCH');
  elsif jsonb_array_length(v_messages) > 1000 or pg_column_size(v_messages) > 8388608 then
    perform messenger.refuse('SM_BATCH_TOO_LARGE');
  end if;

  return query
  with draft as materialized (
    select d.*, (v_prefix || lpad(to_hex(v_random + d.ord), 16, '0'))::uuid as new_id,
      case when v_atomic and d.error_code is not null then
        messenger.refuse(d.error_code, concat_ws(': ', case when not v_single then 'message ' || d.ord end, quote_ident(d.unknown_field)))
      end as refused
    from messenger.read_drafts(v_messages, v_now) d
  ),
  -- In the order of the keys, whatever order they came in: two batches cannot wait for each other.
  keyed as materialized (
    select d.ord, k.*, case when v_atomic and k.error_code is not null then
        messenger.refuse(k.error_code, concat_ws(': ', case when not v_single then 'message ' || d.ord end, 'message ' || k.message_id)) end as refused
    from (select * from draft where error_code is null and idempotency_key is not null order by idempotency_key collate "C", ord) d
    cross join lateral messenger.take_key(v_scope, d.idempotency_key, d.new_id,
      sha256(convert_to(concat_ws(chr(31), d.message_type, d.queue_name, d.body::text), 'UTF8')),
      d.transport_name, d.queue_name, v_now + d.idempotency_window, v_now) k
  ),
  stored as (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, metadata, priority, scheduled_at, available_at, expires_at,
       created_at, updated_at, max_retries, idempotency_key, created_by)
    select d.new_id, d.transport_name, d.queue_name, d.message_type, d.body, d.headers, d.metadata, d.priority, d.scheduled_at, d.available_at, d.expires_at,
       v_now, v_now, d.max_retries, d.idempotency_key, v_sender
    from draft d left join keyed k on k.ord = d.ord
    where d.error_code is null and coalesce(k.taken, true)
    returning m.id, m.transport_name, m.queue_name, m.message_type, m.available_at
  ),
  rung as materialized (
    select count(messenger.ring(due.transport_name, due.queue_name, due.message_type)) as bells
    from (select distinct s.transport_name, s.queue_name, s.message_type from stored s where s.available_at <= v_now) due
  ),
  -- A duplicate within this batch: the first one's row is not visible yet, its draft is.
  answer as (
    select d.ord, s.id is not null as is_new, d.new_id, d.transport_name, d.queue_name, d.available_at, d.unknown_field,
      coalesce(d.error_code, k.error_code) as error_code, k.message_id, case when first.ord is not null then 'pending' else k.status end as known_status,
      k.transport, k.queue, coalesce(first.available_at, k.available_at) as known_available_at
    from draft d
    left join keyed k on k.ord = d.ord
    left join stored s on s.id = d.new_id
    left join draft first on first.new_id = k.message_id
    cross join rung
  )
  select a.ord, a.new_id, false, 'pending', a.transport_name, a.queue_name, a.available_at, null, null from answer a where a.is_new
  union all
  select a.ord, a.message_id, true, a.known_status, a.transport, a.queue, nullif(a.known_available_at, 'infinity'), null, null
  from answer a where not a.is_new and a.error_code is null
  union all
  select a.ord, null, null, null, null, null, null, a.error_code,
    concat_ws(': ', quote_ident(a.unknown_field), (select r.message from messenger.refusals() r where r.code = a.error_code))
  from answer a where a.error_code is not null
  order by 1;
end $$;

comment on function messenger.take_key(text, text, uuid, bytea, text, text, timestamptz, timestamptz) is
  'Takes (scope, key) for new_id (taken = true) or names the message that holds it; error_code when that one is another type, queue or payload.';
comment on function messenger.store_messages(jsonb, boolean, text, uuid, boolean) is
  'Stores 1 to 1000 elements. Atomic: the first bad one raises its refusal; else its row carries error_code and error. Rings for what is due.';
revoke all on function messenger.take_key(text, text, uuid, bytea, text, text, timestamptz, timestamptz),
  messenger.store_messages(jsonb, boolean, text, uuid, boolean) from public, anon, authenticated;
grant execute on function messenger.take_key(text, text, uuid, bytea, text, text, timestamptz, timestamptz),
  messenger.store_messages(jsonb, boolean, text, uuid, boolean) to service_role;
