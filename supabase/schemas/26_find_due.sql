-- Finding what is due in one queue, and the marks that keep its scans short while dead index entries cannot be vacuumed.

-- Per priority, the position before which a session's last scan found nothing to take. While some transaction holds a snapshot, the index keeps an
-- entry for every message finished since, and each scan would walk them all: the rate fell to a third in 75 s, with marks it stayed.
-- Only an accelerator. A mark ends after at most 5 s, and when the clock stands before the moment it was placed; then a scan without it is made. What becomes
-- visible behind a mark (a late commit, an expired lease, a message handed back) waits at most that long.
-- It is a setting of the session, "placed|ends|times|ids" with an array of ten each, named by everything a scan filters on, or one worker's mark would
-- hide another's messages.
create or replace function messenger.mark_setting(transport text, queue text, types text[])
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 'messenger.mark_' || replace(hashtextextended(concat_ws('/', transport, queue, types::text), 0)::text, '-', 'n');
end $$;

-- After a scan that was slow for what it found, places marks; after a fast one that began at the beginning, drops them.
-- Slow is what the setting messenger.mark_after says, 500 us unless set, and 2 us a message: a scan takes 50, but a busy machine must not pass for a
-- cluttered index.
-- The margin is for transactions that commit a little after the moment they wrote into available_at.
create or replace function messenger.place_mark(
  setting text, ends_at timestamptz, from_times timestamptz[], from_ids uuid[], batch int, places tid[], took interval, at timestamptz
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_times timestamptz[] := from_times;
  v_ids uuid[] := from_ids;
  v_margin timestamptz := at - interval '250 milliseconds';
  v_found record;
  v_first int;
  v_lowest int := 1;
begin
  select array_agg(m.priority order by x.n) as priorities, array_agg(m.available_at order by x.n) as times, array_agg(m.id order by x.n) as ids
  into v_found
  from unnest(places) with ordinality as x(place, n) join public.messenger_messages m on m.ctid = x.place;
  -- Below the last priority found the scan did not come when it had what it wanted.
  if cardinality(places) >= batch then
    v_lowest := v_found.priorities[batch];
  end if;
  for v_level in v_lowest..10 loop
    v_first := array_position(v_found.priorities, v_level);
    if v_first is not null and v_found.times[v_first] < v_margin then
      v_times[v_level] := v_found.times[v_first];
      v_ids[v_level] := v_found.ids[v_first];
    else
      v_times[v_level] := v_margin;
      v_ids[v_level] := '00000000-0000-0000-0000-000000000000';
    end if;
  end loop;
  perform set_config(setting,
    concat_ws('|', messenger.moment_text(at),
      messenger.moment_text(coalesce(ends_at, at + least(interval '5 seconds', greatest(interval '1 second', 20 * took)))),
      array(select messenger.moment_text(t.moment) from unnest(v_times) with ordinality as t(moment, n) order by t.n)::text,
      v_ids::text), false);
end $$;

-- Finds what to take from one queue in order of priority (10 first), availability, id: one index range a priority, so messages not yet due are never
-- visited. A message whose lease ran out is met in the same scan. It may have killed its worker, so it is handed out alone; exhausted ones are buried on the way.
-- Without the planner settings the claim was measured 1.2 to 2.1 times slower; and switched-off scans look so dear to the planner that it would compile each plan (jit), for seconds.
create or replace function messenger.find_due(transport text, queue text, batch int, types text[], at timestamptz, may_be_solo boolean, out places tid[], out is_solo boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_places tid[];
  v_ids uuid[];
  v_fates text[];
  v_end int;
  v_setting text := messenger.mark_setting(transport, queue, types);
  v_text text := current_setting(v_setting, true);
  v_mark text[];
  v_ends_at timestamptz;
  v_from_times timestamptz[] := '{-infinity,-infinity,-infinity,-infinity,-infinity,-infinity,-infinity,-infinity,-infinity,-infinity}'::timestamptz[];
  v_from_ids uuid[] := array_fill('00000000-0000-0000-0000-000000000000'::uuid, array[10]);
  v_started timestamptz;
  v_took interval;
begin
  if v_text <> '' then
    v_mark := string_to_array(v_text, '|');
    if at between v_mark[1]::timestamptz and v_mark[2]::timestamptz then
      v_ends_at := v_mark[2]::timestamptz;
      v_from_times := v_mark[3]::timestamptz[];
      v_from_ids := v_mark[4]::uuid[];
    end if;
  end if;
  loop
    v_started := clock_timestamp();
    select array_agg(due.tid), array_agg(due.fate) into v_places, v_fates
    from (
      select head.* from generate_series(10, 1, -1) as level(priority)
      cross join lateral (
        select m.ctid as tid,
          case
            when m.expires_at <= at then 'expired'
            when m.cancel_requested_at is not null then 'cancelled'
            when m.status = 'processing' and m.retry_count >= m.max_retries then 'exhausted'
            when m.status = 'processing' then 'lost'
            when m.lease_losses > 0 then 'suspect'
            else 'ready'
          end as fate
        from public.messenger_messages m
        where m.transport_name = find_due.transport and m.queue_name = find_due.queue and m.priority = level.priority
          and m.processed_at is null and m.available_at <= at
          and (m.available_at, m.id) >= (v_from_times[level.priority], v_from_ids[level.priority])
          and (m.status = 'pending' or m.lock_expires_at < at)
          and (types is null or m.message_type = any (types))
        order by m.available_at, m.id
        limit batch
        for update skip locked
      ) head
      -- Here and not only where queues are looked for, so that a pause holds from its commit on.
      where (
        select t.enabled and t.type in ('supabase', 'sync')
          and not exists (select from messenger.queues q where q.transport_name = t.name and q.queue_name = find_due.queue and q.paused_at is not null)
        from public.messenger_transports t where t.name = find_due.transport
      )
      limit batch
    ) due;
    v_took := clock_timestamp() - v_started;
    if v_took > coalesce(nullif(current_setting('messenger.mark_after', true), ''), '500 microseconds')::interval
        + coalesce(cardinality(v_places), 0) * interval '2 microseconds' then
      perform messenger.place_mark(v_setting, v_ends_at, v_from_times, v_from_ids, batch, v_places, v_took, at);
    elsif v_text <> '' and v_ends_at is null then
      perform set_config(v_setting, '', false);
    end if;
    if v_places is null then
      return;
    end if;

    if not v_fates <@ '{ready}'::text[] then
      v_ids := array(select m.id from unnest(v_places) with ordinality as x(place, n) join public.messenger_messages m on m.ctid = x.place order by x.n);
    end if;
    if v_fates && '{expired,cancelled,exhausted}'::text[] then
      perform messenger.end_unhandled(v_ids, v_fates, at);
      continue;  -- the living are taken by a fresh scan
    end if;

    -- Up to the first message that must be alone; the next claim then starts with it.
    if v_fates && '{lost,suspect}'::text[] then
      select min(x.n) into v_end from unnest(v_fates) with ordinality as x(fate, n) where x.fate <> 'ready';
      if v_end > 1 then
        v_places := v_places[1:v_end - 1];
      elsif may_be_solo then
        perform messenger.note_lost_leases(v_ids[1:1], 'retried', at);
        perform messenger.emit('retried', array(select v_ids[1] where v_fates[1] = 'lost'), at);
        v_places := v_places[1:1];
        is_solo := true;
      else
        return;
      end if;
    end if;
    places := v_places;
    return;
  end loop;
end $$;

comment on function messenger.mark_setting(text, text, text[]) is 'Name of the session setting that keeps the marks of one queue and selection of types.';
comment on function messenger.place_mark(text, timestamptz, timestamptz[], uuid[], int, tid[], interval, timestamptz) is
  'Keeps for the session''s next scan what this one found out, when it took long for what it found.';
comment on function messenger.find_due(text, text, int, text[], timestamptz, boolean) is
  'Locks up to batch due messages of one queue and returns their places (ctid), or null. A solo message comes alone or, when may_be_solo is false, not at all.';
revoke all on function messenger.mark_setting(text, text, text[]),
  messenger.place_mark(text, timestamptz, timestamptz[], uuid[], int, tid[], interval, timestamptz),
  messenger.find_due(text, text, int, text[], timestamptz, boolean) from public, anon, authenticated;
grant execute on function messenger.mark_setting(text, text, text[]),
  messenger.place_mark(text, timestamptz, timestamptz[], uuid[], int, tid[], interval, timestamptz),
  messenger.find_due(text, text, int, text[], timestamptz, boolean) to service_role;
