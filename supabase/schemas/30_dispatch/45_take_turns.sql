-- Ordering keys: the number of a message in the order of its key, and whether another is before it.

-- The look is a statement of its own, after the lock, so its snapshot is younger. Where the transaction has one snapshot for all its statements the look may
-- be stale: then the message is stored blocked, and the tick lets it go. Settle takes no such lock; a message that is stored while its predecessor
-- finishes may be left blocked, for the tick as well.
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
    select row(k.transport, k.queue, k.key)::messenger.order_key from unnest(transports, queues, keys) as k(transport, queue, key)));

  return query
  with line as materialized (
    select d.ord, d.id, d.is_stored, nextval('messenger.ordering_seq') as seq,
      case
        when d.place > 1 or current_setting('transaction_isolation') in ('repeatable read', 'serializable')
          -- Without a number are those of this very call that are in the table already.
          -- "order by" and "limit 1", or the planner, which may have last seen an empty table, would walk the queue by another index or hash the
          -- waiting messages of all keys for one look. The update is told the ids for the same reason.
          or (select true from public.messenger_messages m
            where m.transport_name = d.transport and m.queue_name = d.queue and m.ordering_key = d.key and m.ordering_seq is not null and m.processed_at is null
            order by m.ordering_seq limit 1)
          or messenger.is_held_by_dead_letter(d.transport, d.queue, d.key)
        then 'infinity'
        else d.moment
      end as available_at
    from (
      select k.*, row_number() over (partition by k.transport, k.queue, k.key order by k.ord) as place
      from unnest(ords, ids, transports, queues, keys, moments, are_stored) as k(ord, id, transport, queue, key, moment, is_stored)
      order by k.ord
    ) d
  ),
  placed as (
    update public.messenger_messages m set ordering_seq = l.seq, available_at = l.available_at
    from line l where m.id = any (array(select x.id from line x where x.is_stored)) and m.id = l.id
  )
  select l.ord, l.seq, l.available_at from line l;
end $$;

comment on function messenger.take_turns(int[], uuid[], text[], text[], text[], timestamptz[], boolean[]) is
  'Numbers messages within their (transport, queue, ordering key) by ord. available_at is their moment, or infinity when another is before them; what is stored already is updated.';
revoke all on function messenger.take_turns(int[], uuid[], text[], text[], text[], timestamptz[], boolean[]) from public, anon, authenticated;
grant execute on function messenger.take_turns(int[], uuid[], text[], text[], text[], timestamptz[], boolean[]) to service_role;
