-- Ordering keys: of the unfinished messages of a key the first may be handed out; the others wait with available_at =
-- infinity until it has finished.
create or replace function messenger.order_keys(ids uuid[])
returns messenger.order_key[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct row(m.transport_name, m.queue_name, m.ordering_key)::messenger.order_key
    from public.messenger_messages m where m.id = any (ids) and m.ordering_key is not null);
end $$;

-- Held until the transaction ends: the next dispatch of the key waits for it and then sees its result. In the order of
-- the keys, not of the elements, so that two batches cannot deadlock. The update changes nothing, but it locks an
-- existing row.
create or replace function messenger.lock_order_keys(keys messenger.order_key[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_check_at timestamptz := messenger.now() + interval '1 hour';
  v_lock_timeout text := messenger.bound_waits();
begin
  insert into messenger.ordering_keys as o (transport_name, queue_name, ordering_key, check_at)
  select k.*, v_check_at
  from (select distinct x.transport_name, x.queue_name, x.ordering_key from unnest(keys) x) k
  order by k.transport_name, k.queue_name, k.ordering_key
  on conflict on constraint ordering_keys_pkey do update set check_at = o.check_at where false;
  perform messenger.unbound_waits(v_lock_timeout);
exception when lock_not_available then
  perform messenger.reject_waits(v_lock_timeout, sqlerrm);
end $$;

-- A message retried from the dead letters is behind the one in flight with the same ordering_seq, so the first is the
-- one that is not blocked. No lock on the key: a dispatch that saw the predecessor unfinished and commits after this
-- leaves its message blocked, until the tick finds it.
create or replace function messenger.unblock_next(keys messenger.order_key[], at timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_next uuid[];
  v_woken record;
begin
  if keys is null or keys = '{}' then
    return 0;
  end if;
  v_next := array(
    select first.id
    from unnest(keys) k
    cross join lateral (
      select m.id, m.available_at from public.messenger_messages m
      where m.transport_name = k.transport_name and m.queue_name = k.queue_name and m.ordering_key = k.ordering_key
        and m.processed_at is null
      order by m.ordering_seq, m.available_at, m.id
      limit 1
    ) first
    where first.available_at = 'infinity'
      and not messenger.is_held_by_dead_letter(k.transport_name, k.queue_name, k.ordering_key)
    order by first.id
  );
  for v_woken in
    with unblocked as (
      update public.messenger_messages m
      set available_at = greatest(at, m.scheduled_at), updated_at = at
      where m.id = any (array(
        select x.id from public.messenger_messages x
        where x.id = any (v_next) and x.available_at = 'infinity' and x.processed_at is null
        order by x.id
        for no key update skip locked))
      returning m.transport_name, m.queue_name, m.message_type, m.available_at <= at as is_due
    )
    select u.transport_name, u.queue_name, u.message_type from unblocked u
    where u.is_due group by u.transport_name, u.queue_name, u.message_type
  loop
    perform messenger.wake_worker(v_woken.transport_name, v_woken.queue_name, v_woken.message_type);
  end loop;
  return cardinality(v_next);
end $$;

-- For messages retried from the dead letters: before all waiting messages of their key, but behind the one in flight.
create or replace function messenger.requeue_in_order(ids uuid[], at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[] := ids;
  v_keys messenger.order_key[] := messenger.order_keys(ids);
begin
  if v_keys = '{}' then
    return;
  end if;
  perform messenger.lock_order_keys(v_keys);
  update public.messenger_messages m
  set scheduled_at = m.available_at, available_at = 'infinity', updated_at = requeue_in_order.at,
      ordering_seq = greatest(m.ordering_seq, (
        select case when first.available_at < 'infinity' then first.ordering_seq end
        from (
          select h.ordering_seq, h.available_at from public.messenger_messages h
          where h.transport_name = m.transport_name and h.queue_name = m.queue_name and h.ordering_key = m.ordering_key
            and h.processed_at is null
            and h.id <> all (v_ids)
          order by h.ordering_seq, h.available_at, h.id
          limit 1
        ) first))
  where m.id = any (v_ids) and m.ordering_key is not null;
  perform messenger.unblock_next(v_keys, at);
end $$;

-- Only if the transport's config is {"ordering_dead_letter": "block"}.
create or replace function messenger.is_held_by_dead_letter(transport text, queue text, ordering_key text)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from public.messenger_transports t
    join public.messenger_failed_messages f on f.transport_name = t.name and f.queue_name = is_held_by_dead_letter.queue
      and f.resolved_at is null
    join public.messenger_messages m on m.id = f.message_id and m.ordering_key = is_held_by_dead_letter.ordering_key
    where t.name = transport and t.config ->> 'ordering_dead_letter' = 'block');
end $$;

-- For the ticker: keys whose first message is blocked without a predecessor, in chunks of waiting keys per tick, from
-- where the last chunk stopped.
create or replace function messenger.unblock_stuck(at timestamptz, chunk int, ends_at timestamptz default 'infinity')
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_after messenger.order_key;
  v_keys messenger.order_key[];
begin
  v_after := (select c.order_after from messenger.clock c);
  with recursive waiting as (
    (select m.transport_name, m.queue_name, m.ordering_key, 1 as n from public.messenger_messages m
     where m.available_at = 'infinity' and m.processed_at is null and m.ordering_key is not null
       and (m.transport_name, m.queue_name, m.ordering_key)
         > (coalesce(v_after.transport_name, ''), coalesce(v_after.queue_name, ''), coalesce(v_after.ordering_key, ''))
     order by m.transport_name, m.queue_name, m.ordering_key limit 1)
    union all
    select x.transport_name, x.queue_name, x.ordering_key, w.n + 1
    from waiting w
    cross join lateral (
      select m.transport_name, m.queue_name, m.ordering_key from public.messenger_messages m
      where m.available_at = 'infinity' and m.processed_at is null and m.ordering_key is not null
        and (m.transport_name, m.queue_name, m.ordering_key) > (w.transport_name, w.queue_name, w.ordering_key)
      order by m.transport_name, m.queue_name, m.ordering_key limit 1
    ) x
    where w.n < chunk
  )
  select array_agg(row(w.transport_name, w.queue_name, w.ordering_key)::messenger.order_key order by w.n) into v_keys
  from waiting w;
  update messenger.clock c set order_after = case when cardinality(v_keys) = chunk then v_keys[chunk] end
  where c.order_after is distinct from case when cardinality(v_keys) = chunk then v_keys[chunk] end
    and c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  return messenger.unblock_each(v_keys, at, ends_at);
end $$;

-- A key that a dispatch has locked is skipped.
create or replace function messenger.prune_ordering_keys(at timestamptz, chunk int)
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
  v_pruned bigint;
begin
  with checked as materialized (
    select o.ctid as tid, exists (
      select from public.messenger_messages m
      where m.transport_name = o.transport_name and m.queue_name = o.queue_name and m.ordering_key = o.ordering_key
        and m.processed_at is null
    ) as is_used
    from messenger.ordering_keys o
    where o.check_at < prune_ordering_keys.at
    order by o.check_at limit chunk
    for update skip locked
  ),
  kept as (
    update messenger.ordering_keys o set check_at = prune_ordering_keys.at + interval '1 hour'
    where o.ctid = any (array(select c.tid from checked c where c.is_used))
  )
  delete from messenger.ordering_keys o where o.ctid = any (array(select c.tid from checked c where not c.is_used));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

comment on function messenger.prune_ordering_keys(timestamptz, int) is
  'Checks up to chunk ordering keys whose check_at has passed, and deletes those without an unfinished message. '
  'Returns the number deleted.';
comment on function messenger.lock_order_keys(messenger.order_key[]) is
  'Makes this transaction the only one that dispatches to these keys. SM_UNAVAILABLE for a call through the API if '
  'another transaction holds one longer than a quarter of a second.';
comment on function messenger.requeue_in_order(uuid[], timestamptz) is
  'Puts pending messages with an ordering key back in order, each behind the message of its key that may be in flight.';
comment on function messenger.order_keys(uuid[]) is 'The ordering keys of these messages, without duplicates.';
comment on function messenger.unblock_next(messenger.order_key[], timestamptz) is
  'Makes the first message of each key available if it is blocked and has no predecessor. Returns the number of such '
  'messages.';
comment on function messenger.is_held_by_dead_letter(text, text, text) is
  'True if an open dead letter blocks this ordering key.';
comment on function messenger.unblock_stuck(timestamptz, int, timestamptz) is
  'Unblocks messages whose predecessor has finished meanwhile, among the next chunk of keys with waiting messages, '
  'until about ends_at. Returns the number of messages.';
revoke all on function
  messenger.lock_order_keys(messenger.order_key[]),
  messenger.requeue_in_order(uuid[], timestamptz),
  messenger.order_keys(uuid[]),
  messenger.unblock_next(messenger.order_key[], timestamptz),
  messenger.is_held_by_dead_letter(text, text, text),
  messenger.unblock_stuck(timestamptz, int, timestamptz),
  messenger.prune_ordering_keys(timestamptz, int)
from public, anon, authenticated, service_role;
grant execute on function
  messenger.lock_order_keys(messenger.order_key[]),
  messenger.requeue_in_order(uuid[], timestamptz),
  messenger.order_keys(uuid[]),
  messenger.unblock_next(messenger.order_key[], timestamptz),
  messenger.is_held_by_dead_letter(text, text, text)
to service_role;
