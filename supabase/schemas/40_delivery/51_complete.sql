-- Completions: the statements that finish messages, all of one call together.

-- Usually one statement: it finds the rows by id and fence and writes them at once, without locking them first, which
-- would write a lock record per message to the log (54 bytes). A row that another session changes meanwhile is checked
-- again in its new version, so a lease that has changed hands is not written.
-- Rows are visited in the order of their ids, not of the outcomes, so that two settles cannot deadlock.
create or replace function messenger.complete(
  ids uuid[], fences bigint[], durations double precision[], results jsonb[], dispositions text[], may_delete boolean,
  at timestamptz
)
returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_deleting text[];
  v_has_subscribers boolean;
  v_done bigint[];
  v_kept bigint[];
  v_keys messenger.order_key[];
  v_ordered messenger.order_key[];
  v_retried uuid[];
  v_watched uuid[];
  v_unkept uuid[];
begin
  select d.deleting, d.has_subscribers into v_deleting, v_has_subscribers from messenger.delivery_settings d;
  if not found then
    perform messenger.derive_delivery_settings();
    select d.deleting, d.has_subscribers into v_deleting, v_has_subscribers from messenger.delivery_settings d;
  end if;

  -- Messages whose completion is an event are kept first, because events are made from their rows.
  if v_deleting <> '{}' and may_delete and not v_has_subscribers then
    with deleted as (
      delete from public.messenger_messages m
      using (
        select u.id, u.fence, u.duration, u.ord
        from unnest(ids, fences, durations) with ordinality as u(id, fence, duration, ord) order by u.id, u.ord
      ) r
      where m.id = r.id and m.fence = r.fence and m.status = 'processing' and m.created_by is null
        and m.transport_name = any (v_deleting)
        and (dispositions is null or dispositions[r.ord] = 'completed')
      returning r.ord, m.id, m.transport_name, m.message_type, m.queue_name, m.ordering_key, m.retry_count,
        least(greatest(coalesce(r.duration, date_part('epoch', complete.at - m.locked_at) * 1000), 0), 1e9)::real
          as duration,
        case when m.lease_losses = 0 and m.locked_at > m.available_at and m.available_at > '-infinity'
          then m.locked_at - m.available_at end as waited
    ),
    measured as (
      insert into messenger.measurements
        (at, transport_name, message_type, kind, message_count, durations, wait_count, waited, deleted_count)
      select complete.at, d.transport_name, d.message_type, 'completed', count(*), array_agg(d.duration),
        count(d.waited), sum(d.waited), count(*)
      from deleted d group by d.transport_name, d.message_type
    )
    select array_agg(d.ord), array_agg(d.id) filter (where d.retry_count > 0),
      array_agg(row(d.transport_name, d.queue_name, d.ordering_key)::messenger.order_key)
        filter (where d.ordering_key is not null)
    into v_done, v_retried, v_keys
    from deleted d;
    if v_retried is not null then
      delete from messenger.attempts a where a.message_id = any (v_retried);
    end if;
  end if;

  if cardinality(v_done) is distinct from cardinality(ids) then
    -- The old values, by which durations are measured, are read before the update, in the same snapshot.
    with held as materialized (
      select r.ord, m.ctid as tid, m.id, m.fence, m.transport_name, m.message_type, m.queue_name, m.ordering_key,
        m.created_by is not null as has_sender,
        least(greatest(coalesce(r.duration, date_part('epoch', complete.at - m.locked_at) * 1000), 0), 1e9)::real
          as duration,
        case when m.lease_losses = 0 and m.locked_at > m.available_at and m.available_at > '-infinity'
          then m.locked_at - m.available_at end as waited
      from (
        select u.id, u.fence, u.duration, u.ord
        from unnest(ids, fences, durations) with ordinality as u(id, fence, duration, ord) order by u.id, u.ord
      ) r
      join public.messenger_messages m on m.id = r.id and m.fence = r.fence and m.status = 'processing'
      where dispositions is null or dispositions[r.ord] = 'completed'
    ),
    completed as (
      update public.messenger_messages m
      set status = 'completed', processed_at = complete.at, updated_at = complete.at, locked_at = null,
          locked_by = null, lock_expires_at = null, result = results[h.ord]
      from held h
      where m.ctid = h.tid and m.fence = h.fence and m.status = 'processing'
      returning h.ord, h.id, h.transport_name, h.message_type, h.queue_name, h.ordering_key, h.has_sender, h.duration,
        h.waited
    ),
    measured as (
      insert into messenger.measurements
        (at, transport_name, message_type, kind, message_count, durations, wait_count, waited)
      select complete.at, c.transport_name, c.message_type, 'completed', count(*), array_agg(c.duration),
        count(c.waited), sum(c.waited)
      from completed c group by c.transport_name, c.message_type
    )
    select array_agg(c.ord), array_agg(c.id) filter (where c.has_sender or v_has_subscribers),
      array_agg(c.id) filter (where may_delete and c.transport_name = any (v_deleting)),
      array_agg(row(c.transport_name, c.queue_name, c.ordering_key)::messenger.order_key)
        filter (where c.ordering_key is not null)
    into v_kept, v_watched, v_unkept, v_ordered
    from completed c;
    v_done := v_done || v_kept;
    if v_watched is not null then
      perform messenger.emit('completed', v_watched, at);
    end if;
    if v_unkept is not null then
      perform messenger.delete_messages(v_unkept, at);
    end if;
    v_keys := v_keys || v_ordered;
  end if;
  if v_keys is not null then
    perform messenger.unblock_next(v_keys, at);
  end if;
  return v_done;
end $$;

comment on function messenger.complete(
  uuid[], bigint[], double precision[], jsonb[], text[], boolean, timestamptz
) is
  'Finishes the messages with these ids that are leased under these fences as completed, measures them, sends their '
  'events and unblocks their successors. Durations are in milliseconds; results may be null. dispositions: only where '
  'this is completed; null: all. may_delete: deletes those of transports with retention 0. Returns the positions of '
  'the completed ones; null: none.';
revoke all on function
  messenger.complete(uuid[], bigint[], double precision[], jsonb[], text[], boolean, timestamptz)
from public, anon, authenticated;
grant execute on function
  messenger.complete(uuid[], bigint[], double precision[], jsonb[], text[], boolean, timestamptz)
to service_role;
