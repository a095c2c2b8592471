-- Queues: those that hold unfinished messages, those that hold due messages, and the session's cache of the latter.

-- A skip scan of the hot index: one probe per queue, however long it is. It begins at the end of the index: entries of
-- finished messages, which remain while a transaction holds a snapshot, are at the beginning of their queue, and a scan
-- from there visited them all (77 ms beside 60,000, against 0.4 ms from the end).
create or replace function messenger.active_queues(only_transport text, only_queues text[], halted boolean)
returns table (transport_name text, queue_name text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  with recursive pair as (
    (select m.transport_name, m.queue_name from public.messenger_messages m where m.processed_at is null
     order by m.transport_name desc, m.queue_name desc limit 1)
    union all
    select n.transport_name, n.queue_name
    from pair p
    cross join lateral (
      select m.transport_name, m.queue_name from public.messenger_messages m
      where m.processed_at is null and (m.transport_name, m.queue_name) < (p.transport_name, p.queue_name)
      order by m.transport_name desc, m.queue_name desc limit 1
    ) n
  )
  select p.transport_name, p.queue_name
  from pair p
  join public.messenger_transports t on t.name = p.transport_name and t.type in ('supabase', 'sync')
  left join messenger.queues q on q.transport_name = p.transport_name and q.queue_name = p.queue_name
  where (halted or t.enabled and q.paused_at is null)
    and (only_transport is null or p.transport_name = only_transport)
    and (only_queues is null or p.queue_name = any (only_queues));
end $$;

-- Scans the hot index from its end and stops only at queues with a due message. Entries of later messages are skipped
-- inside the index: beside 5,000 queues with one message each it takes 0.4 ms where a probe per queue takes 55 ms, with
-- 50 messages each 31 to 84 ms. The first step is a statement without a bound, because each entry would be compared
-- with it. runnable: only messages that no worker holds.
create or replace function messenger.scan_due_queues(
  at timestamptz, only_transport text, runnable boolean, only_types text[], below_transport text, below_queue text,
  max_queues int
)
returns table (transport_name text, queue_name text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_is_first boolean := below_transport is null;
begin
  if v_is_first then
    select m.transport_name, m.queue_name into below_transport, below_queue from public.messenger_messages m
    where m.processed_at is null and m.available_at <= scan_due_queues.at
      and (not runnable or m.status = 'pending' or m.lock_expires_at < scan_due_queues.at)
      and (only_types is null or m.message_type = any (only_types))
      and (only_transport is null or m.transport_name = only_transport)
    order by m.transport_name desc, m.queue_name desc limit 1;
    if not found then
      return;
    end if;
  end if;
  return query
  with recursive pair as (
    select below_transport as transport_name, below_queue as queue_name, v_is_first as is_due
    union all
    select n.transport_name, n.queue_name, true
    from pair p
    cross join lateral (
      select m.transport_name, m.queue_name from public.messenger_messages m
      where (m.transport_name, m.queue_name) < (p.transport_name, p.queue_name)
        and m.processed_at is null and m.available_at <= scan_due_queues.at
        and (not runnable or m.status = 'pending' or m.lock_expires_at < scan_due_queues.at)
        and (only_types is null or m.message_type = any (only_types))
        and (only_transport is null or m.transport_name = only_transport)
      order by m.transport_name desc, m.queue_name desc limit 1
    ) n
  )
  select p.transport_name, p.queue_name from pair p where p.is_due limit max_queues;
end $$;

-- Up to 64 queues are probed one by one. With more, scan_due_queues finds those with a due message, at most max_queues
-- per call, and the session's next call continues where this one stopped, so that no queue starves behind others that
-- are never empty. That there are more than 64 is cached for 10 s, because finding it out costs 65 probes. runnable and
-- only_types are hints that exclude queues without a message for the caller.
create or replace function messenger.due_queues(
  at timestamptz, only_transport text default null, only_queues text[] default null, runnable boolean default false,
  only_types text[] default null, halted boolean default false, max_queues int default 200
)
returns table (transport_name text, queue_name text)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_transports text[];
  v_queues text[];
  v_setting text;
  -- "end of the cache in seconds|transport|queue at which the last scan stopped"
  v_scan text[];
  v_now numeric := extract(epoch from at);
  v_is_whole boolean;
begin
  if only_queues is not null then
    select array_agg(t.name), array_agg(q.name) into v_transports, v_queues
    from public.messenger_transports t cross join (select distinct u.name from unnest(only_queues) u(name)) q
    where only_transport is null or t.name = only_transport;
  else
    v_setting := 'messenger.many_queues_' || replace(
      hashtextextended(concat_ws('/', only_transport, runnable, only_types::text, halted), 0)::text, '-', 'n');
    v_scan := string_to_array(nullif(current_setting(v_setting, true), ''), '|');
    if v_now between v_scan[1]::numeric - 10 and v_scan[1]::numeric then
      null;
    else
      v_scan := null;
      with recursive pair as (
        (select m.transport_name, m.queue_name from public.messenger_messages m where m.processed_at is null
         order by m.transport_name desc, m.queue_name desc limit 1)
        union all
        select n.transport_name, n.queue_name
        from pair p
        cross join lateral (
          select m.transport_name, m.queue_name from public.messenger_messages m
          where m.processed_at is null and (m.transport_name, m.queue_name) < (p.transport_name, p.queue_name)
          order by m.transport_name desc, m.queue_name desc limit 1
        ) n
      )
      select array_agg(p.transport_name), array_agg(p.queue_name) into v_transports, v_queues
      from (select * from pair limit 65) p;
      if cardinality(v_queues) > 64 then
        v_scan := array[(v_now + 10)::text];
      end if;
    end if;
  end if;

  if v_scan is not null then
    loop
      v_is_whole := v_scan[2] is null;
      select array_agg(w.transport_name), array_agg(w.queue_name) into v_transports, v_queues
      from messenger.scan_due_queues(
        due_queues.at, only_transport, runnable, only_types, v_scan[2], v_scan[3], max_queues) w;
      v_scan := v_scan[1:1];
      if cardinality(v_queues) = max_queues then
        v_scan := v_scan || v_transports[max_queues] || v_queues[max_queues];
      end if;
      exit when v_is_whole or v_queues is not null;
    end loop;
    perform set_config(v_setting, array_to_string(v_scan, '|'), false);
  end if;

  -- One probe per priority: a range over all priorities would visit every later message of the queue.
  return query
  select u.transport_name, u.queue_name
  from unnest(v_transports, v_queues) as u(transport_name, queue_name)
  join public.messenger_transports t on t.name = u.transport_name and t.type in ('supabase', 'sync')
  where (only_transport is null or t.name = only_transport)
    and (halted or t.enabled and not exists (
      select from messenger.queues q
      where q.transport_name = u.transport_name and q.queue_name = u.queue_name and q.paused_at is not null))
    and (v_scan is not null or exists (
      select from generate_series(1, 10) as level(priority)
      cross join lateral (
        select from public.messenger_messages m
        where m.transport_name = u.transport_name and m.queue_name = u.queue_name and m.priority = level.priority
          and m.processed_at is null and m.available_at <= due_queues.at
        limit 1
      ) due));
end $$;

-- Up to 100 due queues as 'transport/queue' in random order, so that no queue starves behind another that is never
-- empty. Cached by the session for 20 ms, as the search costs as much as claiming one message; a claim that does not
-- get its batch from them searches again.
-- A search that took longer than 5 ms (setting messenger.queues_after), because the index holds entries of finished
-- messages for a snapshot, is cached for ten times its time, at most a second, and for twice its time for that second
-- search too: a queue that fills meanwhile waits for this session. Only twice, because a busy machine is slow too, and
-- an idle worker must not miss a message for long.
-- only_types is last, with a default: a claim of 0.1.0 that waits while the upgrade commits calls the function without
-- it.
create or replace function messenger.known_queues(
  only_transport text, only_queues text[], again boolean, at timestamptz, only_types text[] default null
)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_setting text := 'messenger.known_queues_' || replace(
    hashtextextended(concat_ws('/', only_transport, only_queues::text, only_types::text), 0)::text, '-', 'n');
  -- "stored at|end|end for a claim that searches again|queues", times in seconds: as text they would depend on
  -- DateStyle.
  v_text text := current_setting(v_setting, true);
  v_now numeric := extract(epoch from at);
  v_cached text[];
  v_queues text[];
  v_started timestamptz;
  v_took numeric;
begin
  if v_text <> '' then
    v_cached := string_to_array(v_text, '|');
    if v_now between v_cached[1]::numeric and v_cached[2 + again::int]::numeric then
      return v_cached[4]::text[];
    end if;
  end if;
  v_started := clock_timestamp();
  v_queues := array(
    select d.transport_name || '/' || d.queue_name
    from messenger.due_queues(at, only_transport, only_queues, true, only_types, false, 100) d order by random());
  v_took := extract(epoch from clock_timestamp() - v_started);
  if v_took < extract(epoch from
      coalesce(nullif(current_setting('messenger.queues_after', true), ''), '5 milliseconds')::interval)
      + cardinality(v_queues) * 0.00005 then
    v_took := 0;
  end if;
  v_took := least(1, 2 * v_took);
  perform set_config(
    v_setting, concat_ws('|', v_now, v_now + greatest(least(1, 5 * v_took), 0.02), v_now + v_took, v_queues::text),
    false);
  return v_queues;
end $$;

comment on function messenger.active_queues(text, text[], boolean) is
  'Transports and queues with unfinished messages; halted: paused or disabled ones too.';
comment on function messenger.scan_due_queues(timestamptz, text, boolean, text[], text, text, int) is
  'Queues with a due message in descending order, below a transport and queue (exclusive) or, if these are null, from '
  'the last one.';
comment on function messenger.due_queues(timestamptz, text, text[], boolean, text[], boolean, int) is
  'Queues that hold a due message, optionally only of one transport or of these queues. With more than 64 queues at '
  'most max_queues per call, in turn. halted: paused or disabled ones too. runnable, only_types: may exclude queues '
  'whose due messages are held by workers or are of other types.';
comment on function messenger.known_queues(text, text[], boolean, timestamptz, text[]) is
  'Due queues as transport/queue in random order, cached for 20 ms, or up to a second if finding them took long; '
  'again: ignores the 20 ms.';
revoke all on function
  messenger.active_queues(text, text[], boolean),
  messenger.scan_due_queues(timestamptz, text, boolean, text[], text, text, int),
  messenger.due_queues(timestamptz, text, text[], boolean, text[], boolean, int),
  messenger.known_queues(text, text[], boolean, timestamptz, text[])
from public, anon, authenticated;
grant execute on function
  messenger.active_queues(text, text[], boolean),
  messenger.scan_due_queues(timestamptz, text, boolean, text[], text, text, int),
  messenger.due_queues(timestamptz, text, text[], boolean, text[], boolean, int),
  messenger.known_queues(text, text[], boolean, timestamptz, text[])
to service_role;
