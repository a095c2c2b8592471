-- Pruning, in bites: finished messages past their retention, resolved dead letters, spent idempotency keys, ended replays, old occurrences, and our own
-- rows of pg_net and pg_cron.

-- Walks the primary key, which is ordered by time, from where the last bite stopped; turns back at the first row too young for any retention.
create or replace function messenger.prune_messages(at timestamptz, bite int)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_shortest interval;
  v_after uuid;
  v_pruned bigint;
  v_last record;
begin
  select min(coalesce((t.config ->> 'retention')::interval, '7 days')) into v_shortest from public.messenger_transports t;
  select c.prune_after into v_after from messenger.clock c;

  with bite as materialized (
    select m.id, m.transport_name, m.created_at,
      m.processed_at < prune_messages.at - coalesce((t.config ->> 'retention')::interval, '7 days')
      -- A failed message stays as long as its dead letter is open.
      and not exists (select from public.messenger_failed_messages f where f.message_id = m.id and f.resolved_at is null) as is_done
    from (select * from public.messenger_messages x where x.id > v_after order by x.id limit prune_messages.bite) m
    left join public.messenger_transports t on t.name = m.transport_name
  ),
  gone as (
    delete from public.messenger_messages m
    where m.id = any (array(select b.id from bite b where b.is_done)) and m.processed_at is not null
    returning m.id, m.transport_name
  ),
  forgotten as (
    delete from messenger.attempts a where a.message_id = any (array(select g.id from gone g))
  ),
  counted as (
    insert into messenger.pruned (transport_name, message_count, at)
    select g.transport_name, count(*), prune_messages.at from gone g group by g.transport_name
    returning message_count
  )
  select count(*) as seen, (select b.id from bite b order by b.id desc limit 1) as id, max(b.created_at) as created_at,
    (select coalesce(sum(c.message_count), 0) from counted c) as pruned
  into v_last
  from bite b;
  v_pruned := v_last.pruned;

  v_after := case
    when v_last.seen < bite or v_last.created_at > at - v_shortest then '00000000-0000-0000-0000-000000000000'
    else v_last.id
  end;
  update messenger.clock c set prune_after = v_after
  where c.prune_after <> v_after and c.singleton in (select x.singleton from messenger.clock x for update skip locked);
  return v_pruned;
end $$;

-- The expired keys are walked in turns too: those of unfinished messages and open letters stay, however many there are. A message is looked for by its
-- id alone: "where processed_at is null" tempts the planner to read the whole backlog for each key (4 s for 5,000 beside 10,000 pending, now 30 ms).
create or replace function messenger.prune_keys(at timestamptz, bite int)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_after timestamptz;
  v_seen record;
  v_taken record;
begin
  select c.prune_keys_after into v_after from messenger.clock c;
  -- With ties, because the keys of a batch expire at one instant.
  select count(*) as keys, max(k.expires_at) as last, array_agg(k.scope) filter (where k.is_spent) as scopes, array_agg(k.key) filter (where k.is_spent) as names
  into v_seen
  from (
    select x.scope, x.key, x.expires_at,
      coalesce((select m.processed_at is not null from public.messenger_messages m where m.id = x.message_id), true)
      and not exists (select from public.messenger_failed_messages f where f.message_id = x.message_id and f.resolved_at is null) as is_spent
    from (
      select * from messenger.idempotency_keys e
      where e.expires_at < prune_keys.at and e.expires_at > v_after
      order by e.expires_at fetch first (bite) rows with ties
    ) x
  ) k;
  if v_seen.scopes is not null then
    -- Asked again once the keys are held: a dispatch may have taken one over since.
    select array_agg(k.scope) as scopes, array_agg(k.key) as names into v_taken
    from (
      select x.scope, x.key from messenger.idempotency_keys x
      where (x.scope, x.key) in (select * from unnest(v_seen.scopes, v_seen.names)) and x.expires_at < prune_keys.at
      for update skip locked
    ) k;
    delete from messenger.idempotency_keys k
    using unnest(v_taken.scopes, v_taken.names) as t(scope, key)
    where k.scope = t.scope and k.key = t.key
      and coalesce((select m.processed_at is not null from public.messenger_messages m where m.id = k.message_id), true)
      and not exists (select from public.messenger_failed_messages f where f.message_id = k.message_id and f.resolved_at is null);
  end if;
  v_after := case when v_seen.keys < bite then '-infinity' else v_seen.last end;
  update messenger.clock c set prune_keys_after = v_after
  where c.prune_keys_after <> v_after and c.singleton in (select x.singleton from messenger.clock x for update skip locked);
end $$;

create or replace function messenger.prune_rest(at timestamptz, bite int)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from public.messenger_failed_messages f
  where f.resolved_at is not null and f.id = any (array(
    select x.id from public.messenger_failed_messages x
    left join public.messenger_transports t on t.name = x.transport_name
    where x.resolved_at is not null and x.resolved_at < prune_rest.at - coalesce((t.config ->> 'failed_retention')::interval, '30 days')
    order by x.resolved_at limit bite));
  perform messenger.prune_keys(prune_rest.at, bite);
  perform messenger.prune_replays(prune_rest.at, bite);

  -- Kept while its message is unfinished, which overlap asks for, and while its schedule has not gone past it.
  delete from messenger.occurrences o
  where (o.schedule_id, o.due_at) in (
    select x.schedule_id, x.due_at from messenger.occurrences x
    where x.due_at < prune_rest.at - interval '7 days'
      and coalesce((select m.processed_at is not null from public.messenger_messages m where m.id = x.message_id), true)
      and not exists (select from public.messenger_schedules s where s.id = x.schedule_id and s.next_run_at <= x.due_at)
    order by x.due_at limit bite
    for update skip locked);

  delete from messenger.workers w where w.polled_at < prune_rest.at - interval '1 hour';

  with folded as (delete from messenger.pruned p where (select count(*) from messenger.pruned) > 100 returning *)
  insert into messenger.pruned (transport_name, message_count, at)
  select f.transport_name, sum(f.message_count), max(f.at) from folded f group by f.transport_name;
end $$;

-- pg_net deletes answers after pg_net.ttl (6 hours, of everybody); ours go after one. Once an hour rather than each tick: its table has no index on
-- the id, so a look reads what all of the project received while these bells rang.
create or replace function messenger.prune_bells(bite int)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pg_catalog.now();
  v_ids bigint[];
  v_from timestamptz;
  v_to timestamptz;
begin
  if not exists (select from (select b.at from messenger.bells b order by b.request_id limit 1) oldest where oldest.at < v_now - interval '2 hours') then
    return;
  end if;
  with gone as (
    delete from messenger.bells b
    where b.request_id = any (array(
      select x.request_id from messenger.bells x where x.at < v_now - interval '1 hour' order by x.request_id limit bite for update skip locked))
    returning b.request_id, b.at
  )
  select array_agg(g.request_id), min(g.at), max(g.at) into v_ids, v_from, v_to from gone g;
  if v_ids is not null and to_regclass('net._http_response') is not null then
    if has_table_privilege('net._http_response', 'delete') then
      -- An answer may come long after its bell when pg_net was held up; then pg_net's own time ends it.
      delete from net._http_response r
      where r.created between v_from and v_to + interval '10 minutes' and r.id in (select i from unnest(v_ids) i);
    end if;
  end if;
end $$;

-- pg_cron never prunes its history. Only the runs of our own command are ours to delete: by command, because a clock that was stopped and started
-- has another job id, and with a run cut off in the middle, whose end is never written.
create or replace function messenger.prune_clock_history()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('cron.job_run_details') is not null then
    delete from cron.job_run_details d
    where d.command = messenger.clock_command() and coalesce(d.end_time, d.start_time) < pg_catalog.now() - interval '1 day';
  end if;
end $$;

comment on function messenger.prune_messages(timestamptz, int) is 'Deletes finished messages past their transport''s retention among the next bite of rows, counting them. Returns how many.';
comment on function messenger.prune_keys(timestamptz, int) is 'Deletes the spent ones among the next bite of expired idempotency keys.';
comment on function messenger.prune_rest(timestamptz, int) is 'Deletes resolved dead letters, spent idempotency keys, ended replays, old occurrences and forgotten workers; folds the count of pruned messages.';
comment on function messenger.prune_bells(int) is 'Deletes pg_net''s answers to our own bells once they are an hour old.';
comment on function messenger.prune_clock_history() is 'Deletes job_run_details rows of the clock that are older than a day.';
revoke all on function messenger.prune_messages(timestamptz, int), messenger.prune_keys(timestamptz, int), messenger.prune_rest(timestamptz, int),
  messenger.prune_bells(int), messenger.prune_clock_history()
  from public, anon, authenticated, service_role;
