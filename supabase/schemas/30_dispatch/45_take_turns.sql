-- Ordering keys at dispatch: the position of a message in its key, and whether it must wait for another one.

-- The check for a predecessor is a statement of its own after the lock, so its snapshot is newer. In a transaction with
-- one snapshot for all statements it may be stale: the message is then stored blocked, and the tick unblocks it. Settle
-- takes no such lock, so a message that is stored while its predecessor finishes may be left blocked too, until the
-- next tick.
create or replace function messenger.take_turns(
  ords int[], ids uuid[], transports text[], queues text[], keys text[], moments timestamptz[], are_stored boolean[]
)
returns table (ord int, seq bigint, available_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform messenger.lock_order_keys(array(
    select row(k.transport, k.queue, k.key)::messenger.order_key
    from unnest(transports, queues, keys) as k(transport, queue, key)));

  return query
  with numbered as materialized (
    select d.ord, d.id, d.is_stored, nextval('messenger.ordering_seq') as seq,
      case
        when d.position > 1 or current_setting('transaction_isolation') in ('repeatable read', 'serializable')
          -- Messages of this call that are already in the table have no ordering_seq yet. The order and the limit keep
          -- the planner, which may last have seen an empty table, from scanning the queue by another index or hashing
          -- the waiting messages of all keys. The update lists the ids for the same reason.
          or (select true from public.messenger_messages m
            where m.transport_name = d.transport and m.queue_name = d.queue and m.ordering_key = d.key
              and m.ordering_seq is not null and m.processed_at is null
            order by m.ordering_seq limit 1)
          or messenger.is_held_by_dead_letter(d.transport, d.queue, d.key)
        then 'infinity'
        else d.moment
      end as available_at
    from (
      select k.*, row_number() over (partition by k.transport, k.queue, k.key order by k.ord) as position
      from unnest(ords, ids, transports, queues, keys, moments, are_stored)
        as k(ord, id, transport, queue, key, moment, is_stored)
      order by k.ord
    ) d
  ),
  updated as (
    update public.messenger_messages m set ordering_seq = n.seq, available_at = n.available_at
    from numbered n where m.id = any (array(select x.id from numbered x where x.is_stored)) and m.id = n.id
  )
  select n.ord, n.seq, n.available_at from numbered n;
end $$;

comment on function messenger.take_turns(int[], uuid[], text[], text[], text[], timestamptz[], boolean[]) is
  'Numbers messages within their (transport, queue, ordering key) in the order of ord. available_at is the requested '
  'time, or infinity if another message of the key comes first; messages that are already stored are updated.';
revoke all on function
  messenger.take_turns(int[], uuid[], text[], text[], text[], timestamptz[], boolean[])
from public, anon, authenticated;
grant execute on function
  messenger.take_turns(int[], uuid[], text[], text[], text[], timestamptz[], boolean[])
to service_role;
