-- Rescue: requeues messages with an expired lease and finishes expired messages, in all queues. A claim does the same
-- for the queues that it scans, so rescue matters where no worker polls.

-- The caller has locked the rows. The disposition of each is decided by the row as it is now.
create or replace function messenger.rescue_messages(ids uuid[], at timestamptz)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_dispositions text[];
  v_lost uuid[];
begin
  select array_agg(t.id), array_agg(t.disposition) into v_ids, v_dispositions
  from (
    select m.id, case
        when m.expires_at <= rescue_messages.at then 'expired'
        when m.cancel_requested_at is not null then 'cancelled'
        when m.retry_count >= m.max_retries then 'exhausted'
        else 'lost'
      end as disposition
    from public.messenger_messages m where m.id = any (ids)
    order by m.id
  ) t;
  perform messenger.finish_undeliverable(v_ids, v_dispositions, rescue_messages.at);
  v_lost := array(select x.id from unnest(v_ids, v_dispositions) as x(id, disposition) where x.disposition = 'lost');
  perform messenger.note_lost_leases(v_lost, 'retried', rescue_messages.at);
  update public.messenger_messages m
  set status = 'pending', available_at = rescue_messages.at, updated_at = rescue_messages.at, locked_at = null,
      locked_by = null, lock_expires_at = null,
      retry_count = m.retry_count + 1, lease_losses = m.lease_losses + 1, error_class = 'LeaseExpired',
      last_error = 'the lease ran out without an outcome'
  where m.id = any (v_lost);
  perform messenger.emit('retried', v_lost, rescue_messages.at);
  return jsonb_build_object('rescued', cardinality(v_lost), 'dead',
    cardinality(array_positions(v_dispositions, 'exhausted')),
    'failed', cardinality(array_positions(v_dispositions, 'expired'))
      + cardinality(array_positions(v_dispositions, 'cancelled')));
end $$;

-- Another tick may hold the cursor in a transaction that stays open; then the
-- next tick scans from the same position again.
create or replace function messenger.move_rescue_cursor(
  transport text, queue text, priority int, available_at timestamptz, id uuid
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_is_held boolean;
begin
  perform from messenger.rescue_cursors c
  where c.transport_name = transport and c.queue_name = queue and c.priority = move_rescue_cursor.priority
  for update skip locked;
  v_is_held := found;
  if id is null then
    delete from messenger.rescue_cursors c
    where v_is_held and c.transport_name = transport and c.queue_name = queue
      and c.priority = move_rescue_cursor.priority;
  elsif v_is_held then
    update messenger.rescue_cursors c set available_at = move_rescue_cursor.available_at, id = move_rescue_cursor.id
    where c.transport_name = transport and c.queue_name = queue and c.priority = move_rescue_cursor.priority;
  elsif not exists (
    select from messenger.rescue_cursors c where c.transport_name = transport and c.queue_name = queue
      and c.priority = move_rescue_cursor.priority) then
    insert into messenger.rescue_cursors
    values (transport, queue, move_rescue_cursor.priority, move_rescue_cursor.available_at, move_rescue_cursor.id)
    on conflict on constraint rescue_cursors_pkey do nothing;
  end if;
end $$;

-- Scans the first thousand due entries of each queue and priority, from the position where the last scan stopped, so
-- longer queues are scanned in turns. Queues are visited in random order: a queue whose messages use up the time of
-- every tick would otherwise starve the others.
create or replace function messenger.rescue(at timestamptz, ends_at timestamptz default 'infinity')
returns table (rescued bigint, dead bigint, finished bigint)
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
  v_rows text[];
  v_figures jsonb;
begin
  <<queues>>
  for v_pair in select * from messenger.due_queues(at, halted => true) order by random() loop
    for v_priority in 1..10 loop
      select * into v_from from messenger.rescue_cursors c
      where c.transport_name = v_pair.transport_name and c.queue_name = v_pair.queue_name and c.priority = v_priority;

      with scanned as materialized (
        select m.id, m.available_at, m.status = 'processing' and m.lock_expires_at < rescue.at as is_lost,
          m.expires_at <= rescue.at as is_expired
        from public.messenger_messages m
        where m.transport_name = v_pair.transport_name and m.queue_name = v_pair.queue_name and m.priority = v_priority
          and m.processed_at is null and m.available_at <= rescue.at
          and (m.available_at, m.id) > (coalesce(v_from.available_at, '-infinity'),
            coalesce(v_from.id, '00000000-0000-0000-0000-000000000000'))
        order by m.available_at, m.id
        limit 1000
      ),
      taken as (
        select m.id
        from public.messenger_messages m
        where m.id = any (array(select s.id from scanned s where s.is_lost or s.is_expired))
          and (m.status = 'processing' and m.lock_expires_at < rescue.at
            or m.status = 'pending' and m.expires_at <= rescue.at)
        order by m.id
        for no key update skip locked
      )
      select (select count(*) from scanned),
        (select s.available_at from scanned s order by s.available_at desc, s.id desc limit 1),
        (select s.id from scanned s order by s.available_at desc, s.id desc limit 1), array_agg(t.id)
      into v_seen, v_last_at, v_last_id, v_ids
      from taken t;

      if v_seen = 1000 then
        perform messenger.move_rescue_cursor(
          v_pair.transport_name, v_pair.queue_name, v_priority, v_last_at, v_last_id);
      elsif v_from.id is not null then
        perform messenger.move_rescue_cursor(v_pair.transport_name, v_pair.queue_name, v_priority, null, null);
      end if;
      continue when v_ids is null;

      v_rows := messenger.without_set_aside('rescue', 'public.messenger_messages', messenger.row_ids(v_ids), rescue.at);
      v_figures := messenger.add_figures(
        v_figures, messenger.write_each('rescue', 'public.messenger_messages', v_rows, rescue.at, ends_at));
      exit queues when clock_timestamp() > ends_at;
    end loop;
  end loop queues;
  rescued := coalesce((v_figures ->> 'rescued')::bigint, 0);
  dead := coalesce((v_figures ->> 'dead')::bigint, 0);
  finished := coalesce((v_figures ->> 'failed')::bigint, 0);
  return next;
end $$;

comment on function messenger.rescue_messages(uuid[], timestamptz) is
  'Requeues messages, each with one more lost lease, or finishes those that are exhausted, expired or '
  'cancelled. Returns {"rescued", "dead", "failed"}.';
comment on function messenger.move_rescue_cursor(text, text, int, timestamptz, uuid) is
  'Stores the position at which the scan of a queue and priority stopped. A null id resets it to the start.';
comment on function messenger.rescue(timestamptz, timestamptz) is
  'Requeues messages with an expired lease (to be handed out alone from then on), moves exhausted ones to the '
  'dead letters and finishes expired and cancelled ones, in paused queues and disabled transports too. Stops '
  'between two priorities once ends_at has passed.';
revoke all on function
  messenger.rescue_messages(uuid[], timestamptz),
  messenger.move_rescue_cursor(text, text, int, timestamptz, uuid),
  messenger.rescue(timestamptz, timestamptz)
from public, anon, authenticated, service_role;
