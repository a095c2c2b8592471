-- Rescue: expired leases and expired messages on queues where nobody asks. Where workers ask, the claim does the same in its scan.

-- Looks at the first thousand due entries of each queue and priority, from where the last look stopped, so a queue with more is walked in turns.
create or replace function messenger.rescue(at timestamptz)
returns table (rescued bigint, dead bigint, given_up bigint)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_pair record;
  v_from messenger.rescue_cursors;
  v_seen int;
  v_last_at timestamptz;
  v_last_id uuid;
  v_ids uuid[];
  v_fates text[];
  v_lost uuid[];
begin
  rescued := 0; dead := 0; given_up := 0;
  for v_pair in select * from messenger.active_queues(null, null, true) loop
    for v_priority in 1..10 loop
      select * into v_from from messenger.rescue_cursors c
      where c.transport_name = v_pair.transport_name and c.queue_name = v_pair.queue_name and c.priority = v_priority;

      with look as materialized (
        select m.id, m.available_at, m.status = 'processing' and m.lock_expires_at < rescue.at as is_lost, m.expires_at <= rescue.at as is_expired
        from public.messenger_messages m
        where m.transport_name = v_pair.transport_name and m.queue_name = v_pair.queue_name and m.priority = v_priority
          and m.processed_at is null and m.available_at <= rescue.at
          and (m.available_at, m.id) > (coalesce(v_from.available_at, '-infinity'), coalesce(v_from.id, '00000000-0000-0000-0000-000000000000'))
        order by m.available_at, m.id
        limit 1000
      ),
      taken as (
        select m.id, case when m.expires_at <= rescue.at then 'expired' when m.cancel_requested_at is not null then 'cancelled'
            when m.retry_count >= m.max_retries then 'exhausted' else 'lost' end as fate
        from public.messenger_messages m
        where m.id = any (array(select l.id from look l where l.is_lost or l.is_expired))
          and (m.status = 'processing' and m.lock_expires_at < rescue.at or m.status = 'pending' and m.expires_at <= rescue.at)
        order by m.id
        for update skip locked
      )
      select (select count(*) from look), (select l.available_at from look l order by l.available_at desc, l.id desc limit 1),
        (select l.id from look l order by l.available_at desc, l.id desc limit 1), array_agg(t.id), array_agg(t.fate)
      into v_seen, v_last_at, v_last_id, v_ids, v_fates
      from taken t;

      if v_seen = 1000 then
        insert into messenger.rescue_cursors values (v_pair.transport_name, v_pair.queue_name, v_priority, v_last_at, v_last_id)
        on conflict on constraint rescue_cursors_pkey do update set available_at = excluded.available_at, id = excluded.id;
      elsif v_from.id is not null then
        delete from messenger.rescue_cursors c
        where c.transport_name = v_pair.transport_name and c.queue_name = v_pair.queue_name and c.priority = v_priority;
      end if;
      continue when v_ids is null;

      perform messenger.end_unhandled(v_ids, v_fates, rescue.at);
      v_lost := array(select x.id from unnest(v_ids, v_fates) as x(id, fate) where x.fate = 'lost');
      perform messenger.note_lost_leases(v_lost, 'retried', rescue.at);
      update public.messenger_messages m
      set status = 'pending', available_at = rescue.at, updated_at = rescue.at, locked_at = null, locked_by = null, lock_expires_at = null,
          retry_count = m.retry_count + 1, lease_losses = m.lease_losses + 1, error_class = 'LeaseExpired', last_error = 'the lease ran out without a verdict'
      where m.id = any (v_lost);
      perform messenger.emit('retried', v_lost, rescue.at);
      rescued := rescued + cardinality(v_lost);
      dead := dead + cardinality(array_positions(v_fates, 'exhausted'));
      given_up := given_up + cardinality(array_positions(v_fates, 'expired')) + cardinality(array_positions(v_fates, 'cancelled'));
    end loop;
  end loop;
  return next;
end $$;

comment on function messenger.rescue(timestamptz) is 'Returns messages with an expired lease to pending (from then on alone), buries the exhausted, gives up the expired and the cancelled. On paused and disabled queues too.';
revoke all on function messenger.rescue(timestamptz) from public, anon, authenticated, service_role;
