-- Wakes workers for due messages, from the tick.

create or replace function messenger.wake(at timestamptz)
returns int
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_settings messenger.settings;
  v_pair record;
  v_due record;
  v_has_unpolled boolean := false;
  v_backlog bigint := 0;
  v_has_unregistered boolean := false;
  v_active int := 0;
  v_wanted int;
  v_woken int := 0;
  v_sql_types text[] := array(select h.type from messenger.sql_handlers() h);
  v_transports text[] := '{}'::text[];
  v_queues text[] := '{}'::text[];
begin
  select * into v_settings from messenger.settings;
  if v_settings.functions_url is null then
    return 0;
  end if;
  for v_pair in select * from messenger.due_queues(at) loop
    -- An unregistered type may have no handler: for such types alone a worker is woken once per minute only, or an idle
    -- project would pay for a call per second.
    for v_due in
      select due.message_type, count(*) as backlog,
        exists (select from messenger.message_types k where k.type = due.message_type) as is_registered,
        messenger.active_workers(v_pair.transport_name, v_pair.queue_name, due.message_type,
          '1 second') as active_workers
      from (
        select head.message_type
        from generate_series(10, 1, -1) as level(priority)
        cross join lateral (
          select m.message_type from public.messenger_messages m
          where m.transport_name = v_pair.transport_name and m.queue_name = v_pair.queue_name
            and m.priority = level.priority
            and m.processed_at is null and m.available_at <= wake.at
            and (m.status = 'pending' or m.lock_expires_at < wake.at)
            and m.message_type <> all (v_sql_types)
          order by m.available_at, m.id
          limit v_settings.max_workers * v_settings.messages_per_worker
        ) head
        limit v_settings.max_workers * v_settings.messages_per_worker
      ) due
      group by due.message_type
    loop
      v_transports := v_transports || v_pair.transport_name;
      v_queues := v_queues || v_pair.queue_name;
      if v_due.is_registered then
        v_backlog := v_backlog + v_due.backlog;
        v_active := greatest(v_active, v_due.active_workers);
        v_has_unpolled := v_has_unpolled or v_due.active_workers = 0;
      else
        v_has_unregistered := v_has_unregistered or v_due.active_workers = 0;
      end if;
    end loop;
  end loop;

  perform messenger.make_wakeup_locks(v_transports, v_queues, at);
  v_wanted := least(v_settings.max_workers, ceil(v_backlog::numeric / v_settings.messages_per_worker)) - v_active;
  -- The active workers may all be for other types.
  if v_has_unpolled then
    v_wanted := greatest(v_wanted, 1);
  elsif v_backlog = 0 and v_has_unregistered then
    update messenger.clock c set unregistered_wakeup_at = wake.at
    where c.singleton in (select x.singleton from messenger.clock x for update skip locked)
      and (c.unregistered_wakeup_at is null
        or c.unregistered_wakeup_at not between wake.at - interval '1 minute' and wake.at);
    v_wanted := found::int;
  end if;
  while v_woken < v_wanted loop
    exit when not messenger.send_wakeup();
    v_woken := v_woken + 1;
  end loop;
  return v_woken;
end $$;

comment on function messenger.wake(timestamptz) is
  'Sends wake-ups for due messages: as many workers as the backlog needs, less the active ones, and none if nothing is '
  'due. Returns the number of wake-ups sent.';
revoke all on function messenger.wake(timestamptz) from public, anon, authenticated, service_role;
