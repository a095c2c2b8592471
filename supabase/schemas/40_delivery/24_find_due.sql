-- Finding the due messages of one queue.

-- Ends a scan that has visited too many messages it cannot take. Raising is the only way out of a running statement.
create or replace function messenger.stop_scan()
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = 'SM001',
    message = 'the scan for due messages has met too many that cannot be handed out';
end $$;

-- In order of priority (10 first), availability and id, by one index range per priority, so messages that are not yet
-- due are never visited. The same scan finds messages whose lease has expired. Such a message may have crashed its
-- worker, so it is handed out alone; up to 100 that are expired, cancelled or exhausted are finished on the way.
-- The first scan ends by an error after 25 ms (setting messenger.scan_limit) and 20 us per message of the batch,
-- because it may skip any number of messages: of other types, held or locked by others. The caller then calls again
-- with careful: the range is scanned in chunks, at most 100,000 entries, and a watermark is stored behind them. Beside
-- 50,000 such messages that takes 30 ms.
-- Without the planner settings the claim was measured 1.2 to 2.1 times slower. Disabled scans look so expensive to the
-- planner that it would compile each plan (jit), for seconds.
-- The ctids are returned under their name of 0.1.0: a claim of 0.1.0 that waits while the upgrade commits reads it.
create or replace function messenger.find_due(
  transport text, queue text, batch int, types text[], at timestamptz, may_be_solo boolean,
  careful boolean default false, out places tid[], out is_solo boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set max_parallel_workers_per_gather = 0
set plan_cache_mode = force_generic_plan
as $$
declare
  v_setting text := messenger.watermark_setting(transport, queue, types);
  v_ends_at timestamptz;
  -- By priority. Variables without a value cost nothing: plpgsql prepares each expression again in every transaction.
  v_from_times timestamptz[];
  v_from_ids uuid[];
  v_to_times timestamptz[];
  v_to_ids uuid[];
  v_left_out uuid[];
  v_skips_ended boolean;
  v_stop_priority int;
  v_stop_at timestamptz;
  v_stop_id uuid;
  v_chunk int;
  v_visited int;
  v_started timestamptz := clock_timestamp();
  v_took interval;
  v_found tid[];
  v_dispositions text[];
  v_ids uuid[];
  v_end int;
begin
  select w.ends_at, w.times, w.ids into v_ends_at, v_from_times, v_from_ids
  from messenger.read_watermark(v_setting, at) w;
  if current_setting('messenger.leaves_out_until', true) <> '' then
    v_left_out := messenger.messages_set_aside(at);
  end if;

  <<scans>>
  loop
    if careful or v_skips_ended then
      v_chunk := least(20000, coalesce(10 * v_chunk, 2 * batch + 100));
      select found.* into v_stop_priority, v_stop_at, v_stop_id from generate_series(10, 1, -1) as level(priority)
      cross join lateral (
        select m.priority, m.available_at, m.id from public.messenger_messages m
        where m.transport_name = find_due.transport and m.queue_name = find_due.queue and m.priority = level.priority
          and m.processed_at is null and m.available_at <= at
          and (m.available_at, m.id) >= (coalesce(v_from_times[level.priority], '-infinity'),
            coalesce(v_from_ids[level.priority], '00000000-0000-0000-0000-000000000000'))
        order by m.available_at, m.id
      ) found
      limit 1 offset v_chunk - 1;
      v_to_times := array(
        select case when p < v_stop_priority then '-infinity' when p = v_stop_priority then v_stop_at else at end
        from generate_series(1, 10) p);
      v_to_ids := array(select case when p = v_stop_priority then v_stop_id end from generate_series(1, 10) p);
    end if;

    select array_agg(due.tid), array_agg(due.disposition) into v_found, v_dispositions
    from (
      select found.* from generate_series(10, 1, -1) as level(priority)
      cross join lateral (
        select m.ctid as tid,
          case
            when m.expires_at <= at then 'expired'
            when m.cancel_requested_at is not null then 'cancelled'
            when m.status = 'processing' and m.retry_count >= m.max_retries then 'exhausted'
            when m.status = 'processing' then 'lost'
            when m.lease_losses > 0 then 'suspect'
            else 'ready'
          end as disposition
        from public.messenger_messages m
        where m.transport_name = find_due.transport and m.queue_name = find_due.queue and m.priority = level.priority
          and m.processed_at is null
          and (m.available_at, m.id) <= (coalesce(v_to_times[level.priority], at),
            coalesce(v_to_ids[level.priority], 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
          and (m.available_at, m.id) >= (coalesce(v_from_times[level.priority], '-infinity'),
            coalesce(v_from_ids[level.priority], '00000000-0000-0000-0000-000000000000'))
          -- One expression, because the planner would put the cheap tests before that of the time.
          and case
            when clock_timestamp() > (select clock_timestamp() + case when careful then '1 hour'
              else coalesce(nullif(current_setting('messenger.scan_limit', true), ''), '25 milliseconds') end::interval
              + batch * interval '20 microseconds')
            then messenger.stop_scan()
            else (m.status = 'pending' or m.lock_expires_at < at) and (types is null or m.message_type = any (types))
              and (v_left_out is null or m.id <> all (v_left_out))
              and (v_skips_ended is null or not (
                coalesce(m.expires_at <= at, false) or m.cancel_requested_at is not null
                or m.status = 'processing' and m.retry_count >= m.max_retries))
            end
        order by m.available_at, m.id
        limit batch
        for no key update skip locked
      ) found
      -- Also here, and not only in due_queues, so that a pause takes effect with its commit.
      where (
        select not d.halted && array[find_due.transport, find_due.transport || '/' || find_due.queue]
        from messenger.delivery_settings d
      )
      limit batch - coalesce(cardinality(places), 0)
    ) due;

    if not v_dispositions <@ '{ready}'::text[] then
      v_ids := array(
        select m.id from unnest(v_found) with ordinality as x(tid, n)
        join public.messenger_messages m on m.ctid = x.tid order by x.n);
      if v_dispositions && '{expired,cancelled,exhausted}'::text[] then
        if careful then
          perform messenger.finish_undeliverable_singly(v_ids[1:100], v_dispositions[1:100], at);
        else
          perform messenger.finish_undeliverable(v_ids[1:100], v_dispositions[1:100], at);
        end if;
        -- A scan by chunks, which leaves out the other messages to be finished, finds the remaining ones.
        v_skips_ended := true;
        continue scans;
      end if;
      -- Up to the first message that must be alone; the next claim begins with it.
      v_end := (
        select min(x.n) from unnest(v_dispositions) with ordinality as x(disposition, n)
        where x.disposition <> 'ready');
      if v_end > 1 then
        places := places || v_found[1:v_end - 1];
      elsif places is null and may_be_solo then
        perform messenger.note_lost_leases(v_ids[1:1], 'retried', at);
        perform messenger.emit('retried', array(select v_ids[1] where v_dispositions[1] = 'lost'), at);
        places := v_found[1:1];
        is_solo := true;
      end if;
      return;
    end if;

    places := places || v_found;
    exit scans when v_stop_id is null or coalesce(cardinality(places), 0) >= batch;
    v_from_times := array(
      select case
        when p < v_stop_priority then v_from_times[p] when p = v_stop_priority then v_stop_at else 'infinity' end
      from generate_series(1, 10) p);
    v_from_ids := array(
      select case when p = v_stop_priority then v_stop_id else v_from_ids[p] end
      from generate_series(1, 10) p);
    -- The next chunk begins with the last message of this one.
    v_left_out := v_left_out || v_stop_id;
    v_visited := coalesce(v_visited, 0) + v_chunk;
    exit scans when v_visited >= 100000;
  end loop;

  v_took := clock_timestamp() - v_started;
  if v_took > coalesce(nullif(current_setting('messenger.watermark_after', true), ''), '500 microseconds')::interval
      + coalesce(cardinality(places), 0) * interval '2 microseconds' then
    perform messenger.store_watermark(
      v_setting, v_ends_at, v_from_times, v_from_ids, batch, places, v_took, at, v_stop_priority + 1);
  elsif current_setting(v_setting, true) <> '' and v_ends_at is null then
    perform set_config(v_setting, '', false);
  end if;
end $$;

comment on function messenger.stop_scan() is 'Raises SQLSTATE SM001, which the claim catches.';
comment on function messenger.find_due(text, text, int, text[], timestamptz, boolean, boolean) is
  'Locks up to batch due messages of one queue and returns their ctids, or null. A solo message is returned alone or, '
  'if may_be_solo is false, not at all. Raises SQLSTATE SM001 if it has skipped too many messages, unless careful.';
revoke all on function
  messenger.stop_scan(),
  messenger.find_due(text, text, int, text[], timestamptz, boolean, boolean)
from public, anon, authenticated;
grant execute on function
  messenger.stop_scan(),
  messenger.find_due(text, text, int, text[], timestamptz, boolean, boolean)
to service_role;
