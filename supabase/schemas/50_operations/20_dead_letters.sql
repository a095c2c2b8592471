-- Resolves dead letters: retries their messages with the same id and history, or discards them.

-- Dead letters are locked in the order of their ids, so two resolutions cannot deadlock. A dead letter that another
-- transaction has just resolved is skipped.
create or replace function messenger.lock_dead_letters(ids uuid[], filter jsonb, max int)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[] := ids;
  v_max int := coalesce(max, 1000);
  v_invalid text;
  v_from timestamptz;
  v_to timestamptz;
begin
  if (v_ids is null) = (filter is null) then
    perform messenger.raise_error('SM_FILTER', 'name dead letters either by ids or by a filter',
      'pass ids or filter, not both; the filter {} selects all open dead letters');
  elsif v_max not between 1 and 10000 then
    raise exception using errcode = 'PT400', detail = 'SM_BATCH', message = 'max must be a number from 1 to 10000',
      hint = 'default: 1000';
  elsif array_position(v_ids, null) is not null then
    perform messenger.raise_error('SM_FILTER', 'ids must not contain null', 'remove the null from ids');
  elsif cardinality(v_ids) > v_max then
    raise exception using errcode = 'PT413', detail = 'SM_BATCH_TOO_LARGE',
      message = format('more ids than max: ids has %s elements, and max is %s', cardinality(v_ids), v_max),
      hint = 'pass fewer ids per call, or raise max (up to 10000)';
  elsif jsonb_typeof(filter) <> 'object' then
    perform messenger.raise_error('SM_FILTER', 'the filter must be a JSON object',
      'pass {} to select all open dead letters');
  elsif v_ids is not null then
    return array(select f.id from public.messenger_failed_messages f where f.id = any (v_ids) and f.resolved_at is null
      order by f.id for no key update);
  end if;

  select k into v_invalid from jsonb_object_keys(filter) k
  where k not in ('transport', 'queue', 'type', 'error_class', 'from', 'to') order by k limit 1;
  if found then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'filter.' || left(v_invalid, 100),
      'the fields are transport, queue, type, error_class, from and to');
  end if;
  v_from := messenger.read_moment(filter -> 'from');
  v_to := messenger.read_moment(filter -> 'to');
  select f.key into v_invalid from jsonb_each(filter) f
  where jsonb_typeof(f.value) <> 'string' or f.key = 'from' and v_from is null
    or f.key = 'to' and (v_to is null or v_to <= v_from)
  order by f.key limit 1;
  if found then
    perform messenger.raise_error('SM_FILTER', 'filter.' || v_invalid, case
      when v_invalid in ('from', 'to')
        then 'pass an ISO 8601 moment with a zone, for example 2030-01-31T09:00:00Z; to must be later than from'
      else 'pass a string' end);
  end if;
  return array(
    select f.id from public.messenger_failed_messages f
    where f.resolved_at is null
      and (filter ->> 'transport' is null or f.transport_name = filter ->> 'transport')
      and (filter ->> 'queue' is null or f.queue_name = filter ->> 'queue')
      and (filter ->> 'type' is null or f.message_type = filter ->> 'type')
      and (filter ->> 'error_class' is null or f.error_class = filter ->> 'error_class')
      and (v_from is null or f.failed_at >= v_from)
      and (v_to is null or f.failed_at < v_to)
    order by f.id
    limit v_max
    for no key update);
end $$;

-- While a dead letter is open, its message keeps the idempotency key. A key whose row was deleted is taken
-- again in the same order in which a dispatch takes keys. A dead letter cannot be retried if its message is no
-- longer failed or another message holds the key.
create or replace function messenger.take_keys_back(dead_letters uuid[], at timestamptz)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dead_letters uuid[] := dead_letters;
  v_kept uuid[];
  v_has_deleted boolean;
begin
  perform from public.messenger_messages m
  where m.id = any (array(select f.message_id from public.messenger_failed_messages f
    where f.id = any (v_dead_letters)))
  order by m.id for no key update;
  -- A deleted message of the bus's own types is not restored: service_role may edit the dead letter.
  select
    coalesce(array_agg(f.id) filter (
      where m.status <> 'failed' or m.id is null and starts_with(f.message_type, 'symphony.')), '{}'),
    coalesce(bool_or(m.id is null and f.idempotency_key is not null), false)
  into v_kept, v_has_deleted
  from public.messenger_failed_messages f left join public.messenger_messages m on m.id = f.message_id
  where f.id = any (v_dead_letters);

  return v_kept || array(
    select l.id
    from (
      select f.*, coalesce(deleted.scope, m.created_by::text, 'service') as scope,
        -- A newer message may have taken over the key of an existing message since.
        case when m.id is null then f.idempotency_key else m.idempotency_key end as key,
        f.created_at + coalesce((t.config ->> 'idempotency_window')::interval, '24 hours') as expires_at
      from public.messenger_failed_messages f
      left join public.messenger_messages m on m.id = f.message_id
      left join messenger.idempotency_keys own
        on own.scope in ('service', m.created_by::text) and own.key = f.idempotency_key and own.message_id = m.id
      -- If the message was deleted, only the key's row holds its scope. No index covers this lookup.
      left join messenger.idempotency_keys deleted
        on v_has_deleted and m.id is null and deleted.key = f.idempotency_key and deleted.message_id = f.message_id
      left join public.messenger_transports t on t.name = f.transport_name
      where f.id = any (v_dead_letters)
        and case when m.id is null then f.idempotency_key else m.idempotency_key end is not null
        and own.key is null
        and f.id <> all (v_kept)
      order by f.idempotency_key collate "C", f.id
    ) l
    cross join lateral messenger.take_key(l.scope,
      row(null, null, null, l.message_type, l.transport_name, l.queue_name, null, l.body,
        null, null, null, null, null, null, l.key, 'ignore',
        l.expires_at - take_keys_back.at, null)::messenger.draft,
      l.message_id, null, false, take_keys_back.at) k
    where not k.taken and k.message_id <> l.message_id);
end $$;

-- last_error and error_class stay until the next outcome, as after an ordinary retry. expires_at stays too, so an
-- expired message is not handed out again.
create or replace function messenger.requeue(dead_letters uuid[], payload jsonb, per_second int, at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dead_letters uuid[] := dead_letters;
  v_payload jsonb := payload;
  v_step interval := coalesce(make_interval(secs => 1.0 / per_second), '0');
  v_wakeups bigint;
begin
  with dead_letter as (
    update public.messenger_failed_messages f set resolved_at = requeue.at, resolution = 'retried'
    where f.id = any (v_dead_letters) returning f.*
  ),
  due as materialized (
    select l.*, m.id is null as is_deleted, requeue.at + (row_number() over (order by l.id) - 1) * v_step as due_at
    from dead_letter l left join public.messenger_messages m on m.id = l.message_id
  ),
  requeued as (
    update public.messenger_messages m
    set status = 'pending', available_at = d.due_at, processed_at = null, updated_at = requeue.at,
        retry_count = 0, lease_losses = 0, cancel_requested_at = null, body = coalesce(v_payload, m.body)
    from due d
    where m.id = d.message_id
    returning m.id, m.fence
  ),
  -- A deleted message has lost its sender, priority and fence. The new fence is the time in milliseconds since 1970:
  -- higher than any number of claims, and exact in JavaScript.
  restored as (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, metadata, priority, available_at, created_at,
        updated_at,
       max_retries, last_error, error_class, fence, idempotency_key, created_by)
    select d.message_id, d.transport_name, d.queue_name, d.message_type, coalesce(v_payload, d.body), d.headers,
      d.metadata, coalesce(k.priority, 5), d.due_at,
      d.created_at, requeue.at, d.max_retries, d.error, d.error_class, (extract(epoch from requeue.at) * 1000)::bigint,
      d.idempotency_key, d.created_by
    from due d left join messenger.message_types k on k.type = d.message_type
    where d.is_deleted
    returning m.id, m.fence
  ),
  replay as (
    insert into messenger.replays (started_at, per_second, total) select requeue.at, requeue.per_second, count(*)
    from due where requeue.per_second is not null
    having count(*) > 0
    returning id
  ),
  recorded as (
    insert into messenger.replayed (replay_id, message_id, dead_letter_id, fence, due_at)
    select r.id, d.message_id, d.id, w.fence, d.due_at
    from replay r cross join due d
    join (select * from requeued union all select * from restored) w on w.id = d.message_id
  )
  select count(*) filter (where messenger.wake_worker(s.transport_name, s.queue_name, s.message_type)) into v_wakeups
  from (select distinct d.transport_name, d.queue_name, d.message_type from due d where d.due_at <= requeue.at) s;
  perform messenger.requeue_in_order(array(select f.message_id from public.messenger_failed_messages f
    where f.id = any (v_dead_letters)), at);
  return v_wakeups;
end $$;

create or replace function public.messenger_retry_failed(
  ids uuid[] default null, filter jsonb default null, payload jsonb default null, per_second int default null,
  max int default 1000
)
returns table (id uuid, message_id uuid, outcome text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_ids uuid[] := ids;
  v_code text;
  v_type text;
  v_open uuid[];
  v_kept uuid[];
begin
  perform messenger.require_writable();
  if payload is not null then
    if cardinality(v_ids) is distinct from 1 then
      perform messenger.raise_error('SM_FILTER', 'a payload needs exactly one id', 'pass one id in ids, and no filter');
    end if;
    -- The payload is checked as in a dispatch. Codes about routes are ignored, because no route is given.
    select d.error_code into v_code
    from messenger.read_drafts(jsonb_build_array(jsonb_build_object('type', 'Edited', 'payload', payload)), v_now) d
    where d.error_code in ('SM_PAYLOAD_NOT_OBJECT', 'SM_PAYLOAD_TOO_LARGE', 'SM_NUMBER_RANGE', 'SM_DEPTH');
    if found then
      perform messenger.raise_error(v_code);
    end if;
    select f.message_type into v_type from public.messenger_failed_messages f where f.id = v_ids[1]
      and starts_with(f.message_type, 'symphony.');
    if found then
      perform messenger.raise_error('SM_TYPE_FORBIDDEN', v_type,
        'retry it without a payload: a message of the bus''s own types keeps its payload');
    end if;
  end if;
  if per_second not between 1 and 1000 then
    raise exception using errcode = 'PT400', detail = 'SM_BATCH',
      message = 'per_second must be a number from 1 to 1000',
        hint = 'leave it out to make all messages due immediately';
  end if;

  v_open := messenger.lock_dead_letters(v_ids, filter, max);
  v_kept := messenger.take_keys_back(v_open, v_now);
  perform messenger.requeue(array(select o from unnest(v_open) o where o <> all (v_kept)), payload, per_second, v_now);

  return query
  select g.id, f.message_id,
    case when f.id is null then 'unknown' when o.id is null or g.nth > 1 then 'resolved'
      when k.id is not null then 'conflict' else 'retried' end
  from (
    select u.id, u.ord, row_number() over (partition by u.id order by u.ord) as nth
    from unnest(coalesce(v_ids, v_open)) with ordinality as u(id, ord)
  ) g
  left join public.messenger_failed_messages f on f.id = g.id
  left join unnest(v_open) o(id) on o.id = g.id
  left join unnest(v_kept) k(id) on k.id = g.id
  order by g.ord;
end $$;

create or replace function public.messenger_discard_failed(
  ids uuid[] default null, filter jsonb default null, max int default 1000
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_now timestamptz := messenger.now();
  v_open uuid[];
begin
  perform messenger.require_writable();
  v_open := messenger.lock_dead_letters(ids, filter, max);
  update public.messenger_failed_messages f set resolved_at = v_now, resolution = 'discarded' where f.id = any (v_open);
  update public.messenger_messages m set error_class = 'Discarded', updated_at = v_now
  from public.messenger_failed_messages f
  where f.id = any (v_open) and m.id = f.message_id and m.status = 'failed';
  perform messenger.unblock_next(
    messenger.order_keys(
      array(select f.message_id from public.messenger_failed_messages f where f.id = any (v_open))), v_now);
  return cardinality(v_open);
end $$;

comment on function messenger.lock_dead_letters(uuid[], jsonb, int) is
  'Checks ids or filter and locks at most max of the open dead letters they select. Returns their ids in ascending '
  'order. Raises SM_FILTER, SM_BATCH, SM_BATCH_TOO_LARGE, SM_UNKNOWN_FIELD.';
comment on function messenger.take_keys_back(uuid[], timestamptz) is
  'Locks the messages of these dead letters and restores their idempotency keys. Returns the ids '
  'of the dead letters that cannot be retried.';
comment on function messenger.requeue(uuid[], jsonb, int, timestamptz) is
  'Resolves locked, open dead letters as retried and makes their messages pending. payload replaces the body; '
  'per_second spreads the due times. Returns the number of wake-ups sent.';
comment on function public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int) is
  'Requeues the messages of dead letters with the same id and idempotency key and a retry count of 0. Select the dead '
  'letters by ids or by filter {"transport"?, "queue"?, "type"?, "error_class"?, "from"?, "to"?}; from (inclusive) and '
  'to (exclusive) apply to failed_at, and {} selects all. payload replaces the body of exactly one id. per_second (1 '
  'to 1000) spreads the retries, which stop if more than a fifth of them fail again (see messenger.replay_report()). '
  'max: 1 to 10000, default 1000. Returns one row per dead letter (id, message_id, outcome): retried; resolved '
  '(already resolved before); unknown (no such dead letter); conflict (another message holds the idempotency key, or '
  'the message is no longer failed; nothing changes). Raises SM_FILTER, SM_BATCH, SM_BATCH_TOO_LARGE, '
  'SM_UNKNOWN_FIELD, SM_TYPE_FORBIDDEN and the payload errors of a dispatch. Example: select * from '
  'messenger_retry_failed(filter => ''{"type": "SendEmail"}'', per_second => 10);';
comment on function public.messenger_discard_failed(uuid[], jsonb, int) is
  'Discards dead letters, selected as in messenger_retry_failed: sets resolution to discarded and the message''s '
  'error_class to Discarded. Returns the number of dead letters discarded. Raises SM_FILTER, SM_BATCH, '
  'SM_BATCH_TOO_LARGE, SM_UNKNOWN_FIELD. Example: select messenger_discard_failed(filter => ''{"queue": "email"}'');';
revoke all on function
  messenger.lock_dead_letters(uuid[], jsonb, int),
  messenger.take_keys_back(uuid[], timestamptz),
  messenger.requeue(uuid[], jsonb, int, timestamptz),
  public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int),
  public.messenger_discard_failed(uuid[], jsonb, int)
from public, anon, authenticated;
grant execute on function
  messenger.lock_dead_letters(uuid[], jsonb, int),
  messenger.take_keys_back(uuid[], timestamptz),
  messenger.requeue(uuid[], jsonb, int, timestamptz),
  public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int),
  public.messenger_discard_failed(uuid[], jsonb, int)
to service_role;
