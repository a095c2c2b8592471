-- Dead letters are resolved: retried, with the same id and history, or discarded.

-- The fields of a filter, exact in type. Letters are locked in the order of their ids, so two resolutions cannot wait for each other; a letter that
-- another transaction resolves meanwhile is passed over.
create or replace function messenger.lock_dead_letters(ids uuid[], filter jsonb, max int)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[] := ids;
  v_max int := coalesce(max, 1000);
  v_odd text;
  v_from timestamptz;
  v_to timestamptz;
begin
  if (v_ids is null) = (filter is null) then
    perform messenger.raise_error('SM_FILTER', 'name dead letters either by ids or by a filter');
  elsif v_max not between 1 and 10000 then
    perform messenger.raise_error('SM_BATCH', 'max must be a number from 1 to 10000');
  elsif array_position(v_ids, null) is not null then
    perform messenger.raise_error('SM_FILTER', 'ids holds a null');
  elsif cardinality(v_ids) > v_max then
    perform messenger.raise_error('SM_BATCH_TOO_LARGE', 'more ids than max, ' || v_max);
  elsif jsonb_typeof(filter) <> 'object' then
    perform messenger.raise_error('SM_FILTER', 'the filter must be a JSON object');
  elsif v_ids is not null then
    return array(select f.id from public.messenger_failed_messages f where f.id = any (v_ids) and f.resolved_at is null order by f.id for no key update);
  end if;

  select k into v_odd from jsonb_object_keys(filter) k where k not in ('transport', 'queue', 'type', 'error_class', 'from', 'to') order by k limit 1;
  if found then
    perform messenger.raise_error('SM_UNKNOWN_FIELD', 'filter.' || left(v_odd, 100));
  end if;
  v_from := messenger.read_time(filter -> 'from');
  v_to := messenger.read_time(filter -> 'to');
  select f.key into v_odd from jsonb_each(filter) f
  where jsonb_typeof(f.value) <> 'string' or f.key = 'from' and v_from is null or f.key = 'to' and (v_to is null or v_to <= v_from)
  order by f.key limit 1;
  if found then
    perform messenger.raise_error('SM_FILTER', 'filter.' || v_odd);
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

-- Locks the messages of these dead letters and makes their idempotency keys hold again. Answers the dead letters that must stay: their message is not failed
-- any more, or another message holds the key. A key that is there is its message's as long as the dead letter is open; what somebody deleted is taken back
-- as a dispatch takes it, in the same order.
create or replace function messenger.take_keys_back(dead_letters uuid[], at timestamptz)
returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dead_letters uuid[] := dead_letters;
  v_alive uuid[];
  v_any_gone boolean;
begin
  perform from public.messenger_messages m
  where m.id = any (array(select f.message_id from public.messenger_failed_messages f where f.id = any (v_dead_letters)))
  order by m.id for no key update;
  -- A message of the bus itself that somebody deleted cannot be made again from its dead letter, which service_role may write.
  select coalesce(array_agg(f.id) filter (where m.status <> 'failed' or m.id is null and starts_with(f.message_type, 'symphony.')), '{}'), coalesce(bool_or(m.id is null and f.idempotency_key is not null), false)
  into v_alive, v_any_gone
  from public.messenger_failed_messages f left join public.messenger_messages m on m.id = f.message_id
  where f.id = any (v_dead_letters);

  return v_alive || array(
    select l.id
    from (
      select f.*, coalesce(orphan.scope, m.created_by::text, 'service') as scope,
        -- The key of a message that is there may have passed on to a younger one since.
        case when m.id is null then f.idempotency_key else m.idempotency_key end as key,
        f.created_at + coalesce((t.config ->> 'idempotency_window')::interval, '24 hours') as expires_at
      from public.messenger_failed_messages f
      left join public.messenger_messages m on m.id = f.message_id
      left join messenger.idempotency_keys own
        on own.scope in ('service', m.created_by::text) and own.key = f.idempotency_key and own.message_id = m.id
      -- Whose key it was, where somebody deleted the message, only the key can say; there is no index for that.
      left join messenger.idempotency_keys orphan
        on v_any_gone and m.id is null and orphan.key = f.idempotency_key and orphan.message_id = f.message_id
      left join public.messenger_transports t on t.name = f.transport_name
      where f.id = any (v_dead_letters) and case when m.id is null then f.idempotency_key else m.idempotency_key end is not null and own.key is null
        and f.id <> all (v_alive)
      order by f.idempotency_key collate "C", f.id
    ) l
    cross join lateral messenger.take_key(l.scope,
      row(null, null, null, l.message_type, l.transport_name, l.queue_name, null, l.body, null, null, null, null, null, null, l.key, 'ignore',
        l.expires_at - take_keys_back.at, null)::messenger.draft,
      l.message_id, null, false, take_keys_back.at) k
    where not k.taken and k.message_id <> l.message_id);
end $$;

-- Puts the messages of locked, open dead letters back into the queue and wakes. What became of the last deliveries stays in last_error and error_class until
-- the next outcome, as after an ordinary retry; expires_at stays too: what nobody needs any more is not handed out.
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
    update public.messenger_failed_messages f set resolved_at = requeue.at, resolution = 'retried' where f.id = any (v_dead_letters) returning f.*
  ),
  due as materialized (
    select l.*, m.id is null as is_gone, requeue.at + (row_number() over (order by l.id) - 1) * v_step as due_at
    from dead_letter l left join public.messenger_messages m on m.id = l.message_id
  ),
  revived as (
    update public.messenger_messages m
    set status = 'pending', available_at = d.due_at, processed_at = null, updated_at = requeue.at, retry_count = 0, lease_losses = 0,
        cancel_requested_at = null, body = coalesce(v_payload, m.body)
    from due d
    where m.id = d.message_id
    returning m.id, m.fence
  ),
  -- Somebody deleted the message: its sender, priority and fence are known no more. Milliseconds since 1970 are more than it can have been claimed,
  -- snoozes and releases included, and exact in JavaScript.
  restored as (
    insert into public.messenger_messages as m
      (id, transport_name, queue_name, message_type, body, headers, metadata, priority, available_at, created_at, updated_at,
       max_retries, last_error, error_class, fence, idempotency_key, created_by)
    select d.message_id, d.transport_name, d.queue_name, d.message_type, coalesce(v_payload, d.body), d.headers, d.metadata, coalesce(k.priority, 5), d.due_at,
      d.created_at, requeue.at, d.max_retries, d.error, d.error_class, (extract(epoch from requeue.at) * 1000)::bigint, d.idempotency_key, d.created_by
    from due d left join messenger.message_types k on k.type = d.message_type
    where d.is_gone
    returning m.id, m.fence
  ),
  replay as (
    insert into messenger.replays (started_at, per_second, total) select requeue.at, requeue.per_second, count(*) from due where requeue.per_second is not null
    having count(*) > 0
    returning id
  ),
  recorded as (
    insert into messenger.replayed (replay_id, message_id, dead_letter_id, fence, due_at)
    select r.id, d.message_id, d.id, w.fence, d.due_at
    from replay r cross join due d join (select * from revived union all select * from restored) w on w.id = d.message_id
  )
  select count(*) filter (where messenger.wake_worker(s.transport_name, s.queue_name, s.message_type)) into v_wakeups
  from (select distinct d.transport_name, d.queue_name, d.message_type from due d where d.due_at <= requeue.at) s;
  perform messenger.requeue_in_order(array(select f.message_id from public.messenger_failed_messages f where f.id = any (v_dead_letters)), at);
  return v_wakeups;
end $$;

create or replace function public.messenger_retry_failed(
  ids uuid[] default null, filter jsonb default null, payload jsonb default null, per_second int default null, max int default 1000
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
      perform messenger.raise_error('SM_FILTER', 'a payload goes with exactly one id');
    end if;
    -- A dispatch's own rules; the other codes speak of routes, which are not asked for here.
    select d.error_code into v_code from messenger.read_drafts(jsonb_build_array(jsonb_build_object('type', 'Edited', 'payload', payload)), v_now) d
    where d.error_code in ('SM_PAYLOAD_NOT_OBJECT', 'SM_PAYLOAD_TOO_LARGE', 'SM_NUMBER_RANGE', 'SM_DEPTH');
    if found then
      perform messenger.raise_error(v_code);
    end if;
    select f.message_type into v_type from public.messenger_failed_messages f where f.id = v_ids[1] and starts_with(f.message_type, 'symphony.');
    if found then
      perform messenger.raise_error('SM_TYPE_FORBIDDEN', v_type, 'retry it without a payload: messages of the bus itself are retried as they are');
    end if;
  end if;
  if per_second not between 1 and 1000 then
    perform messenger.raise_error('SM_BATCH', 'per_second must be a number from 1 to 1000');
  end if;

  v_open := messenger.lock_dead_letters(v_ids, filter, max);
  v_kept := messenger.take_keys_back(v_open, v_now);
  perform messenger.requeue(array(select o from unnest(v_open) o where o <> all (v_kept)), payload, per_second, v_now);

  return query
  select g.id, f.message_id,
    case when f.id is null then 'unknown' when o.id is null or g.nth > 1 then 'resolved' when k.id is not null then 'conflict' else 'retried' end
  from (
    select u.id, u.ord, row_number() over (partition by u.id order by u.ord) as nth from unnest(coalesce(v_ids, v_open)) with ordinality as u(id, ord)
  ) g
  left join public.messenger_failed_messages f on f.id = g.id
  left join unnest(v_open) o(id) on o.id = g.id
  left join unnest(v_kept) k(id) on k.id = g.id
  order by g.ord;
end $$;

create or replace function public.messenger_discard_failed(ids uuid[] default null, filter jsonb default null, max int default 1000)
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
    messenger.order_keys(array(select f.message_id from public.messenger_failed_messages f where f.id = any (v_open))), v_now);
  return cardinality(v_open);
end $$;

comment on function messenger.lock_dead_letters(uuid[], jsonb, int) is 'Checks ids or filter and locks the open dead letters they name, at most max; answers their ids in order.';
comment on function messenger.take_keys_back(uuid[], timestamptz) is 'Locks the dead letters'' messages and restores their idempotency keys; answers the dead letters that cannot be retried.';
comment on function messenger.requeue(uuid[], jsonb, int, timestamptz) is 'Resolves dead letters as retried and makes their messages pending, with this payload if one is given, so many a second if told. Returns how many wake-ups it rang.';
comment on function public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int) is
  'Puts messages of dead letters back into the queue, with the same id and idempotency key and all their retries. Name the dead letters by ids or by a filter {"transport"?, "queue"?, "type"?, "error_class"?, "from"?, "to"? (failed_at, to is exclusive)}; {} means all. payload replaces the body of the one id. per_second (1 to 1000) spreads them, and stops when more than a fifth die again: see messenger.replay_report(). max: 1 to 10000. Outcomes: retried, resolved (it was before), unknown (no such letter), conflict (another message holds its idempotency key, or it is not failed any more; nothing changed).';
comment on function public.messenger_discard_failed(uuid[], jsonb, int) is
  'Gives up on dead letters, named as for messenger_retry_failed: resolution discarded, the message''s error_class Discarded. Returns how many.';
revoke all on function messenger.lock_dead_letters(uuid[], jsonb, int), messenger.take_keys_back(uuid[], timestamptz), messenger.requeue(uuid[], jsonb, int, timestamptz),
  public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int), public.messenger_discard_failed(uuid[], jsonb, int) from public, anon, authenticated;
grant execute on function messenger.lock_dead_letters(uuid[], jsonb, int), messenger.take_keys_back(uuid[], timestamptz), messenger.requeue(uuid[], jsonb, int, timestamptz),
  public.messenger_retry_failed(uuid[], jsonb, jsonb, int, int), public.messenger_discard_failed(uuid[], jsonb, int) to service_role;
