-- The tick: what the clock does each second. Safe to call by anyone who may, at any time, at once.

-- Rings as many workers as the backlog earns, less those awake; none when nothing is due.
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
  v_unasked boolean := false;
  v_backlog bigint := 0;
  v_blind boolean := false;
  v_awake int := 0;
  v_wanted int;
  v_rung int := 0;
  v_sql_types text[] := array(select h.type from messenger.sql_handlers() h);
  v_transports text[] := '{}'::text[];
  v_queues text[] := '{}'::text[];
begin
  select * into v_settings from messenger.settings;
  if v_settings.functions_url is null then
    return 0;
  end if;
  for v_pair in select * from messenger.active_queues(null, null, false) loop
    -- A type nobody has registered may have no handler: for those alone, ring once a minute, or an idle project would pay for it each second.
    for v_due in
      select due.message_type, count(*) as backlog,
        exists (select from messenger.message_types k where k.type = due.message_type) as is_known,
        messenger.awake_workers(v_pair.transport_name, v_pair.queue_name, due.message_type, '1 second') as awake
      from (
        select head.message_type
        from generate_series(10, 1, -1) as level(priority)
        cross join lateral (
          select m.message_type from public.messenger_messages m
          where m.transport_name = v_pair.transport_name and m.queue_name = v_pair.queue_name and m.priority = level.priority
            and m.processed_at is null and m.available_at <= wake.at and (m.status = 'pending' or m.lock_expires_at < wake.at)
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
      if v_due.is_known then
        v_backlog := v_backlog + v_due.backlog;
        v_awake := greatest(v_awake, v_due.awake);
        v_unasked := v_unasked or v_due.awake = 0;
      else
        v_blind := v_blind or v_due.awake = 0;
      end if;
    end loop;
  end loop;

  perform messenger.make_wakeup_locks(v_transports, v_queues, at);
  v_wanted := least(v_settings.max_workers, ceil(v_backlog::numeric / v_settings.messages_per_worker)) - v_awake;
  -- Workers for other types may be awake in plenty.
  if v_unasked then
    v_wanted := greatest(v_wanted, 1);
  elsif v_backlog = 0 and v_blind then
    update messenger.clock c set blind_ring_at = wake.at
    where c.singleton in (select x.singleton from messenger.clock x for update skip locked)
      and (c.blind_ring_at is null or c.blind_ring_at not between wake.at - interval '1 minute' and wake.at);
    v_wanted := found::int;
  end if;
  while v_rung < v_wanted loop
    exit when not messenger.post_bell();
    v_rung := v_rung + 1;
  end loop;
  return v_rung;
end $$;

-- Definer: it reads Vault, rings pg_net and prunes pg_cron's rows, which service_role cannot.
create or replace function messenger.tick(batch int)
returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := messenger.now();
  v_batch int := coalesce(batch, 100);
  v_rescue record;
  v_expanded bigint;
  v_pruned bigint;
  v_woken int;
begin
  if v_batch not between 1 and 10000 then
    perform messenger.refuse('SM_BATCH');
  end if;
  select * into v_rescue from messenger.rescue(v_now);
  perform messenger.release_orphans(v_now, 1000);
  perform messenger.watch_replays(v_now);
  v_expanded := messenger.expand_schedules(v_now, greatest(v_batch, 1000));
  v_pruned := messenger.prune_messages(v_now, greatest(v_batch, 1000));
  perform messenger.prune_rest(v_now, v_batch);
  perform messenger.prune_metrics(v_now, 10 * v_batch);
  perform messenger.prune_bells(10 * v_batch);
  perform messenger.prune_ordering_keys(v_now, 20 * v_batch);
  perform messenger.prune_wakeup_locks(v_now, v_batch);
  perform messenger.prune_senders(v_now, 20 * v_batch);
  perform messenger.run_sql_handlers(v_batch);
  perform messenger.fold();
  v_woken := messenger.wake(v_now);
  -- Skipped, not waited for, when another tick has the row: that one is the heartbeat.
  update messenger.clock c set last_tick_at = v_now, ticks = c.ticks + 1
  where c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  return jsonb_build_object('expanded', v_expanded, 'failed', v_rescue.given_up, 'rescued', v_rescue.rescued, 'dead', v_rescue.dead, 'woken', v_woken, 'relayed', 0, 'pruned', v_pruned);
end $$;

create or replace function public.messenger_tick(batch int default 100)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $$ select messenger.tick(batch) $$;

-- For the clock: a tick that fails is written down and tried again in a second, it does not stop the clock.
create or replace function messenger.tick_or_note_error()
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform messenger.tick(100);
  if (select c.ticks % 3600 = 0 from messenger.clock c) then
    perform messenger.prune_clock_history();
  end if;
  return (select s.clock_enabled from messenger.settings s);
exception when others then
  update messenger.clock set last_error = left(sqlerrm, 1000), last_error_at = messenger.now();
  return (select s.clock_enabled from messenger.settings s);
end $$;

comment on function messenger.wake(timestamptz) is 'Rings for due messages: workers wanted by the backlog less those awake. Returns how many bells were posted.';
comment on function messenger.tick(int) is 'See public.messenger_tick.';
comment on function public.messenger_tick(int) is
  'One tick of the clock: rescues, expands schedules, prunes (batch: size of a bite), wakes. Returns {"expanded" (messages of schedules), "failed" (messages that expired or whose cancelling was due), "rescued", "dead", "woken", "relayed", "pruned"}.';
comment on function messenger.tick_or_note_error() is 'A tick that never raises. Returns whether the clock is still enabled.';
revoke all on function messenger.wake(timestamptz), messenger.tick(int), public.messenger_tick(int), messenger.tick_or_note_error() from public, anon, authenticated, service_role;
grant execute on function messenger.tick(int), public.messenger_tick(int) to service_role;
