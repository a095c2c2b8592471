-- Storing drafts as messages. Every dispatch uses these functions.

-- A function of its own, which runs on errors only, so that the two statements below do not repeat the expression.
create or replace function messenger.reject_message(error_code text, ord int, single boolean, subject text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  return messenger.raise_error(
    error_code, concat_ws(': ', case when not single then 'message ' || ord end, subject));
end $$;

-- All dispatches with an ordering key, or with a mode that changes a stored message.
create or replace function messenger.store_in_turn(
  messages jsonb, atomic boolean, scope text, sender uuid, single boolean, at timestamptz
)
returns table (
  ord int, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz,
  error_code text, error text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_messages jsonb := messages;
  v_atomic boolean := atomic;
  v_scope text := scope;
  v_sender uuid := sender;
  v_single boolean := single;
  v_now timestamptz := at;
  -- Names the user whose metadata it is. created_by cannot: a service's dispatch in a user's transaction has it too.
  v_stamp jsonb := case
    when sender is not null and scope = sender::text then jsonb_build_object('x-symphony-user', sender) end;
  v_prefix text := messenger.id_prefix(v_now);
  v_random bigint := messenger.id_random();
begin
  return query
  with draft as materialized (
    select d.*, (v_prefix || lpad(to_hex(v_random + d.ord), 16, '0'))::uuid as new_id,
      case when v_atomic and d.error_code is not null then
        messenger.reject_message(d.error_code, d.ord, v_single, quote_ident(d.unknown_field))
      end as rejected,
      case when (select k.type from messenger.message_types k where k.type = d.message_type) is null then
        messenger.open_fields(v_messages -> d.ord - 1)
      end as unrouted,
      case when d.idempotency_key is not null then d end as keyed_draft
    from messenger.read_drafts(v_messages, v_now) d
  ),
  -- In the order of the keys, not of the elements, so that two batches cannot deadlock.
  keyed as materialized (
    select d.ord, k.taken, k.is_stored, k.passed_on, k.message_id, k.status, k.transport, k.queue, k.error_code,
      -- Every row of a message returns its state at the end of the call.
      last_value(k.available_at) over (
        partition by k.message_id order by d.ord rows between unbounded preceding and unbounded following
      ) as available_at,
      case when v_atomic and k.error_code is not null then
        messenger.reject_message(k.error_code, d.ord, v_single, 'message ' || k.message_id)
      end as rejected
    from (
      select x.ord, x.keyed_draft, x.new_id,
        count(*) over same_key > 1
          and bool_or(x.idempotency_mode in ('replace', 'reschedule', 'debounce')) over same_key as may_change
      from draft x where x.error_code is null and x.idempotency_key is not null
      window same_key as (partition by x.idempotency_key)
      order by x.idempotency_key collate "C", x.ord
    ) d
    cross join lateral messenger.take_key(v_scope, d.keyed_draft, d.new_id, v_sender, d.may_change, v_now) k
  ),
  -- Always one row, after all keys are taken: locks of another kind follow.
  dropped as materialized (
    select case when count(k.passed_on) > 0 then messenger.drop_keys(array_agg(k.passed_on), v_now) end as keys
    from keyed k
  ),
  turn as materialized (
    select t.ord, t.seq, t.available_at
    from (
      select array_agg(d.ord) as ords, array_agg(d.new_id) as ids, array_agg(d.transport_name) as transports,
        array_agg(d.queue_name) as queues, array_agg(d.ordering_key) as keys, array_agg(d.available_at) as moments,
        array_agg(coalesce(k.is_stored, false)) as are_stored
      from dropped cross join draft d left join keyed k on k.ord = d.ord
      where d.error_code is null and d.ordering_key is not null and coalesce(k.taken, true)
      having count(*) > 0
    ) l
    cross join lateral messenger.take_turns(
      l.ords, l.ids, l.transports, l.queues, l.keys, l.moments, l.are_stored) t
  ),
  stored as (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, metadata, priority, scheduled_at, available_at,
       expires_at, created_at, updated_at, max_retries, idempotency_key, ordering_key, ordering_seq, created_by,
       unrouted)
    select d.new_id, d.transport_name, d.queue_name, d.message_type, d.body, coalesce(d.headers || v_stamp, d.headers),
      d.metadata, d.priority, d.scheduled_at, coalesce(t.available_at, d.available_at), d.expires_at,
      v_now, v_now, d.max_retries, d.idempotency_key, d.ordering_key, t.seq, v_sender, d.unrouted
    from draft d left join keyed k on k.ord = d.ord left join turn t on t.ord = d.ord
    where d.error_code is null and coalesce(k.taken and not k.is_stored, true)
    returning m.id, m.transport_name, m.queue_name, m.message_type, m.available_at
  ),
  dispatched as materialized (
    select s.id, s.transport_name, s.queue_name, s.message_type, s.available_at from stored s
    union all
    select d.new_id, d.transport_name, d.queue_name, d.message_type, coalesce(t.available_at, k.available_at)
    from keyed k join draft d on d.ord = k.ord left join turn t on t.ord = k.ord
    where k.is_stored
  ),
  measured as (
    insert into messenger.measurements (at, transport_name, message_type, kind, message_count)
    select v_now, s.transport_name, s.message_type, 'dispatched', count(*)
    from dispatched s group by s.transport_name, s.message_type
  ),
  woken as materialized (
    select count(messenger.wake_worker(due.transport_name, due.queue_name, due.message_type)) as wakeups
    from (
      select distinct s.transport_name, s.queue_name, s.message_type from dispatched s where s.available_at <= v_now
    ) due
  ),
  -- A message of this call is not visible yet when a later element has its key. The id is null if a trigger of the
  -- project has suppressed the row.
  reply as (
    select d.ord, case when coalesce(k.taken, true) then s.id else k.message_id end as message_id,
      not coalesce(k.taken, true) as is_duplicate,
      case when s.id is null then k.status else 'pending' end as message_status,
      coalesce(k.transport, d.transport_name) as message_transport, coalesce(k.queue, d.queue_name) as message_queue,
      nullif(coalesce(s.available_at, k.available_at), 'infinity') as message_available_at,
      d.unknown_field, coalesce(d.error_code, k.error_code) as code
    from draft d
    left join keyed k on k.ord = d.ord
    left join dispatched s on s.id = coalesce(k.message_id, d.new_id)
    cross join woken
  )
  select r.ord, r.message_id, r.is_duplicate, r.message_status, r.message_transport, r.message_queue,
    r.message_available_at, null, null
  from reply r where r.code is null
  union all
  select r.ord, null, null, null, null, null, null, r.code,
    concat_ws(': ', quote_ident(r.unknown_field),
      (select e.message from messenger.error_codes() e where e.code = r.code))
  from reply r where r.code is not null
  order by 1;
end $$;

-- All other dispatches: no ordering key, and a mode that changes no stored message. A statement of its own: with the
-- numbering of ordering keys in it each dispatch would cost 54 us more, of 230. For the same reason the two statements
-- repeat the column list of the insert; keyed_draft costs nothing where there is no key. The type is looked up by a
-- scalar subquery: for "not exists" the planner would read all types, 3 ms of ten thousand.
create or replace function messenger.store_messages(
  messages jsonb, atomic boolean, scope text, sender uuid, single boolean default false
)
returns table (
  ord int, id uuid, duplicate boolean, status text, transport text, queue text, available_at timestamptz,
  error_code text, error text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_messages jsonb := messages;
  v_atomic boolean := atomic;
  v_scope text := scope;
  v_sender uuid := sender;
  v_single boolean := single;
  v_now timestamptz := messenger.now();
  -- Names the user whose metadata it is. created_by cannot: a service's dispatch in a user's transaction has it too.
  v_stamp jsonb := case
    when sender is not null and scope = sender::text then jsonb_build_object('x-symphony-user', sender) end;
  v_prefix text := messenger.id_prefix(v_now);
  v_random bigint := messenger.id_random();
  v_lock_timeout text;
begin
  if current_setting('transaction_read_only') = 'on' then
    perform messenger.require_writable();
  end if;
  if v_messages is null or jsonb_typeof(v_messages) <> 'array' or jsonb_array_length(v_messages) = 0 then
    perform messenger.raise_error('SM_BATCH');
  elsif jsonb_array_length(v_messages) > 1000 or pg_column_size(v_messages) > 8388608 then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE');
  elsif v_messages @? '$[*].idempotency_key' then
    v_lock_timeout := messenger.bound_waits();
    if v_lock_timeout is not null then
      begin
        return query select * from messenger.store_messages(v_messages, v_atomic, v_scope, v_sender, v_single);
        perform messenger.unbound_waits(v_lock_timeout);
      exception when lock_not_available then
        perform messenger.reject_waits(v_lock_timeout, sqlerrm);
      end;
      return;
    end if;
  end if;
  -- This test takes 0.4 us for one message, 37 us for a thousand.
  if v_messages @? '$[*].ordering_key' or v_messages @? '$[*].idempotency_mode ? (@ != "ignore")' then
    return query select * from messenger.store_in_turn(v_messages, v_atomic, v_scope, v_sender, v_single, v_now);
    return;
  end if;

  return query
  with draft as materialized (
    select d.*, (v_prefix || lpad(to_hex(v_random + d.ord), 16, '0'))::uuid as new_id,
      case when v_atomic and d.error_code is not null then
        messenger.reject_message(d.error_code, d.ord, v_single, quote_ident(d.unknown_field))
      end as rejected,
      case when (select k.type from messenger.message_types k where k.type = d.message_type) is null then
        messenger.open_fields(v_messages -> d.ord - 1)
      end as unrouted,
      case when d.idempotency_key is not null then d end as keyed_draft
    from messenger.read_drafts(v_messages, v_now) d
  ),
  -- In the order of the keys, not of the elements, so that two batches cannot deadlock.
  keyed as materialized (
    select d.ord, k.*,
      case when v_atomic and k.error_code is not null then
        messenger.reject_message(k.error_code, d.ord, v_single, 'message ' || k.message_id)
      end as rejected
    from (
      select x.ord, x.keyed_draft, x.new_id from draft x
      where x.error_code is null and x.idempotency_key is not null
      order by x.idempotency_key collate "C", x.ord
    ) d
    cross join lateral messenger.take_key(v_scope, d.keyed_draft, d.new_id, v_sender, false, v_now) k
  ),
  stored as (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, metadata, priority, scheduled_at, available_at,
       expires_at, created_at, updated_at, max_retries, idempotency_key, created_by, unrouted)
    select d.new_id, d.transport_name, d.queue_name, d.message_type, d.body, coalesce(d.headers || v_stamp, d.headers),
      d.metadata, d.priority, d.scheduled_at, d.available_at, d.expires_at,
      v_now, v_now, d.max_retries, d.idempotency_key, v_sender, d.unrouted
    from draft d left join keyed k on k.ord = d.ord
    where d.error_code is null and coalesce(k.taken, true)
    returning m.id, m.transport_name, m.queue_name, m.message_type, m.available_at
  ),
  measured as (
    insert into messenger.measurements (at, transport_name, message_type, kind, message_count)
    select v_now, s.transport_name, s.message_type, 'dispatched', count(*)
    from stored s group by s.transport_name, s.message_type
  ),
  woken as materialized (
    select count(messenger.wake_worker(due.transport_name, due.queue_name, due.message_type)) as wakeups
    from (
      select distinct s.transport_name, s.queue_name, s.message_type from stored s where s.available_at <= v_now
    ) due
  ),
  -- A message of this call is not visible yet when a later element has its key. The id is null if a trigger of the
  -- project has suppressed the row.
  reply as (
    select d.ord, case when coalesce(k.taken, true) then s.id else k.message_id end as message_id,
      not coalesce(k.taken, true) as is_duplicate,
      case when s.id is null then k.status else 'pending' end as message_status,
      coalesce(k.transport, d.transport_name) as message_transport, coalesce(k.queue, d.queue_name) as message_queue,
      nullif(coalesce(s.available_at, k.available_at), 'infinity') as message_available_at,
      d.unknown_field, coalesce(d.error_code, k.error_code) as code
    from draft d
    left join keyed k on k.ord = d.ord
    left join stored s on s.id = coalesce(k.message_id, d.new_id)
    cross join woken
  )
  select r.ord, r.message_id, r.is_duplicate, r.message_status, r.message_transport, r.message_queue,
    r.message_available_at, null, null
  from reply r where r.code is null
  union all
  select r.ord, null, null, null, null, null, null, r.code,
    concat_ws(': ', quote_ident(r.unknown_field),
      (select e.message from messenger.error_codes() e where e.code = r.code))
  from reply r where r.code is not null
  order by 1;
end $$;

comment on function messenger.reject_message(text, int, boolean, text) is
  'Raises the error of an element of a dispatch: "message <ord>: <subject>: <message of the code>"; single omits the '
  'element. Never returns.';
comment on function messenger.store_in_turn(jsonb, boolean, text, uuid, boolean, timestamptz) is
  'The variant of messenger.store_messages for calls in which an element has an ordering key or a mode other than '
  'ignore.';
comment on function messenger.store_messages(jsonb, boolean, text, uuid, boolean) is
  'Stores 1 to 1000 elements, see messenger.read_drafts, in an idempotency scope and for a sender, and wakes workers '
  'for those that are due. '
  'atomic: the first invalid element raises its error; otherwise its row has error_code and error. single: errors do '
  'not name the element.';
revoke all on function
  messenger.reject_message(text, int, boolean, text),
  messenger.store_in_turn(jsonb, boolean, text, uuid, boolean, timestamptz),
  messenger.store_messages(jsonb, boolean, text, uuid, boolean)
from public, anon, authenticated;
grant execute on function
  messenger.reject_message(text, int, boolean, text),
  messenger.store_in_turn(jsonb, boolean, text, uuid, boolean, timestamptz),
  messenger.store_messages(jsonb, boolean, text, uuid, boolean)
to service_role;
