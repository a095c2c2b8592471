-- Requeues the messages of dead letters, with their keys.

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

comment on function messenger.take_keys_back(uuid[], timestamptz) is
  'Locks the messages of these dead letters and restores their idempotency keys. Returns the ids '
  'of the dead letters that cannot be retried.';
comment on function messenger.requeue(uuid[], jsonb, int, timestamptz) is
  'Resolves locked, open dead letters as retried and makes their messages pending. payload replaces the body; '
  'per_second spreads the due times. Returns the number of wake-ups sent.';
revoke all on function
  messenger.take_keys_back(uuid[], timestamptz),
  messenger.requeue(uuid[], jsonb, int, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.take_keys_back(uuid[], timestamptz),
  messenger.requeue(uuid[], jsonb, int, timestamptz)
to service_role;
