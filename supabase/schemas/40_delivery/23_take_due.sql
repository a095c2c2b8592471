-- The usual claim of one queue: its due messages are found, locked and taken by one statement.

-- is_plain is false if messenger.find_due must continue: nothing is taken if the session leaves messages out or the
-- scan meets a message that is expired or cancelled or was lost by a worker; a message that was changed between the
-- snapshot of the statement and its lock is left, because the update does not see its new version.
-- One index range per priority, so messages that are not yet due are never visited. The time is part of one expression
-- with the cheap tests, because the planner would put them first: a scan may skip any number of messages of other types
-- and locked ones. After 25 ms it raises SM001, as in find_due.
create or replace function messenger.take_due(
  transport text, queue text, batch int, types text[], worker text, lease interval, at timestamptz,
  out claimed messenger.claimed[], out is_plain boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
  v_started timestamptz := clock_timestamp();
  v_setting text;
  v_ends_at timestamptz;
  -- By priority. Variables without a value cost nothing: plpgsql prepares each expression again in every transaction.
  v_from_times timestamptz[];
  v_from_ids uuid[];
  v_found int;
  v_is_slow boolean;
begin
  if current_setting('messenger.leaves_out_until', true) <> '' then
    if messenger.messages_set_aside(at) is not null then
      is_plain := false;
      return;
    end if;
  end if;
  if current_setting('messenger.has_watermarks', true) <> '' then
    v_setting := messenger.watermark_setting(transport, queue, types);
    select w.ends_at, w.times, w.ids into v_ends_at, v_from_times, v_from_ids
    from messenger.read_watermark(v_setting, at) w;
  end if;
  with found as materialized (
    select array_agg(due.tid) as ctids, bool_and(due.is_ready) as are_ready, count(*) as number
    from (
      select head.* from (values (10), (9), (8), (7), (6), (5), (4), (3), (2), (1)) as level(priority)
      cross join lateral (
        select m.ctid as tid,
          m.status = 'pending' and m.lease_losses = 0 and m.cancel_requested_at is null
            and coalesce(m.expires_at > at, true) as is_ready
        from public.messenger_messages m
        where m.transport_name = transport and m.queue_name = queue and m.priority = level.priority
          and m.processed_at is null and m.available_at <= at
          and (m.available_at, m.id) >= (coalesce(v_from_times[level.priority], '-infinity'),
            coalesce(v_from_ids[level.priority], '00000000-0000-0000-0000-000000000000'))
          and case
            when clock_timestamp() > (
              select v_started + batch * interval '20 microseconds'
                + coalesce(nullif(current_setting('messenger.scan_limit', true), ''), '25 milliseconds')::interval)
            then messenger.stop_scan()
            else (m.status = 'pending' or m.lock_expires_at < at) and (types is null or m.message_type = any (types))
            end
        order by m.available_at, m.id
        limit batch
        for no key update skip locked
      ) head
      -- Also here, and not only where queues are searched, so that a pause takes effect with its commit.
      where (select not d.halted && array[transport, transport || '/' || queue] from messenger.delivery_settings d)
      limit batch
    ) due
  ),
  taken as (
    update public.messenger_messages m
    set status = 'processing', fence = m.fence + 1, locked_at = at, locked_by = worker, lock_expires_at = at + lease,
        updated_at = at
    where m.ctid = any ((select f.ctids from found f where f.are_ready)::tid[])
    returning m.id, m.message_type, m.queue_name, m.body, m.headers, m.metadata, m.priority, m.retry_count,
      m.max_retries, m.fence, m.lock_expires_at, m.created_at, m.available_at
  )
  select f.number, scan.is_slow,
    array(
      select row(t.id, t.message_type, t.queue_name, t.body, t.headers, t.metadata, t.priority, t.retry_count,
        t.max_retries, t.fence, t.lock_expires_at, t.created_at, false)::messenger.claimed
      from taken t order by t.priority desc, t.available_at, t.id)
  into v_found, v_is_slow, claimed
  from found f
  -- Before the update, which is not part of the scan.
  cross join lateral (
    select clock_timestamp() - v_started > f.number * interval '2 microseconds'
      + coalesce(nullif(current_setting('messenger.watermark_after', true), ''), '500 microseconds')::interval
      as is_slow
  ) scan;
  is_plain := v_found = cardinality(claimed);
  if v_is_slow then
    if is_plain then
      perform messenger.store_watermark(
        messenger.watermark_setting(transport, queue, types), v_ends_at, v_from_times, v_from_ids, batch,
        array(
          select m.ctid from unnest(claimed) with ordinality as c
          join public.messenger_messages m on m.id = c.id order by c.ordinality),
        clock_timestamp() - v_started, at);
    end if;
  elsif v_setting is not null and v_ends_at is null then
    perform set_config(v_setting, '', false);
  end if;
end $$;

comment on function messenger.take_due(text, text, int, text[], text, interval, timestamptz) is
  'Gives up to batch due messages of one queue to a worker. is_plain is false if messenger.find_due must continue, for '
  'messages that this statement cannot take. Raises SQLSTATE SM001 if it has skipped too many messages.';
revoke all on function messenger.take_due(text, text, int, text[], text, interval, timestamptz)
from public, anon, authenticated;
grant execute on function messenger.take_due(text, text, int, text[], text, interval, timestamptz) to service_role;
